// SPDX-License-Identifier: GPL-2.0-or-later
/* ioctl-abuse: does to /dev/vmabackup what a caller should not do. */
#include "abuse.h"

#include <getopt.h>
#include <libdevmapper.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
"usage: ioctl-abuse test [--only NAME] [--policy P] [--linear DEV] [--plain DEV] DISK [DISK]\n"
"       ioctl-abuse hold [options] DISK...\n"
"       ioctl-abuse drain [options] DISK...\n"
"\n"
"DISK is a device with the vmabackup target.\n"
"\n"
"test: prints TAP.  Overwrites the disks, which have at least 16 chunks and 512 MiB at most.\n"
"  --only NAME      protocol, memory, delivery or life\n"
"  --policy P       auto, ring or fleece, for the sessions of these (auto); once or more\n"
"  --linear DEV     some device with dm-linear\n"
"  --plain DEV      some block device that is not device-mapper's\n"
"\n"
"hold: arms and does nothing, until end of file on stdin or a signal; then prints STATUS.\n"
"  --fetch N        ask for the first N chunks of the first disk (0)\n"
"  --ignore-stdin   wait for a signal only\n"
"  --until-broken   end when the session breaks, too\n"
"  --arm-file FILE  ready, but not armed until there is a FILE\n"
"  --empty-first    suspend and resume the disks once without arming; empty_ns is the time\n"
"drain: arms, fetches all and takes it; prints STATUS; exit 1 if that was not all.\n"
"  --delay-us N     after each batch\n"
"  --hurry-file FILE  no more delays once there is a FILE\n"
"  --batch N        completions per call (8)\n"
"  --no-fetch       take only what guests push, until a signal\n"
"  --fetch-at N     ask for chunk N of the first disk, besides; up to 8 times\n"
"  --asked-file FILE  make FILE once it has asked for all of that\n"
"  --take-file FILE take nothing until there is FILE\n"
"  --out FILE       write the disk as it was to FILE; once per disk, in order\n"
"both:\n"
"  --slots N, --reserve N   (hold: 2, 0; drain: 32, a quarter)\n"
"  --policy P               auto, ring or fleece (auto)\n"
"  --on-cbw-error E         break-snapshot or break-guest-write (the table's)\n"
"  --timeout-ms N           cbw_timeout (the table's)\n"
"  --drop-discards\n"
"  --forget N               first, the first N chunks of the first disk\n"
"  --forget-armed N         likewise, once armed; with --go-file not before there is a FILE\n"
"  --go-file FILE           drain fetches nothing and takes nothing until there is a FILE\n"
"  --ready-file FILE        make FILE once armed and resumed\n";

#define MAX_POLICIES	3

static const struct {
	const char *name;
	void (*fn)(const struct bed *bed);
} tests[] = {
	{ "protocol", test_protocol },
	{ "memory", test_memory },
	{ "delivery", test_delivery },
	{ "life", test_life },
};

/* A test that hangs, with disks suspended perhaps, would take the machine with it. */
static void on_alarm(int sig)
{
	static const char text[] = "Bail out! a test hangs\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	bed_resume_all();
	_exit(1);
}

static int test_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "linear", 1, NULL, 'l' }, { "plain", 1, NULL, 'p' }, { "only", 1, NULL, 'o' },
		{ "policy", 1, NULL, 'P' }, { NULL, 0, NULL, 0 }
	};
	uint32_t policies[MAX_POLICIES] = { VMABACKUP_POLICY_AUTO };
	unsigned int nr_policies = 0;
	const char *only = NULL;
	struct bed bed = { 0 };
	bool ran = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'l') {
			bed.linear = optarg;
		} else if (c == 'p') {
			bed.plain = optarg;
		} else if (c == 'o') {
			only = optarg;
		} else if (c == 'P' && nr_policies < MAX_POLICIES &&
			   parse_policy(optarg, &policies[nr_policies])) {
			nr_policies++;
		} else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind >= argc || argc - optind > MAX_TEST_DISKS) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
	puts("TAP version 13");
	bed_open(&bed, argv + optind, (unsigned int)(argc - optind));
	for (unsigned int i = 0; i < bed.nr; i++)
		if (bed.disk[i].nr_chunks < 16 || bed.disk[i].size > BED_MAX_SIZE)
			bail("%s: has %llu chunks, %llu bytes: too few or too many",
			     bed.disk[i].path, (unsigned long long)bed.disk[i].nr_chunks,
			     (unsigned long long)bed.disk[i].size);
	for (unsigned int p = 0; p < nr_policies || p == 0; p++) {
		bed.setup.policy = policies[p];
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
			if (only && strcmp(only, tests[i].name))
				continue;
			diag("--- %s, policy %u", tests[i].name, policies[p]);
			alarm(TEST_SECONDS);
			tests[i].fn(&bed);
			alarm(0);
			ran = true;
		}
	}
	if (!ran)
		bail("no test is called %s", only);
	return tap_end();
}

int main(int argc, char **argv)
{
	/* Nothing here waits for udev: the devices' names do not change. */
	dm_udev_set_sync_support(0);
	if (argc > 1 && !strcmp(argv[1], "test"))
		return test_main(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "hold"))
		return hold_main(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "drain"))
		return drain_main(argc - 1, argv + 1);
	fputs(usage, argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
	return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
}
