// SPDX-License-Identifier: GPL-2.0-or-later
/* soak: the actors that run vmactl backup, stop it, kill it, and sort how it ended. */
#include "soak.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_MS	700
#define KILL_PERCENT	25
#define STOP_PERCENT	30
/* How long vmactl stands still: longer than some of the timeouts, and than others not. */
#define STOP_MS		2500
#define POLL_MS		5
#define MAX_ARGS	40

/* vmactl's exit statuses, from its manual */
enum { VMACTL_OK = 0, VMACTL_FAILED = 1, VMACTL_BROKEN = 4, VMACTL_INTERRUPTED = 5 };

/* Ways of failing that are nobody's fault here: another actor was faster. */
static const char *const excuses[] = {
	"is in another backup session",
	"is suspended by somebody else",
	"cannot be suspended: Invalid argument",	/* somebody else did, just now */
	"was resumed by somebody else",
	"got another table",
	"is not a vmabackup device",
	"no vmabackup target",
	"has no fleece device",
	"Stale file handle",	/* lost a disk before it was armed */
};

/* Of the last backup that nobody disturbed, milliseconds: when to kill the next one. */
static uint64_t whole_ms = 4000;

struct args {
	char text[MAX_ARGS][160];
	const char *argv[MAX_ARGS + 1];
	int nr;
};

static void __attribute__((format(printf, 2, 3))) arg(struct args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->nr == MAX_ARGS)
		die("too many arguments");
	va_start(ap, fmt);
	vsnprintf(a->text[a->nr], sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	a->argv[a->nr] = a->text[a->nr];
	a->argv[++a->nr] = NULL;
}

static void choose_args(struct args *a, unsigned int mask, const char *archive,
			const char *summary)
{
	static const char *const policies[] = { "auto", "auto", "ring", "fleece" };

	arg(a, "%s", config.vmactl);
	arg(a, "backup");
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		if (!(mask & 1u << d))
			continue;
		arg(a, "--disk");
		arg(a, "d%u=/dev/mapper/soak%u", d, d);
	}
	arg(a, "--output");
	arg(a, "%s", archive);
	arg(a, "--json-summary");
	arg(a, "%s", summary);
	arg(a, "--policy");
	arg(a, "%s", policies[below(4)]);
	arg(a, "--slots");
	arg(a, "%u", percent(40) ? 2 + (unsigned int)below(8) : 16 + (unsigned int)below(112));
	if (percent(50)) {
		arg(a, "--bwlimit");
		arg(a, "%uK", 3072u << below(4));
	}
	if (percent(60)) {
		arg(a, "--on-cbw-error");
		arg(a, "break-%s", percent(60) ? "guest-write" : "snapshot");
	}
	if (percent(50)) {
		arg(a, "--cbw-timeout");
		arg(a, "%u.%u", (unsigned int)below(8), 3 + (unsigned int)below(7));
	}
	if (percent(25))
		arg(a, "--drop-discards");
	if (percent(20)) {
		arg(a, "--compress");
		arg(a, "zstd:1");
	}
}

static void read_text(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, len - 1);

	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

/* The first number after "KEY":, of the JSON's outermost object, or 0. */
static uint64_t json_number(const char *json, const char *key)
{
	char pattern[48];
	const char *at;

	snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	at = strstr(json, pattern);
	return at ? strtoull(at + strlen(pattern), NULL, 10) : 0;
}

static void json_word(const char *json, const char *key, char *word, size_t len)
{
	char pattern[48];
	const char *at;
	size_t n = 0;

	snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	at = strstr(json, pattern);
	if (at) {
		at += strlen(pattern);
		while (*at == ' ' || *at == '"')
			at++;
		while (n + 1 < len && (isalnum((unsigned char)at[n]) || at[n] == '-'))
			n++;
		memcpy(word, at, n);
	}
	word[n] = '\0';
}

static void add_counters(const char *json)
{
	uint64_t spilled = json_number(json, "chunks_spilled");
	uint64_t guest = json_number(json, "chunks_guest");

	count(N_CHUNKS_RING, guest > spilled ? guest - spilled : 0);
	count(N_CHUNKS_SPILLED, spilled);
	count(N_CHUNKS_REFETCHED, json_number(json, "chunks_refetched"));
	count(N_CHUNKS_FETCHED, json_number(json, "chunks_fetched"));
	count(N_WRITES_FAILED, json_number(json, "guest_writes_failed"));
	count(N_DISCARDS_DROPPED, json_number(json, "discards_dropped"));
}

static const char *excuse(const char *text)
{
	for (size_t i = 0; i < sizeof(excuses) / sizeof(excuses[0]); i++)
		if (strstr(text, excuses[i]))
			return excuses[i];
	return NULL;
}

static void sort_end(int status, unsigned int mask, const char *archive, const char *summary,
		     const char *output)
{
	struct kept k = { .disks = mask };
	static char json[16384], text[4096];
	char word[24];

	read_text(summary, json, sizeof(json));
	read_text(output, text, sizeof(text));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		count(N_KILLS, 1);
		return;
	}
	/* Told to stop before it listens. */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) {
		count(N_INTERRUPTED, 1);
		return;
	}
	if (!WIFEXITED(status)) {
		problem("vmactl ended by signal %d: %s", WTERMSIG(status), text);
		return;
	}
	add_counters(json);
	switch (WEXITSTATUS(status)) {
	case VMACTL_OK:
		count(N_BACKUPS_OK, 1);
		snprintf(k.path, sizeof(k.path), "%s", archive);
		if (keep(&k))
			return;
		break;
	case VMACTL_BROKEN:
		count(N_BROKEN, 1);
		json_word(json, "broken_reason", word, sizeof(word));
		count_reason("backups broken, %s", word);
		if (!*word || !strcmp(word, "none") || !strcmp(word, "unknown") ||
		    !strcmp(word, "removed") || !strcmp(word, "reader"))
			problem("a backup of disks %#x broke: \"%s\", %s", mask, word, text);
		break;
	case VMACTL_INTERRUPTED:
		count(N_INTERRUPTED, 1);
		break;
	case VMACTL_FAILED:
		if (excuse(text)) {
			count(N_REFUSED, 1);
			count_reason("backups refused, %s", excuse(text));
			break;
		}
		/* fall through */
	default:
		problem("a backup of disks %#x: exit status %d: %s", mask, WEXITSTATUS(status),
			text);
	}
	unlink(archive);
	if (!access(archive, F_OK))
		problem("%s is there though the backup failed", archive);
}

/* Waits, and does to it what was drawn; its status. */
static int watch(int actor, pid_t pid, uint64_t started)
{
	uint64_t kill_at = UINT64_MAX, stop_at = UINT64_MAX, resume_at = UINT64_MAX, ms;
	bool told = false;
	int status;

	shared->actor[actor].child = pid;
	if (percent(KILL_PERCENT))
		kill_at = below(whole_ms + 1);
	else if (percent(STOP_PERCENT))
		stop_at = below(whole_ms + 1);
	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid) {
			shared->actor[actor].child = 0;
			return status;
		}
		if (done < 0 && errno != EINTR)
			die("wait: %s", strerror(errno));
		ms = (now_ns() - started) / 1000000;
		if (ms >= kill_at)
			kill(pid, SIGKILL);
		if (ms >= stop_at) {
			kill(pid, SIGSTOP);
			count(N_STOPS, 1);
			resume_at = ms + below(STOP_MS);
			stop_at = UINT64_MAX;
		}
		if (ms >= resume_at) {
			kill(pid, SIGCONT);
			resume_at = UINT64_MAX;
		}
		if (shared->stop && !told) {
			kill(pid, SIGINT);
			told = true;
		}
		sleep_ms(POLL_MS);
	}
}

static void one_backup(int actor, uint64_t nr)
{
	/* The first prefers disk 0 or both, the second disk 1: often two sessions at a time. */
	unsigned int mask = actor == ACTOR_BACKUP ? (percent(50) ? 3 : 1 + (unsigned int)below(2)) :
						    (percent(80) ? 2 : 1 + (unsigned int)below(3));
	char archive[128], summary[160], output[160];
	struct args a = { .nr = 0 };
	uint64_t started = now_ns();
	int status;

	snprintf(archive, sizeof(archive), "%s/backup%d.%llu.vma", config.work, actor,
		 (unsigned long long)nr);
	snprintf(summary, sizeof(summary), "%s/summary%d", config.work, actor);
	snprintf(output, sizeof(output), "%s/output%d", config.work, actor);
	unlink(summary);
	choose_args(&a, mask, archive, summary);
	doing(actor, "a backup of disks %#x", mask);
	count(N_BACKUPS, 1);
	status = watch(actor, start(a.argv, output), started);
	idle(actor);
	sort_end(status, mask, archive, summary, output);
	if (WIFEXITED(status) && WEXITSTATUS(status) == VMACTL_OK)
		whole_ms = (now_ns() - started) / 1000000;
}

void act_backup(int actor)
{
	for (uint64_t nr = 0; !shared->stop; nr++) {
		sleep_ms(below(PAUSE_MS));
		one_backup(actor, nr);
	}
}
