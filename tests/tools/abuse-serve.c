// SPDX-License-Identifier: GPL-2.0-or-later
/* ioctl-abuse hold and drain: sessions for shell tests to play with. */
#include "abuse.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define POLL_MS		50
#define NO_RESERVE	(~0u)	/* none was asked for */
#define MAX_FETCH_AT	8

struct serve {
	uint32_t slots, reserve, batch;
	uint64_t fetch, delay_us, forget, forget_armed;
	bool ignore_stdin, until_broken, no_fetch, empty_first;
	const char *ready_file, *go_file, *hurry_file, *arm_file;
	const char *asked_file, *take_file;
	uint64_t fetch_at[MAX_FETCH_AT];
	unsigned int nr_fetch_at;
	struct vmabackup_setup_slots setup;
	const char *out[MAX_BED_DISKS];
	unsigned int nr_out;
};

static _Atomic bool stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

static uint64_t number(const char *name, const char *text)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-') {
		fprintf(stderr, "ioctl-abuse: --%s %s: not a number\n", name, text);
		exit(2);
	}
	return v;
}

static void parse(int argc, char **argv, struct serve *s)
{
	static const struct option options[] = {
		{ "slots", 1, NULL, 's' }, { "reserve", 1, NULL, 'r' }, { "batch", 1, NULL, 'b' },
		{ "delay-us", 1, NULL, 'd' }, { "fetch", 1, NULL, 'f' }, { "out", 1, NULL, 'o' },
		{ "ready-file", 1, NULL, 'y' }, { "ignore-stdin", 0, NULL, 'i' },
		{ "until-broken", 0, NULL, 'u' }, { "go-file", 1, NULL, 'g' },
		{ "policy", 1, NULL, 'P' }, { "on-cbw-error", 1, NULL, 'E' },
		{ "timeout-ms", 1, NULL, 'T' }, { "drop-discards", 0, NULL, 'D' },
		{ "forget", 1, NULL, 'F' }, { "no-fetch", 0, NULL, 'N' },
		{ "empty-first", 0, NULL, 'e' }, { "forget-armed", 1, NULL, 'A' },
		{ "hurry-file", 1, NULL, 'h' }, { "fetch-at", 1, NULL, 'a' },
		{ "asked-file", 1, NULL, 'q' }, { "take-file", 1, NULL, 't' },
		{ "arm-file", 1, NULL, 'm' },
		{ NULL, 0, NULL, 0 }
	};
	int c, i = 0;

	while ((c = getopt_long(argc, argv, "", options, &i)) != -1) {
		switch (c) {
		case 's': s->slots = (uint32_t)number("slots", optarg); break;
		case 'r': s->reserve = (uint32_t)number("reserve", optarg); break;
		case 'b': s->batch = (uint32_t)number("batch", optarg); break;
		case 'd': s->delay_us = number("delay-us", optarg); break;
		case 'f': s->fetch = number("fetch", optarg); break;
		case 'y': s->ready_file = optarg; break;
		case 'g': s->go_file = optarg; break;
		case 'h': s->hurry_file = optarg; break;
		case 'q': s->asked_file = optarg; break;
		case 't': s->take_file = optarg; break;
		case 'm': s->arm_file = optarg; break;
		case 'a':
			if (s->nr_fetch_at < MAX_FETCH_AT)
				s->fetch_at[s->nr_fetch_at++] = number("fetch-at", optarg);
			break;
		case 'T': s->setup.cbw_timeout_ms = (uint32_t)number("timeout-ms", optarg); break;
		case 'D': s->setup.flags |= VMABACKUP_SETUP_DROP_DISCARDS; break;
		case 'P':
			if (!parse_policy(optarg, &s->setup.policy))
				exit(2);
			break;
		case 'E':
			if (!parse_on_cbw_error(optarg, &s->setup.on_cbw_error))
				exit(2);
			break;
		case 'i': s->ignore_stdin = true; break;
		case 'u': s->until_broken = true; break;
		case 'F': s->forget = number("forget", optarg); break;
		case 'A': s->forget_armed = number("forget-armed", optarg); break;
		case 'N': s->no_fetch = true; break;
		case 'e': s->empty_first = true; break;
		case 'o':
			if (s->nr_out < MAX_BED_DISKS)
				s->out[s->nr_out++] = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (optind >= argc || !s->batch || s->batch > VMABACKUP_MAX_BATCH) {
		fprintf(stderr, "ioctl-abuse: %s\n", optind >= argc ? "no disk given" :
			"--batch: 1 to 64");
		exit(2);
	}
}

static void print_status(int fd, const char *more)
{
	struct vmabackup_status st;
	int r = vb_status(fd, &st);

	if (r)
		bail("STATUS: %s", strerror(-r));
	printf("{%s\"state\":%u,\"reason\":%u,\"error\":%u,", more, st.state, st.reason, st.error);
	if (st.error_disk == ~0u)
		printf("\"error_disk\":null,");
	else
		printf("\"error_disk\":%u,", st.error_disk);
	if (st.error_offset == ~0ull)
		printf("\"error_offset\":null,");
	else
		printf("\"error_offset\":%llu,", (unsigned long long)st.error_offset);
	printf("\"nr_disks\":%u,\"nr_slots\":%u,\"slots_free\":%u,\"slots_user\":%u,",
	       st.nr_disks, st.nr_slots, st.slots_free, st.slots_user);
	printf("\"chunks_total\":%llu,\"chunks_left\":%llu,\"chunks_guest\":%llu,"
	       "\"chunks_fetched\":%llu,\"chunks_forgotten\":%llu,",
	       (unsigned long long)st.chunks_total, (unsigned long long)st.chunks_left,
	       (unsigned long long)st.chunks_guest, (unsigned long long)st.chunks_fetched,
	       (unsigned long long)st.chunks_forgotten);
	printf("\"writes_held\":%llu,\"writes_held_now\":%llu,\"longest_wait_us\":%llu,"
	       "\"total_wait_us\":%llu,",
	       (unsigned long long)st.writes_held, (unsigned long long)st.writes_held_now,
	       (unsigned long long)st.longest_wait_us, (unsigned long long)st.total_wait_us);
	printf("\"chunks_spilled\":%llu,\"chunks_refetched\":%llu,\"writes_failed\":%llu,"
	       "\"discards_dropped\":%llu,\"fleece_used\":%llu,\"copies_now\":%u,"
	       "\"fleece_error\":%u}\n",
	       (unsigned long long)st.chunks_spilled, (unsigned long long)st.chunks_refetched,
	       (unsigned long long)st.writes_failed, (unsigned long long)st.discards_dropped,
	       (unsigned long long)st.fleece_used, st.copies_now, st.fleece_error);
	fflush(stdout);
}

static void touch(const char *path)
{
	int fd;

	if (!path)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* Or for a signal. */
static void wait_for_file(const char *path)
{
	while (access(path, F_OK) && !stop)
		usleep(POLL_MS * 1000);
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

static void forget_first(int fd, uint64_t count)
{
	int r = count ? vb_forget(fd, 0, 0, count, NULL) : 0;

	if (r)
		bail("FORGET: %s", strerror(-r));
}

/* As bed_arm(), but without the instant between the two; nanoseconds. */
static uint64_t empty_window(const struct bed *bed)
{
	uint64_t begin = now_ns();
	unsigned int n;
	int r = 0;

	for (n = 0; n < bed->nr && !r; n++)
		r = bed_suspend(&bed->disk[n], true);
	while (n-- > 0)
		r = bed_suspend(&bed->disk[n], false) ?: r;
	if (r)
		bail("suspend: %s", strerror(-r));
	return now_ns() - begin;
}

int hold_main(int argc, char **argv)
{
	struct serve s = { .slots = 2, .batch = 1 };
	struct bed bed = { 0 };
	char more[160];
	uint64_t begin, end, setup, empty = 0;
	int fd, r;

	parse(argc, argv, &s);
	bed.setup = s.setup;
	bed_open(&bed, argv + optind, (unsigned int)(argc - optind));
	catch_signals();
	begin = now_ns();
	fd = bed_session(&bed, s.slots, s.reserve, false, NULL);
	setup = now_ns() - begin;
	forget_first(fd, s.forget);
	if (s.empty_first)
		empty = empty_window(&bed);
	if (s.arm_file) {
		touch(s.ready_file);
		s.ready_file = NULL;
		wait_for_file(s.arm_file);
		if (stop) {
			close(fd);
			return 0;
		}
	}
	begin = now_ns();
	r = bed_arm(&bed, fd);
	end = now_ns();
	if (r)
		bail("arming: %s", strerror(-r));
	for (uint64_t i = 0; i < s.fetch; i++) {
		r = vb_fetch(fd, 0, i, 1);
		if (r)
			bail("FETCH: %s", strerror(-r));
	}
	touch(s.ready_file);
	while (!stop) {
		struct pollfd p[2] = {
			{ .fd = s.ignore_stdin ? -1 : STDIN_FILENO, .events = POLLIN },
			{ .fd = s.until_broken ? fd : -1 },
		};
		char buf[64];

		if (s.forget_armed && (!s.go_file || !access(s.go_file, F_OK))) {
			forget_first(fd, s.forget_armed);
			s.forget_armed = 0;
		}
		if (poll(p, 2, POLL_MS) <= 0)
			continue;
		if (p[0].revents && read(STDIN_FILENO, buf, sizeof(buf)) <= 0)
			break;
		if (p[1].revents & POLLERR)
			break;
	}
	snprintf(more, sizeof(more), "\"armed_ns\":[%llu,%llu],\"empty_ns\":%llu,\"setup_ns\":%llu,",
		 (unsigned long long)begin, (unsigned long long)end, (unsigned long long)empty,
		 (unsigned long long)setup);
	print_status(fd, more);
	close(fd);
	return 0;
}

static void save(const struct serve *s, const struct bed *bed, const int *out, const char *slots,
		 const struct vmabackup_completion *c)
{
	const char *from = slots + (size_t)c->slot * bed_slot_size(bed);
	uint64_t offset = c->chunk * bed->disk[c->disk].chunk;
	uint32_t left = c->length;

	if (c->disk >= s->nr_out)
		return;
	while (left) {
		ssize_t n = pwrite(out[c->disk], from, left, (off_t)offset);

		if (n <= 0)
			bail("%s: write: %s", s->out[c->disk], strerror(errno));
		from += n;
		offset += (uint64_t)n;
		left -= (uint32_t)n;
	}
}

int drain_main(int argc, char **argv)
{
	struct serve s = { .slots = 32, .reserve = NO_RESERVE, .batch = 8 };
	struct vmabackup_completion c[VMABACKUP_MAX_BATCH];
	uint32_t slots[VMABACKUP_MAX_BATCH], n = 0;
	uint64_t length, begin, end, delivered = 0, from_fleece = 0;
	int out[MAX_BED_DISKS], fd, r = 0;
	struct bed bed = { 0 };
	const char *p;
	char more[192];

	parse(argc, argv, &s);
	if (s.reserve == NO_RESERVE)
		s.reserve = s.slots / 4;
	bed.setup = s.setup;
	bed_open(&bed, argv + optind, (unsigned int)(argc - optind));
	for (unsigned int i = 0; i < s.nr_out && i < bed.nr; i++) {
		out[i] = open(s.out[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (out[i] < 0 || ftruncate(out[i], (off_t)bed.disk[i].size))
			bail("%s: %s", s.out[i], strerror(errno));
	}
	catch_signals();
	fd = bed_session(&bed, s.slots, s.reserve, false, &length);
	forget_first(fd, s.forget);
	p = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	begin = now_ns();
	r = bed_arm(&bed, fd);
	end = now_ns();
	if (r)
		bail("arming: %s", strerror(-r));
	touch(s.ready_file);
	if (s.go_file)
		wait_for_file(s.go_file);
	forget_first(fd, s.forget_armed);
	for (unsigned int i = 0; i < s.nr_fetch_at; i++) {
		r = vb_fetch(fd, 0, s.fetch_at[i], 1);
		if (r)
			bail("FETCH: %s", strerror(-r));
	}
	for (unsigned int i = 0; i < bed.nr && !s.no_fetch; i++) {
		r = vb_fetch(fd, i, 0, bed.disk[i].nr_chunks);
		if (r && r != -ESTALE)
			bail("FETCH: %s", strerror(-r));
	}
	if (s.asked_file)
		touch(s.asked_file);
	if (s.take_file)
		wait_for_file(s.take_file);
	r = 0;
	while (!stop) {
		for (uint32_t i = 0; i < n; i++)
			slots[i] = c[i].slot;
		r = vb_reap(fd, slots, n, c, s.batch, 0, &n, NULL);
		if (r || !n)
			break;
		for (uint32_t i = 0; i < n; i++) {
			save(&s, &bed, out, p, &c[i]);
			from_fleece += !!(c[i].flags & VMABACKUP_COMPLETION_FLEECE);
		}
		delivered += n;
		if (s.delay_us && !(s.hurry_file && !access(s.hurry_file, F_OK)))
			usleep((useconds_t)s.delay_us);
	}
	snprintf(more, sizeof(more),
		 "\"complete\":%s,\"delivered\":%llu,\"from_fleece\":%llu,\"errno\":%d,"
		 "\"armed_ns\":[%llu,%llu],", !r && !stop ? "true" : "false",
		 (unsigned long long)delivered, (unsigned long long)from_fleece, -r,
		 (unsigned long long)begin, (unsigned long long)end);
	print_status(fd, more);
	munmap((void *)p, length);
	close(fd);
	r = r || stop;
	for (unsigned int i = 0; i < s.nr_out && i < bed.nr; i++)
		if (close(out[i]) || (r && unlink(s.out[i])))
			r = 1;
	return r;
}
