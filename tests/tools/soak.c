// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * soak: two disks under load, and everything that a host can do to them, at random, for
 * as long as one likes.  Nothing may be lost, hang, or get into an archive or a view that
 * was not there at the one instant.
 *
 * Rounds: the actors and the load run for ROUND_SECONDS, then the load looks for all that
 * it ever wrote, and what was backed up or read from views is held against its log.
 *
 * The choices follow from the seed; when they happen, from the machine.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_SECONDS	20
/* The disks are idle again so soon after the last actor ended. */
#define IDLE_SECONDS	120

struct shared *shared;
struct config config;
static uint64_t rng;
static pid_t parent;
static pid_t actors[NR_ACTORS];

static const char usage[] =
"usage: soak --seed N --seconds N --vmactl PATH --guestload PATH --vmaread PATH --work DIR\n"
"            --origin DEVICE --origin DEVICE --fleece DEVICE --fleece DEVICE\n"
"\n"
"The module is loaded, and so are dm-flakey and dm-delay. What the devices hold is lost.\n"
"Exit status: 0 good, 1 something was lost, wrong or hung, 2 wrong use.\n";

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void sleep_ms(uint64_t ms)
{
	struct timespec ts = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("soak: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(2);
}

void problem(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "soak: round %llu: %s\n", (unsigned long long)shared->count[N_ROUNDS],
		text);
	pthread_mutex_lock(&shared->lock);
	shared->problems++;
	pthread_mutex_unlock(&shared->lock);
}

void count(enum count n, uint64_t by)
{
	atomic_fetch_add(&shared->count[n], by);
}

void count_reason(const char *fmt, ...)
{
	char text[sizeof(shared->reason[0])];
	unsigned int i;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&shared->lock);
	for (i = 0; i < MAX_REASONS - 1; i++)
		if (!shared->reason[i][0] || !strcmp(shared->reason[i], text))
			break;
	memcpy(shared->reason[i], text, sizeof(text));
	shared->reason_count[i]++;
	pthread_mutex_unlock(&shared->lock);
}

uint64_t rnd(void)
{
	uint64_t z = rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t below(uint64_t n)
{
	return n ? rnd() % n : 0;
}

bool percent(unsigned int p)
{
	return below(100) < p;
}

void doing(int actor, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->actor[actor].doing, sizeof(shared->actor[actor].doing), fmt, ap);
	va_end(ap);
	shared->actor[actor].since = now_ns();
}

void idle(int actor)
{
	shared->actor[actor].since = 0;
}

bool keep(const struct kept *k)
{
	bool room;

	pthread_mutex_lock(&shared->lock);
	room = shared->nr_kept < MAX_KEPT;
	if (room)
		shared->kept[shared->nr_kept++] = *k;
	pthread_mutex_unlock(&shared->lock);
	return room;
}

int start(const char *const argv[], const char *output)
{
	pid_t pid = fork();
	int fd;

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		die("%s: %s", output, strerror(errno));
	execv(argv[0], (char *const *)argv);
	die("%s: %s", argv[0], strerror(errno));
}

/* --- the devices --- */

static uint64_t device_sectors(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t size = 0;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		die("%s: %s", path, strerror(errno));
	close(fd);
	return size / 512;
}

static void made(int r, const char *name)
{
	if (r)
		die("%s can't be made: %s", name, strerror(-r));
}

static void make_devices(void)
{
	char name[24], params[256];

	for (unsigned int d = 0; d < NR_DISKS; d++) {
		config.max_sectors[d] = device_sectors(config.origin[d]);
		config.fleece_sectors[d] = device_sectors(config.fleece[d]);
		if (config.max_sectors[d] < GUEST_SECTORS ||
		    config.fleece_sectors[d] < config.max_sectors[d])
			die("%s or %s is too small", config.origin[d], config.fleece[d]);
		shared->sectors[d] = GUEST_SECTORS;
		disk_name(name, "base", d);
		snprintf(params, sizeof(params), "%s 0", config.origin[d]);
		made(dm_make(name, GUEST_SECTORS, "linear", params, false), name);
		disk_name(name, "fleece", d);
		snprintf(params, sizeof(params), "%s 0", config.fleece[d]);
		made(dm_make(name, config.fleece_sectors[d], "linear", params, false), name);
		disk_name(name, "", d);
		our_params(params, sizeof(params), d, true);
		made(dm_make(name, GUEST_SECTORS, "vmabackup", params, false), name);
	}
}

static bool remove_devices(void)
{
	static const char *const kinds[] = { "view", "", "fleece", "base" };
	bool good = true;
	char name[24];

	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (unsigned int d = 0; d < NR_DISKS; d++) {
			disk_name(name, kinds[k], d);
			/* None should be suspended; a view is gone already. */
			dm_resume(name, false);
			if (dm_remove(name) && strcmp(kinds[k], "view")) {
				problem("%s can't be removed", name);
				good = false;
			}
		}
	}
	return good;
}

static bool is_idle(unsigned int d, char *line, size_t len)
{
	char name[24];

	disk_name(name, "", d);
	if (dm_status(name, line, len))
		return false;
	return strstr(line, "vmabackup idle ") && status_number(line, "held") == 0 &&
	       status_number(line, "copying") == 0 && status_number(line, "fleece_used") == 0;
}

static void expect_idle(void)
{
	uint64_t until = now_ns() + IDLE_SECONDS * 1000000000ull;
	char line[512];

	for (unsigned int d = 0; d < NR_DISKS; d++) {
		while (!is_idle(d, line, sizeof(line)) && now_ns() < until)
			sleep_ms(50);
		if (!is_idle(d, line, sizeof(line)))
			problem("disk %u is not idle after all sessions: %s", d, line);
	}
}

/* --- rounds --- */

static void (*const acts[NR_ACTORS])(int) = {
	[ACTOR_BACKUP] = act_backup,
	[ACTOR_BACKUP2] = act_backup,
	[ACTOR_VIEW] = act_view,
	[ACTOR_DISTURB] = act_disturb,
	[ACTOR_FLEECE] = act_fleece,
	[ACTOR_MESSAGES] = act_messages,
};

static pid_t start_actor(int actor)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(2);
	rng = (config.seed * 1000003 + shared->count[N_ROUNDS]) * NR_ACTORS + (uint64_t)actor;
	acts[actor](actor);
	_exit(0);
}

/* What the tasks of a process are doing, in the kernel. */
static void tell_process(int pid)
{
	char command[160];

	if (!pid)
		return;
	snprintf(command, sizeof(command),
		 "for t in /proc/%d/task/*; do cat $t/comm $t/stack; grep State $t/status; done >&2",
		 pid);
	fprintf(stderr, "soak: process %d:\n", pid);
	if (system(command))
		fprintf(stderr, "soak: it is gone\n");
}

/* Nothing can be done about it, but it can be told who and where. */
static void report_hang(int actor)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	char name[24], line[512];

	problem("actor %d hangs: %s", actor, shared->actor[actor].doing);
	tell_process(actors[actor]);
	tell_process(shared->actor[actor].child);
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		disk_name(name, "", d);
		dm_status(name, line, sizeof(line));
		fprintf(stderr, "soak: %s: %s\n", name, line);
	}
	if (fd >= 0 && write(fd, "w", 1) != 1)
		fprintf(stderr, "soak: no list of those who wait\n");
	/* The bed ends what is left; it is there to be looked at until then. */
	_exit(1);
}

static void look_for_hangs(void)
{
	for (int a = 0; a < NR_ACTORS; a++) {
		uint64_t since = shared->actor[a].since, now = now_ns();

		if (since && now > since && now - since > HANG_SECONDS * 1000000000ull)
			report_hang(a);
	}
}

static void play(uint64_t until)
{
	int left = NR_ACTORS, status;

	shared->stop = false;
	for (int a = 0; a < NR_ACTORS; a++)
		actors[a] = start_actor(a);
	while (left) {
		if (now_ns() >= until)
			shared->stop = true;
		look_for_hangs();
		for (int a = 0; a < NR_ACTORS; a++) {
			if (!actors[a] || waitpid(actors[a], &status, WNOHANG) != actors[a])
				continue;
			if (status)
				problem("actor %d ended with status %#x", a, status);
			actors[a] = 0;
			left--;
		}
		sleep_ms(20);
	}
}

static void one_round(bool first)
{
	pid_t load = load_start(first);
	char name[24];

	shared->nr_kept = 0;
	play(now_ns() + ROUND_SECONDS * 1000000000ull);
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		/* An arm out of turn that nobody has undone. */
		disk_name(name, "", d);
		dm_message(name, "disarm");
	}
	expect_idle();
	load_stop(load);
	for (unsigned int i = 0; i < shared->nr_kept; i++)
		judge(&shared->kept[i], i == 0);
	count(N_ROUNDS, 1);
}

static void print_counts(void)
{
	static const char *const text[NR_COUNTS] = {
#define X(id, words) [N_##id] = words,
		COUNTS(X)
#undef X
	};

	for (int i = 0; i < NR_COUNTS; i++)
		printf("%s: %llu\n", text[i], (unsigned long long)shared->count[i]);
	for (int i = 0; i < MAX_REASONS; i++)
		if (shared->reason[i][0])
			printf("%s: %llu\n", shared->reason[i],
			       (unsigned long long)shared->reason_count[i]);
	fflush(stdout);
}

static void share(void)
{
	pthread_mutexattr_t attr;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		die("out of memory");
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&shared->lock, &attr);
	for (unsigned int d = 0; d < NR_DISKS; d++)
		pthread_mutex_init(&shared->disk_lock[d], &attr);
}

static uint64_t number(const char *name, const char *text)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-' || !v)
		die("--%s %s: not a positive number", name, text);
	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", 1, NULL, 's' }, { "seconds", 1, NULL, 't' }, { "vmactl", 1, NULL, 'v' },
		{ "guestload", 1, NULL, 'g' }, { "vmaread", 1, NULL, 'r' },
		{ "work", 1, NULL, 'w' }, { "origin", 1, NULL, 'o' }, { "fleece", 1, NULL, 'f' },
		{ NULL, 0, NULL, 0 }
	};
	unsigned int origins = 0, fleeces = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': config.seed = number("seed", optarg); break;
		case 't': config.seconds = number("seconds", optarg); break;
		case 'v': config.vmactl = optarg; break;
		case 'g': config.guestload = optarg; break;
		case 'r': config.vmaread = optarg; break;
		case 'w': config.work = optarg; break;
		case 'o':
			if (origins < NR_DISKS)
				config.origin[origins] = optarg;
			origins++;
			break;
		case 'f':
			if (fleeces < NR_DISKS)
				config.fleece[fleeces] = optarg;
			fleeces++;
			break;
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc || !config.seed || !config.seconds || !config.vmactl ||
	    !config.guestload || !config.vmaread || !config.work || origins != NR_DISKS ||
	    fleeces != NR_DISKS) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	uint64_t end;
	bool first = true;

	parse(argc, argv);
	parent = getpid();
	setvbuf(stderr, NULL, _IOLBF, 0);
	share();
	dm_quiet();
	judge_init();
	make_devices();
	end = now_ns() + config.seconds * 1000000000ull;
	do {
		one_round(first);
		first = false;
	} while (now_ns() < end && !shared->problems);
	expect_idle();
	remove_devices();
	print_counts();
	return shared->problems != 0;
}
