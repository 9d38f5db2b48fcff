// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guestload: plays the guest.  Threads write hard to block devices or files, every sector
 * stamped, and afterwards everything that was written is looked for again.
 *
 * The process that is started only watches; a child opens the disks and writes.  So a
 * write that hangs in the kernel, and with it the child, still leaves someone who says so.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WATCH_MS	20	/* how often to look for hangs, the stop file, the end */

enum { EXIT_GOOD, EXIT_BAD, EXIT_USE, EXIT_HANGS };

static const char usage[] =
"usage: guestload [options] DISK...\n"
"       guestload check [--log FILE] [--seed N] [--no-foreign] [--use BYTES] IMAGE...\n"
"\n"
"Writes to block devices or files, one range per thread and nothing twice at a time.\n"
"What they hold is lost.  Without --seconds, --writes or --stop-file only --fill and\n"
"--verify are done.\n"
"\n"
"  --seed N            of the random numbers, and in every stamp (1)\n"
"  --threads N         at most 64, at most one per MiB (4)\n"
"  --seconds N         write for so long\n"
"  --writes N          write so often, all threads together\n"
"  --stop-file FILE    write until FILE exists (as until SIGTERM or SIGINT)\n"
"  --ready-file FILE   make FILE when the fill is done and the load begins\n"
"  --fill              first write stamps everywhere (write 1)\n"
"  --fill-percent N    only to a share, zero the rest; implies --fill\n"
"  --discard-percent N, --zero-percent N   share of such operations (0)\n"
"  --fua-percent N (10), --nowait-percent N (5), --flush-percent N (2)\n"
"  --max-size BYTES    largest write, 512 to 1048576 (1048576)\n"
"  --block-size N      alignment, if other than the device's or 512\n"
"  --pause-us N        between the writes of a thread\n"
"  --buffered          no O_DIRECT, for file systems that have none\n"
"  --use BYTES         only the beginning of each disk\n"
"  --retry             repeat what fails with EIO until it succeeds\n"
"  --verify            look for everything at the end\n"
"  --state FILE        remember what must be there, for a later --verify\n"
"  --log FILE          order and times of all writes, for check --log\n"
"  --hist FILE         latencies: lower and upper bound in microseconds, count\n"
"  --max-latency-ms N  exit 1 if one took longer\n"
"  --deadline SECONDS  exit 3 if one takes longer (default: wait forever)\n"
"\n"
"check: are all sectors of the images zero, foreign or an intact stamp that belongs there?\n"
"With --log: was there one instant at which the disks, given in the same order, were so?\n"
"A disk that is not at hand is -.\n"
"\n"
"Exit status: 0 good, 1 an error or a mismatch, 2 wrong use, 3 a write hangs.\n";

static struct report *report;

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("guestload: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_USE);
}

unsigned int hist_bucket(uint64_t us)
{
	unsigned int shift, b;

	if (us < HIST_SUB)
		return (unsigned int)us;
	shift = 63 - (unsigned int)__builtin_clzll(us) - 4;
	b = (shift + 1) * HIST_SUB + (unsigned int)(us >> shift) - HIST_SUB;
	return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

uint64_t hist_lower(unsigned int b)
{
	if (b < HIST_SUB)
		return b;
	return (uint64_t)(HIST_SUB + b % HIST_SUB) << (b / HIST_SUB - 1);
}

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-' || v < min || v > max)
		die("--%s %s: not a number from %llu to %llu", name, text,
		    (unsigned long long)min, (unsigned long long)max);
	return v;
}

enum {
	O_SEED = 256, O_THREADS, O_SECONDS, O_WRITES, O_STOP, O_READY, O_FILL, O_FILL_PERCENT,
	O_DISCARD, O_ZERO, O_FUA, O_NOWAIT, O_FLUSH, O_MAX_SIZE, O_BLOCK, O_PAUSE, O_BUFFERED,
	O_VERIFY, O_STATE, O_LOG, O_HIST, O_LATENCY, O_DEADLINE, O_USE, O_RETRY,
};

static const struct option long_options[] = {
	{ "seed", 1, NULL, O_SEED }, { "threads", 1, NULL, O_THREADS },
	{ "seconds", 1, NULL, O_SECONDS }, { "writes", 1, NULL, O_WRITES },
	{ "stop-file", 1, NULL, O_STOP }, { "ready-file", 1, NULL, O_READY },
	{ "fill", 0, NULL, O_FILL }, { "fill-percent", 1, NULL, O_FILL_PERCENT },
	{ "discard-percent", 1, NULL, O_DISCARD }, { "zero-percent", 1, NULL, O_ZERO },
	{ "fua-percent", 1, NULL, O_FUA }, { "nowait-percent", 1, NULL, O_NOWAIT },
	{ "flush-percent", 1, NULL, O_FLUSH }, { "max-size", 1, NULL, O_MAX_SIZE },
	{ "block-size", 1, NULL, O_BLOCK }, { "pause-us", 1, NULL, O_PAUSE },
	{ "buffered", 0, NULL, O_BUFFERED }, { "verify", 0, NULL, O_VERIFY },
	{ "state", 1, NULL, O_STATE }, { "log", 1, NULL, O_LOG }, { "hist", 1, NULL, O_HIST },
	{ "max-latency-ms", 1, NULL, O_LATENCY }, { "deadline", 1, NULL, O_DEADLINE },
	{ "use", 1, NULL, O_USE }, { "retry", 0, NULL, O_RETRY },
	{ "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 }
};

static void parse(int argc, char **argv, struct options *o)
{
	int c, i;

	while ((c = getopt_long(argc, argv, "h", long_options, &i)) != -1) {
		const char *name = c >= O_SEED ? long_options[c - O_SEED].name : "";
		const char *a = optarg;

		switch (c) {
		case O_SEED: o->seed = number(name, a, 1, UINT64_MAX); break;
		case O_THREADS: o->threads = (unsigned int)number(name, a, 1, MAX_THREADS); break;
		case O_SECONDS: o->seconds = number(name, a, 1, 1000000); break;
		case O_WRITES: o->writes = number(name, a, 1, 1ull << 40); break;
		case O_STOP: o->stop_file = a; break;
		case O_READY: o->ready_file = a; break;
		case O_FILL: o->fill = true; break;
		case O_FILL_PERCENT:
			o->fill = true;
			o->fill_percent = (unsigned int)number(name, a, 0, 100);
			break;
		case O_DISCARD: o->discard_percent = (unsigned int)number(name, a, 0, 100); break;
		case O_ZERO: o->zero_percent = (unsigned int)number(name, a, 0, 100); break;
		case O_FUA: o->fua_percent = (unsigned int)number(name, a, 0, 100); break;
		case O_NOWAIT: o->nowait_percent = (unsigned int)number(name, a, 0, 100); break;
		case O_FLUSH: o->flush_percent = (unsigned int)number(name, a, 0, 100); break;
		case O_MAX_SIZE: o->max_size = (uint32_t)number(name, a, SECTOR, STRIPE); break;
		case O_BLOCK: o->block = (uint32_t)number(name, a, SECTOR, 4096); break;
		case O_PAUSE: o->pause_us = number(name, a, 0, 1000000); break;
		case O_BUFFERED: o->buffered = true; break;
		case O_RETRY: o->retry = true; break;
		case O_USE: o->use = number(name, a, STRIPE, 1ull << 60); break;
		case O_VERIFY: o->verify = true; break;
		case O_STATE: o->state_file = a; break;
		case O_LOG: o->log_file = a; break;
		case O_HIST: o->hist_file = a; break;
		case O_LATENCY: o->max_latency_ms = number(name, a, 1, 1000000); break;
		case O_DEADLINE: o->deadline = number(name, a, 1, 1000000); break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_GOOD);
		default:
			fputs(usage, stderr);
			exit(EXIT_USE);
		}
	}
	if (optind >= argc) {
		fputs(usage, stderr);
		exit(EXIT_USE);
	}
	o->load = o->seconds || o->writes || o->stop_file;
	if (o->discard_percent + o->zero_percent > 100)
		die("--discard-percent and --zero-percent are more than 100 together");
	if (!o->load && !o->fill && !o->verify)
		die("nothing to do: give --seconds, --writes, --stop-file, --fill or --verify");
	if (!o->load && (o->log_file || o->hist_file || o->max_latency_ms || o->ready_file))
		die("--log, --hist, --ready-file and --max-latency-ms need something to write");
	if (o->verify && !o->fill && !o->load && !o->state_file)
		die("--verify alone needs --state");
}

static int work(struct options *o, char **paths, unsigned int nr)
{
	bool writes = o->load || o->fill;
	struct expect e = { 0 };
	struct disks ds;

	disks_open(&ds, paths, nr, (writes ? O_RDWR : O_RDONLY) | (o->buffered ? 0 : O_DIRECT),
		   o->block, o->use);
	expect_open(&e, &ds, o);
	if (o->fill)
		load_fill(&ds, o, &e, report);
	if (o->load && !atomic_load(&report->errors))
		load_run(&ds, o, &e, report);
	if (o->verify)
		expect_verify(&e, &ds, o, report);
	return EXIT_GOOD;
}

static uint64_t percentile(const uint64_t *hist, uint64_t total, unsigned int per_mille)
{
	uint64_t want = (total * per_mille + 999) / 1000, sum = 0;

	for (unsigned int b = 0; b < HIST_BUCKETS; b++) {
		sum += hist[b];
		if (sum >= want && sum)
			return hist_lower(b + 1) - 1;
	}
	return 0;
}

static void save_hist(const char *path, const uint64_t *hist)
{
	FILE *f = fopen(path, "we");

	if (!f)
		die("%s: %s", path, strerror(errno));
	for (unsigned int b = 0; b < HIST_BUCKETS; b++)
		if (hist[b])
			fprintf(f, "%llu %llu %llu\n", (unsigned long long)hist_lower(b),
				(unsigned long long)hist_lower(b + 1) - 1,
				(unsigned long long)hist[b]);
	if (fclose(f))
		die("%s: write: %s", path, strerror(errno));
}

/* One line of JSON; the longest wait in microseconds is handed back. */
static uint64_t summarize(const struct options *o, char **paths, bool hangs)
{
	struct thread_report sum = { .min_us = UINT64_MAX };
	static uint64_t hist[HIST_BUCKETS];
	uint64_t total = 0;

	for (unsigned int t = 0; t < MAX_THREADS; t++) {
		const struct thread_report *tr = &report->thread[t];

		if (!(tr->writes + tr->zeroes + tr->discards))
			continue;
		sum.writes += tr->writes;
		sum.zeroes += tr->zeroes;
		sum.discards += tr->discards;
		sum.flushes += tr->flushes;
		sum.fua += tr->fua;
		sum.nowait += tr->nowait;
		sum.again += tr->again;
		sum.retried += tr->retried;
		sum.bytes += tr->bytes;
		if (tr->min_us < sum.min_us)
			sum.min_us = tr->min_us;
		if (tr->max_us >= sum.max_us) {
			sum.max_us = tr->max_us;
			sum.max_disk = tr->max_disk;
			sum.max_offset = tr->max_offset;
		}
		for (unsigned int b = 0; b < HIST_BUCKETS; b++)
			hist[b] += tr->hist[b];
	}
	total = sum.writes + sum.zeroes + sum.discards;
	if (!total)
		sum.min_us = 0;
	printf("{\"writes\":%llu,\"bytes\":%llu,\"discards\":%llu,\"zeroes\":%llu,"
	       "\"flushes\":%llu,\"fua\":%llu,\"nowait\":%llu,\"eagain\":%llu,\"retried\":%llu,",
	       (unsigned long long)sum.writes, (unsigned long long)sum.bytes,
	       (unsigned long long)sum.discards, (unsigned long long)sum.zeroes,
	       (unsigned long long)sum.flushes, (unsigned long long)sum.fua,
	       (unsigned long long)sum.nowait, (unsigned long long)sum.again,
	       (unsigned long long)sum.retried);
	printf("\"discard_supported\":%s,\"nowait_supported\":%s,\"seconds\":%.3f,",
	       atomic_load(&report->no_discard) ? "false" : "true",
	       atomic_load(&report->no_nowait) ? "false" : "true", (double)report->load_ns / 1e9);
	printf("\"latency_us\":{\"min\":%llu,\"median\":%llu,\"p99\":%llu,\"max\":%llu},"
	       "\"longest\":{\"disk\":%u,\"offset\":%llu},",
	       (unsigned long long)sum.min_us, (unsigned long long)percentile(hist, total, 500),
	       (unsigned long long)percentile(hist, total, 990), (unsigned long long)sum.max_us,
	       sum.max_disk, (unsigned long long)sum.max_offset);
	printf("\"errors\":%u,\"errno\":%d,\"error_disk\":%u,\"error_offset\":%llu,\"hangs\":%s,"
	       "\"verified_sectors\":%llu,\"mismatches\":%llu}\n",
	       atomic_load(&report->errors), report->first_errno, report->first_disk,
	       (unsigned long long)report->first_offset, hangs ? "true" : "false",
	       (unsigned long long)report->verified_sectors,
	       (unsigned long long)report->mismatches);
	fflush(stdout);
	if (o->hist_file)
		save_hist(o->hist_file, hist);
	if (o->max_latency_ms && sum.max_us > o->max_latency_ms * 1000)
		fprintf(stderr, "guestload: %s: a write at offset %llu took %llu ms\n",
			paths[sum.max_disk], (unsigned long long)sum.max_offset,
			(unsigned long long)sum.max_us / 1000);
	return sum.max_us;
}

static bool hanging(const struct options *o, char **paths)
{
	static const char *const what[] = { "write", "zeroing", "discard" };
	bool found = false;

	for (unsigned int t = 0; o->deadline && t < MAX_THREADS; t++) {
		struct thread_report *tr = &report->thread[t];
		uint64_t since = atomic_load(&tr->flight_since), now = now_ns();

		if (!since || now < since || now - since < o->deadline * 1000000000ull)
			continue;
		found = true;
		fprintf(stderr, "guestload: %s: a %s at offset %llu hangs for %llu s (thread %u)\n",
			paths[atomic_load(&tr->flight_disk)],
			what[atomic_load(&tr->flight_kind)],
			(unsigned long long)atomic_load(&tr->flight_offset),
			(unsigned long long)((now - since) / 1000000000ull), t);
	}
	return found;
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_store(&report->stop, true);
}

int main(int argc, char **argv)
{
	struct options o = {
		.fill_percent = 100, .fua_percent = 10, .nowait_percent = 5, .flush_percent = 2,
		.max_size = STRIPE,
	};
	struct sigaction sa = { .sa_handler = on_signal };
	char **paths;
	int status;
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "check"))
		return check_main(argc - 1, argv + 1);
	parse(argc, argv, &o);
	paths = argv + optind;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (report == MAP_FAILED)
		die("out of memory");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(work(&o, paths, (unsigned int)(argc - optind)));
	}
	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			break;
		if (done < 0 && errno != EINTR)
			die("wait: %s", strerror(errno));
		if (o.stop_file && !access(o.stop_file, F_OK))
			atomic_store(&report->stop, true);
		if (hanging(&o, paths)) {
			summarize(&o, paths, true);
			kill(pid, SIGKILL);
			return EXIT_HANGS;
		}
		usleep(WATCH_MS * 1000);
	}
	if (!WIFEXITED(status)) {
		fprintf(stderr, "guestload: the writing process was killed by signal %d\n",
			WTERMSIG(status));
		return EXIT_BAD;
	}
	if (WEXITSTATUS(status))
		return WEXITSTATUS(status);
	if (summarize(&o, paths, false) > o.max_latency_ms * 1000 && o.max_latency_ms)
		return EXIT_BAD;
	return atomic_load(&report->errors) || report->mismatches ? EXIT_BAD : EXIT_GOOD;
}
