// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pacer: writes that are due at a steady rate, and how long each took.
 *
 * A program that writes again only when its last write is done hardly sees a disk that
 * stands still: it has one slow write, and the thousand that it would have issued
 * meanwhile are in no statistics. So each write here has a time at which it is due,
 * whatever became of those before; latency counts from there.
 *
 * Each write goes to another chunk, until all were written to once: with a backup, every
 * one meets a chunk that was not overwritten before.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS	64
#define MAX_RATE	100000
#define MAX_SECONDS	3600
#define BLOCK		4096u
#define CHUNK		65536u
#define USEC		1000000ull

static const char usage[] =
"usage: pacer --rate WRITES_PER_S --seconds S [--threads N] [--out FILE] DEVICE\n"
"\n"
"Writes 4 KiB, O_DIRECT, each to another chunk of 64 KiB, from N threads (4), until SIGTERM\n"
"or for S seconds. FILE (standard output) gets a line for each write, all in microseconds of\n"
"CLOCK_BOOTTIME, as in /proc/uptime:\n"
"    DUE STARTED ENDED\n"
"Exit status: 0, 1 if a write failed, 2 wrong use.\n";

/* Set before the threads start. */
static struct {
	const char *device;
	const char *out;
	int fd;
	uint64_t rate, seconds, threads;
	uint64_t chunks, step;
	uint64_t start_us;
} todo = { .threads = 4 };

static _Atomic bool stop, failed;

struct write_record {
	uint64_t due, started, ended;
};

struct writer {
	pthread_t thread;
	uint64_t nr;
	struct write_record *records;
	uint64_t nr_records, room;
};

static void on_term(int signal_number)
{
	(void)signal_number;
	atomic_store(&stop, true);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * USEC + (uint64_t)ts.tv_nsec / 1000;
}

/* In steps, so that a stop does not wait for the next write. */
static void sleep_until(uint64_t due)
{
	uint64_t now;

	while ((now = now_us()) < due && !atomic_load(&stop)) {
		uint64_t us = due - now < 50000 ? due - now : 50000;
		struct timespec ts = { .tv_nsec = (long)us * 1000 };

		nanosleep(&ts, NULL);
	}
}

static void keep(struct writer *w, const struct write_record *r)
{
	if (w->nr_records == w->room) {
		w->room = w->room ? 2 * w->room : 4096;
		w->records = realloc(w->records, w->room * sizeof(*w->records));
		if (!w->records) {
			fprintf(stderr, "pacer: out of memory\n");
			exit(1);
		}
	}
	w->records[w->nr_records++] = *r;
}

static void *write_all(void *arg)
{
	struct writer *w = arg;
	struct write_record r;
	uint64_t i, offset;
	void *buf;
	ssize_t n;

	if (posix_memalign(&buf, BLOCK, BLOCK)) {
		fprintf(stderr, "pacer: out of memory\n");
		exit(1);
	}
	memset(buf, (int)('a' + w->nr), BLOCK);
	for (i = w->nr; ; i += todo.threads) {
		r.due = todo.start_us + i * USEC / todo.rate;
		if (r.due >= todo.start_us + todo.seconds * USEC)
			break;
		sleep_until(r.due);
		if (atomic_load(&stop))
			break;
		offset = i * todo.step % todo.chunks * CHUNK + i * 7 % (CHUNK / BLOCK) * BLOCK;
		r.started = now_us();
		n = pwrite(todo.fd, buf, BLOCK, (off_t)offset);
		r.ended = now_us();
		if (n != BLOCK) {
			fprintf(stderr, "pacer: %s: write at offset %llu: %s\n", todo.device,
				(unsigned long long)offset, n < 0 ? strerror(errno) : "short");
			atomic_store(&failed, true);
			atomic_store(&stop, true);
			break;
		}
		keep(w, &r);
	}
	free(buf);
	return NULL;
}

static uint64_t number(const char *text, uint64_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || !v || v > max) {
		fprintf(stderr, "pacer: %s: a number from 1 to %llu is wanted\n", text,
			(unsigned long long)max);
		exit(2);
	}
	return v;
}

static void parse(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
		if (!strcmp(argv[i], "--rate"))
			todo.rate = number(argv[i + 1], MAX_RATE);
		else if (!strcmp(argv[i], "--seconds"))
			todo.seconds = number(argv[i + 1], MAX_SECONDS);
		else if (!strcmp(argv[i], "--threads"))
			todo.threads = number(argv[i + 1], MAX_THREADS);
		else if (!strcmp(argv[i], "--out"))
			todo.out = argv[i + 1];
		else
			break;
	}
	if (i != argc - 1 || !todo.rate || !todo.seconds) {
		fputs(usage, stderr);
		exit(2);
	}
	todo.device = argv[i];
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	uint64_t c;

	while (b) {
		c = a % b;
		a = b;
		b = c;
	}
	return a;
}

/* Steps of about the golden ratio scatter well, and reach all if there is no common factor. */
static void plan(void)
{
	uint64_t size = 0;

	todo.fd = open(todo.device, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (todo.fd < 0 || ioctl(todo.fd, BLKGETSIZE64, &size) < 0) {
		fprintf(stderr, "pacer: %s: %s\n", todo.device, strerror(errno));
		exit(1);
	}
	todo.chunks = size / CHUNK;
	if (!todo.chunks) {
		fprintf(stderr, "pacer: %s is too small\n", todo.device);
		exit(1);
	}
	todo.step = todo.chunks * 618 / 1000 + 1;
	while (gcd(todo.step, todo.chunks) != 1)
		todo.step++;
}

static void report(const struct writer *writers)
{
	FILE *f = todo.out ? fopen(todo.out, "w") : stdout;
	const struct write_record *r;
	uint64_t t, i;

	if (!f) {
		fprintf(stderr, "pacer: %s: %s\n", todo.out, strerror(errno));
		exit(1);
	}
	for (t = 0; t < todo.threads; t++) {
		for (i = 0; i < writers[t].nr_records; i++) {
			r = &writers[t].records[i];
			fprintf(f, "%llu %llu %llu\n", (unsigned long long)r->due,
				(unsigned long long)r->started, (unsigned long long)r->ended);
		}
	}
	if (fflush(f) || ferror(f) || (f != stdout && fclose(f))) {
		fprintf(stderr, "pacer: cannot write the records\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static struct writer writers[MAX_THREADS];
	struct sigaction action = { .sa_handler = on_term };
	uint64_t t;

	parse(argc, argv);
	plan();
	sigaction(SIGTERM, &action, NULL);
	todo.start_us = now_us();
	for (t = 0; t < todo.threads; t++) {
		writers[t].nr = t;
		if (pthread_create(&writers[t].thread, NULL, write_all, &writers[t])) {
			fprintf(stderr, "pacer: cannot make a thread\n");
			return 1;
		}
	}
	for (t = 0; t < todo.threads; t++)
		pthread_join(writers[t].thread, NULL);
	report(writers);
	for (t = 0; t < todo.threads; t++)
		free(writers[t].records);
	close(todo.fd);
	return atomic_load(&failed);
}
