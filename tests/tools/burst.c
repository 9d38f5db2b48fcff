// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * burst: some requests to a block device, all at once, and what became of each.
 *
 * For tests that want to know which write got which error after which time, where
 * starting a program for each costs more than they take.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_REQUESTS	256
#define PAGE		4096u

static const char usage[] =
"usage: burst write|check|discard|secure-erase|zero DEVICE BYTE OFFSET LENGTH [COUNT STRIDE]\n"
"\n"
"COUNT requests at once, at OFFSET, OFFSET + STRIDE, ...; a line for each that ended:\n"
"    INDEX ERROR MILLISECONDS\n"
"write makes every byte BYTE, check looks whether it is (ERROR EILSEQ if not); the others\n"
"do not mind BYTE.  O_DIRECT.  Exit status: 0 all ended well, 1 one did not, 2 wrong use.\n";

enum kind { WRITE, CHECK, DISCARD, SECURE_ERASE, ZERO, KINDS };

static const char *const kinds[KINDS] = { "write", "check", "discard", "secure-erase", "zero" };

/* One for all threads: set before they start. */
static struct {
	enum kind kind;
	const char *device;
	int byte;
	uint64_t offset, length, count, stride;
} todo;

struct request {
	pthread_t thread;
	uint64_t index;
	int fd;
	int error;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t number(const char *text)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-') {
		fprintf(stderr, "burst: %s: not a number\n", text);
		exit(2);
	}
	return v;
}

static int transfer(int fd, uint64_t offset)
{
	unsigned char *buf = NULL;
	ssize_t n;
	int r = 0;

	if (posix_memalign((void **)&buf, PAGE, todo.length))
		return ENOMEM;
	memset(buf, todo.byte, todo.length);
	if (todo.kind == WRITE)
		n = pwrite(fd, buf, todo.length, (off_t)offset);
	else
		n = pread(fd, buf, todo.length, (off_t)offset);
	if (n < 0)
		r = errno;
	else if ((uint64_t)n != todo.length)
		r = ENODATA;
	for (uint64_t i = 0; i < todo.length && !r && todo.kind == CHECK; i++)
		if (buf[i] != todo.byte)
			r = EILSEQ;
	free(buf);
	return r;
}

static void *request_thread(void *arg)
{
	struct request *q = arg;
	uint64_t range[2] = { todo.offset + q->index * todo.stride, todo.length };
	uint64_t begin = now_ms();
	unsigned long how = todo.kind == DISCARD ? BLKDISCARD :
			    todo.kind == ZERO ? BLKZEROOUT : BLKSECDISCARD;

	if (todo.kind == WRITE || todo.kind == CHECK)
		q->error = transfer(q->fd, range[0]);
	else
		q->error = ioctl(q->fd, how, range) ? errno : 0;
	printf("%llu %s %llu\n", (unsigned long long)q->index, strerrorname_np(q->error),
	       (unsigned long long)(now_ms() - begin));
	return NULL;
}

int main(int argc, char **argv)
{
	static struct request requests[MAX_REQUESTS];
	int bad = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 6 && argc != 8) {
		fputs(usage, stderr);
		return 2;
	}
	for (todo.kind = 0; todo.kind < KINDS; todo.kind++)
		if (!strcmp(argv[1], kinds[todo.kind]))
			break;
	todo.device = argv[2];
	todo.byte = (int)number(argv[3]) & 0xff;
	todo.offset = number(argv[4]);
	todo.length = number(argv[5]);
	todo.count = argc == 8 ? number(argv[6]) : 1;
	todo.stride = argc == 8 ? number(argv[7]) : 0;
	if (todo.kind == KINDS || !todo.count || todo.count > MAX_REQUESTS || !todo.length) {
		fputs(usage, stderr);
		return 2;
	}
	for (uint64_t i = 0; i < todo.count; i++) {
		struct request *q = &requests[i];

		/* A file of its own for each: no lock of one file is shared. */
		q->index = i;
		q->fd = open(todo.device, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (q->fd < 0) {
			fprintf(stderr, "burst: %s: %s\n", todo.device, strerror(errno));
			return 2;
		}
	}
	for (uint64_t i = 0; i < todo.count; i++) {
		if (pthread_create(&requests[i].thread, NULL, request_thread, &requests[i])) {
			fputs("burst: a thread could not be started\n", stderr);
			return 2;
		}
	}
	for (uint64_t i = 0; i < todo.count; i++) {
		pthread_join(requests[i].thread, NULL);
		close(requests[i].fd);
		bad |= requests[i].error != 0;
	}
	return bad;
}
