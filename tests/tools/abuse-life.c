// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ioctl-abuse: the ends that a session can come to while guest writes are held: close,
 * SIGKILL, a suspend; and calls that are under way meanwhile.
 */
#include "abuse.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD_US		500000	/* a write that did not return for so long is held */
#define RELEASE_US	20000000ull	/* generous: the machine is emulated */

enum { GEN_OLD = 3000, GEN_NEW = 4000 };

struct writer {
	const struct bed_disk *disk;
	uint64_t offset;
	pthread_t thread;
	_Atomic bool done;
	int error;
};

static void *writer_thread(void *arg)
{
	struct writer *w = arg;
	void *buf = NULL;

	if (posix_memalign(&buf, 4096, 4096))
		bail("out of memory");
	pattern_fill(buf, 4096, 0, w->offset, GEN_NEW);
	if (pwrite(w->disk->fd, buf, 4096, (off_t)w->offset) != 4096)
		w->error = errno;
	free(buf);
	w->done = true;
	return NULL;
}

static void writer_start(struct writer *w, const struct bed_disk *d, uint64_t chunk)
{
	*w = (struct writer){ .disk = d, .offset = chunk * d->chunk };
	if (pthread_create(&w->thread, NULL, writer_thread, w))
		bail("pthread_create");
}

static bool writer_ends(struct writer *w)
{
	uint64_t end = now_us() + RELEASE_US;

	while (!w->done && now_us() < end)
		usleep(1000);
	if (!w->done)
		bail("a write is held for ever");
	pthread_join(w->thread, NULL);
	return !w->error;
}

static bool holds_new(const struct bed_disk *d, uint64_t offset)
{
	char *buf = aligned_alloc(4096, 8192);
	bool same;

	if (!buf)
		bail("out of memory");
	pattern_fill(buf + 4096, 4096, 0, offset, GEN_NEW);
	same = pread(d->fd, buf, 4096, (off_t)offset) == 4096 && !memcmp(buf, buf + 4096, 4096);
	free(buf);
	return same;
}

/* An armed session of two slots, both full and nobody reading; one write is held. */
static int full_session(const struct bed *bed, struct writer *w)
{
	int fd = bed_session(bed, 2, 0, true, NULL);
	uint64_t end = now_us() + RELEASE_US;
	struct vmabackup_status st;

	if (bed->disk[0].nr_chunks < 8)
		bail("%s: fewer than 8 chunks", bed->disk[0].path);
	if (vb_fetch(fd, 0, 0, 2))
		bail("FETCH");
	do {
		if (vb_status(fd, &st))
			bail("STATUS");
	} while (st.chunks_fetched < 2 && now_us() < end);
	writer_start(w, &bed->disk[0], 5);
	end = now_us() + RELEASE_US;
	do {
		if (vb_status(fd, &st))
			bail("STATUS");
	} while (!st.writes_held_now && now_us() < end);
	usleep(HELD_US);
	return fd;
}

static void test_held(const struct bed *bed)
{
	struct vmabackup_completion c[2];
	struct vmabackup_status st;
	uint32_t slots[2], n;
	struct writer w, safe;
	char *buf;
	int fd;

	fd = full_session(bed, &w);
	ok(!w.done, "a write waits while no slot is free");
	vb_status(fd, &st);
	ok(st.writes_held == 1 && st.writes_held_now == 1, "STATUS counts it");
	buf = aligned_alloc(4096, 4096);
	if (!buf)
		bail("out of memory");
	ok(pread(bed->disk[0].fd, buf, 4096, (off_t)w.offset) == 4096, "reads of its chunk do not");
	free(buf);
	writer_start(&safe, &bed->disk[0], 0);
	ok(writer_ends(&safe), "nor do writes to a chunk that is safe");
	ok(!w.done, "it still waits");
	if (vb_reap(fd, NULL, 0, c, 2, 0, &n, NULL) || n != 2)
		bail("REAP of two");
	slots[0] = c[0].slot;
	if (vb_reap(fd, slots, 1, NULL, 0, 0, NULL, NULL))
		bail("giving back");
	ok(writer_ends(&w), "it goes on when a slot was given back");
	ok(holds_new(&bed->disk[0], w.offset), "and is on the disk");
	is(vb_reap(fd, NULL, 0, c, 2, 0, &n, NULL), 0, "its chunk is delivered");
	ok(n == 1 && c[0].chunk == 5 && c[0].flags & VMABACKUP_COMPLETION_GUEST_WRITE,
	   "as pushed by a write");
	vb_status(fd, &st);
	ok(!st.writes_held_now && st.longest_wait_us >= HELD_US &&
	   st.total_wait_us >= st.longest_wait_us, "STATUS tells how long it waited");
	close(fd);
}

static void test_close(const struct bed *bed)
{
	struct writer w;
	int fd = full_session(bed, &w);

	ok(!w.done, "a write waits");
	close(fd);
	ok(writer_ends(&w), "closing the session lets it go");
	ok(holds_new(&bed->disk[0], w.offset), "and it is on the disk");
}

static void test_kill(const struct bed *bed)
{
	int pipe_fd[2], status = 0, fd;
	struct writer w;
	char byte = 0;
	pid_t pid;

	if (pipe(pipe_fd))
		bail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		struct vmabackup_completion c;
		uint32_t n;
		uint64_t length;

		fd = bed_session(bed, 2, 0, true, &length);
		vb_fetch(fd, 0, 0, 2);
		/* Two chunks are taken and kept; then it sleeps in REAP. */
		for (int got = 0; got < 2; got += (int)n)
			if (vb_reap(fd, NULL, 0, &c, 1, 0, &n, NULL))
				_exit(1);
		if (write(pipe_fd[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			vb_reap(fd, NULL, 0, &c, 1, 0, &n, NULL);
	}
	close(pipe_fd[1]);
	if (pid < 0 || read(pipe_fd[0], &byte, 1) != 1)
		bail("the child did not arm");
	close(pipe_fd[0]);
	writer_start(&w, &bed->disk[0], 6);
	usleep(HELD_US);
	ok(!w.done, "a write waits");
	kill(pid, SIGKILL);
	ok(writer_ends(&w), "SIGKILL of a reader that sleeps in REAP lets it go");
	waitpid(pid, &status, 0);
	ok(holds_new(&bed->disk[0], w.offset), "and it is on the disk");
	fd = vb_open(0);
	is(vb_add(fd, bed->disk[0].fd, NULL), 0, "the disk is free again");
	close(fd);
}

static void test_suspend(const struct bed *bed)
{
	struct vmabackup_completion c;
	struct vmabackup_status st;
	struct pollfd p;
	struct writer w;
	uint64_t start, took;
	int fd = full_session(bed, &w), r;

	ok(!w.done, "a write waits");
	start = now_us();
	r = bed_suspend(&bed->disk[0], true);
	took = now_us() - start;
	is(r, 0, "its disk can be suspended");
	vb_status(fd, &st);
	bed_suspend(&bed->disk[0], false);
	if (!ok(took < VMABACKUP_SUSPEND_GRACE_MS * 1000 + 5000000ull,
		"within the time of grace and some"))
		diag("it took %llu us", (unsigned long long)took);
	ok(writer_ends(&w), "the write was let go unharmed");
	ok(holds_new(&bed->disk[0], w.offset), "and is on the disk");
	if (!ok(st.state == VMABACKUP_STATE_BROKEN && st.reason == VMABACKUP_REASON_SUSPEND &&
		st.error_disk == 0, "the session broke, because of the suspend"))
		diag("state %u reason %u error %u disk %u", st.state, st.reason, st.error,
		     st.error_disk);
	p = (struct pollfd){ .fd = fd };
	ok(poll(&p, 1, 0) == 1 && p.revents & POLLERR, "poll says so");
	is(vb_reap(fd, NULL, 0, &c, 1, 0, NULL, NULL), -ESTALE, "REAP says so");
	close(fd);
}

struct sleeper {
	int fd;
	_Atomic bool done;
	int error;
	uint32_t n;
	struct vmabackup_completion c;
};

static void *sleeper_thread(void *arg)
{
	struct sleeper *s = arg;

	s->error = vb_reap(s->fd, NULL, 0, &s->c, 1, 0, &s->n, NULL);
	s->done = true;
	return NULL;
}

/* The fd is closed under a REAP that waits; the file lives on until REAP returns. */
static void test_close_under_reap(const struct bed *bed)
{
	struct sleeper s = { .fd = bed_session(bed, 4, 0, true, NULL) };
	pthread_t thread;
	struct writer w;
	int fd;

	if (pthread_create(&thread, NULL, sleeper_thread, &s))
		bail("pthread_create");
	usleep(HELD_US);
	ok(!s.done, "REAP waits");
	close(s.fd);
	usleep(HELD_US / 5);
	ok(!s.done, "and goes on when its fd is closed");
	writer_start(&w, &bed->disk[0], 3);
	ok(writer_ends(&w), "a write goes through");
	pthread_join(thread, NULL);
	is(s.error, 0, "and wakes it");
	ok(s.n == 1 && s.c.disk == 0 && s.c.chunk == 3, "with the chunk that was written to");
	fd = vb_open(0);
	is(vb_add(fd, bed->disk[0].fd, NULL), 0, "then the disk is free");
	close(fd);
}

/* A session that broke wakes whoever sleeps in REAP. */
static void test_break_under_reap(const struct bed *bed)
{
	int fd = bed_session(bed, 4, 0, true, NULL);
	struct sleeper s = { .fd = fd };
	struct vmabackup_status st;
	pthread_t thread;
	int r;

	if (pthread_create(&thread, NULL, sleeper_thread, &s))
		bail("pthread_create");
	usleep(HELD_US / 2);
	/* An idle suspend does no harm to it. */
	r = bed_suspend(&bed->disk[0], true);
	if (!r)
		r = bed_suspend(&bed->disk[0], false);
	is(r, 0, "suspend and resume of an armed disk without writes");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_ARMED && !s.done, "the session goes on");
	if (vb_fetch(fd, 0, 0, 1))
		bail("FETCH");
	pthread_join(thread, NULL);
	ok(!s.error && s.n == 1, "and delivers");
	close(fd);
}

static void *poller_thread(void *arg)
{
	struct pollfd *p = arg;

	/* Who sees nothing in this time was not woken. */
	p->revents = 0;
	if (poll(p, 1, (int)(RELEASE_US / 1000)) < 0)
		bail("poll");
	return NULL;
}

/* Everything is forgotten before ARM, under a poll that waits: nothing else would wake it. */
static void test_arm_under_poll(const struct bed *bed)
{
	int fd = bed_session(bed, 4, 0, false, NULL);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vmabackup_completion c;
	pthread_t thread;
	uint64_t begin;
	uint32_t n = 1;

	for (uint32_t i = 0; i < bed->nr; i++)
		if (vb_forget(fd, i, 0, bed->disk[i].nr_chunks, NULL))
			bail("FORGET");
	if (pthread_create(&thread, NULL, poller_thread, &p))
		bail("pthread_create");
	usleep(HELD_US);
	begin = now_us();
	is(bed_arm(bed, fd), 0, "a session of which all is forgotten is armed");
	pthread_join(thread, NULL);
	ok(p.revents == POLLIN && now_us() - begin < RELEASE_US / 2, "who polls is woken by it");
	is(vb_reap(fd, NULL, 0, &c, 1, 0, &n, NULL), 0, "REAP");
	ok(!n, "says that there is nothing left");
	close(fd);
}

/* Sessions that are made and dropped in every state, many times. */
static void test_churn(const struct bed *bed)
{
	uint64_t end = now_us() + 5000000ull;
	unsigned int rounds = 0;
	int fd;

	do {
		close(vb_open(0));
		fd = vb_open(0);
		vb_add(fd, bed->disk[0].fd, NULL);
		close(fd);
		close(bed_session(bed, 8, 2, false, NULL));
		fd = bed_session(bed, 8, 2, true, NULL);
		vb_fetch(fd, 0, 0, bed->disk[0].nr_chunks);
		close(fd);
		rounds++;
	} while (rounds < 3 || (rounds < 50 && now_us() < end));
	fd = vb_open(0);
	is(vb_add(fd, bed->disk[0].fd, NULL), 0, "sessions dropped in every state leave nothing");
	close(fd);
	diag("%u rounds", rounds);
}

void test_life(const struct bed *bed)
{
	pattern_write(bed, GEN_OLD);
	test_held(bed);
	test_close(bed);
	test_kill(bed);
	test_suspend(bed);
	test_close_under_reap(bed);
	test_break_under_reap(bed);
	test_arm_under_poll(bed);
	test_churn(bed);
}
