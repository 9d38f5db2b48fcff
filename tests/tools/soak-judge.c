// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * soak: the guest's load, and what is held against its log afterwards.
 *
 * The judge is guestload: it knows what it wrote and when, and nothing of the target.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILL_PERCENT	"70"
#define THREADS		"6"
/* A write that takes longer hangs; actors are given longer, for they wait for writes. */
#define LOAD_DEADLINE	"400"

/* --- the load --- */

static char stop_file[160], ready_file[160], state_file[160], log_file[160], load_output[160];

int load_start(bool first)
{
	char seed[24], use[24];
	const char *argv[40] = {
		config.guestload, "--seed", seed, "--threads", THREADS, "--use", use,
		"--retry", "--verify", "--deadline", LOAD_DEADLINE, "--discard-percent", "3",
		"--zero-percent", "3", "--pause-us", "1000", "--stop-file", stop_file,
		"--ready-file", ready_file, "--state", state_file, "--log", log_file,
		"/dev/mapper/soak0", "/dev/mapper/soak1",
	};
	int n = 0;
	pid_t pid;

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)config.seed);
	snprintf(use, sizeof(use), "%u", GUEST_MIB << 20);
	while (argv[n])
		n++;
	if (first) {
		argv[n++] = "--fill-percent";
		argv[n++] = FILL_PERCENT;
	}
	unlink(stop_file);
	unlink(ready_file);
	pid = start(argv, load_output);
	for (n = 0; access(ready_file, F_OK); n++) {
		if (n == HANG_SECONDS * 20)
			die("the load does not begin; see its output");
		sleep_ms(50);
	}
	return pid;
}

static char *text_of(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("wait: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static uint64_t number_in(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

void load_stop(int pid)
{
	int fd = open(stop_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), status;
	const char *text;

	if (fd < 0)
		die("%s: %s", stop_file, strerror(errno));
	close(fd);
	status = wait_for(pid);
	text = text_of(load_output);
	if (status)
		problem("the guest's load ended with %d: %s", status, text);
	count(N_GUEST_WRITES, number_in(text, "\"writes\":") + number_in(text, "\"discards\":") +
	      number_in(text, "\"zeroes\":"));
	count(N_GUEST_RETRIES, number_in(text, "\"retried\":"));
}

void judge_init(void)
{
	snprintf(stop_file, sizeof(stop_file), "%s/stop", config.work);
	snprintf(ready_file, sizeof(ready_file), "%s/ready", config.work);
	snprintf(state_file, sizeof(state_file), "%s/state", config.work);
	snprintf(log_file, sizeof(log_file), "%s/log", config.work);
	snprintf(load_output, sizeof(load_output), "%s/load", config.work);
}

/* --- judging --- */

static int run(const char *const argv[])
{
	char output[160];
	int status;

	snprintf(output, sizeof(output), "%s/judge", config.work);
	status = wait_for(start(argv, output));
	if (status)
		problem("%s %s: exit status %d: %s", argv[0], argv[1], status, text_of(output));
	return status;
}

/* For whoever looks into it: /results outlives a virtual machine of the tests. */
static void save(const char *path)
{
	char command_to[] = "/results";
	const char *argv[] = { "/bin/cp", "-r", path, command_to, NULL };
	char output[160];

	snprintf(output, sizeof(output), "%s/save", config.work);
	if (!access(command_to, W_OK))
		wait_for(start(argv, output));
}

static void judge_instant(const struct kept *k, char path[][192])
{
	char use[24];
	const char *argv[] = { config.guestload, "check", "--log", log_file, "--use", use,
			 "-", "-", NULL };

	snprintf(use, sizeof(use), "%u", GUEST_MIB << 20);
	for (unsigned int d = 0; d < NR_DISKS; d++)
		if (k->disks & 1u << d)
			argv[6 + d] = path[d];
	if (run(argv)) {
		problem("%s (disks %#x) is not of one instant", k->path, k->disks);
		save(log_file);
		for (unsigned int d = 0; d < NR_DISKS; d++)
			if (k->disks & 1u << d)
				save(path[d]);
	}
	count(k->view ? N_VIEWS_CHECKED : N_BACKUPS_CHECKED, 1);
}

void judge(const struct kept *k, bool structure)
{
	char path[NR_DISKS][192], dir[160];
	const char *check[] = { config.vmaread, "check", k->path, NULL };
	const char *extract[] = { config.vmactl, "extract", k->path, dir, NULL };
	const char *clean[] = { "/bin/rm", "-rf", dir, NULL };
	int r = 0;

	snprintf(dir, sizeof(dir), "%s/extracted", config.work);
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		if (k->view)
			snprintf(path[d], sizeof(path[d]), "%s.%u", k->path, d);
		else
			snprintf(path[d], sizeof(path[d]), "%s/disk-d%u.raw", dir, d);
	}
	if (!k->view) {
		if (structure)
			run(check);
		r = run(extract);
	}
	if (!r)
		judge_instant(k, path);
	if (r)
		save(k->path);
	for (unsigned int d = 0; d < NR_DISKS; d++)
		if (k->disks & 1u << d)
			unlink(path[d]);
	if (!k->view) {
		unlink(k->path);
		run(clean);
	}
}
