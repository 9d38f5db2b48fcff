// SPDX-License-Identifier: GPL-2.0-or-later
#include "output/temporary.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The kernel's TASK_COMM_LEN, and a line's end. */
#define PROCESS_NAME	17

/* What all such names of this host have in common. */
static char *infix(void)
{
	struct utsname host;
	char *text;
	char *p;

	if (uname(&host) != 0)
		return NULL;
	for (p = host.nodename; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '-')
			*p = '_';
	return asprintf(&text, ".tmp-%s-", host.nodename) < 0 ? NULL : text;
}

char *temporary_name(const char *name)
{
	char *middle = infix(), *text = NULL;

	if (middle && asprintf(&text, "%s%s%d", name, middle, (int)getpid()) < 0)
		text = NULL;
	free(middle);
	return text;
}

void temporary_lock(int fd)
{
	/* Where there are no locks there is the pid. */
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return;
}

bool temporary_keep(int dir, const char *name)
{
	return fchmodat(dir, name, S_IRUSR, 0) == 0;
}

/* What a process calls itself; false if that is not to be known. */
static bool name_of(pid_t pid, char name[PROCESS_NAME])
{
	char path[sizeof("/proc//comm") + 3 * sizeof(pid)];
	bool known;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	known = f && fgets(name, PROCESS_NAME, f);
	if (f)
		fclose(f);
	return known;
}

/*
 * After a boot a number may be somebody else's, ours too: what was written before we began is
 * of another.
 */
static bool is_dead(pid_t pid)
{
	char name[PROCESS_NAME], own[PROCESS_NAME];

	if (pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH))
		return true;
	return name_of(pid, name) && name_of(getpid(), own) && strcmp(name, own) != 0;
}

/* "<something with .vma><infix><pid>" of a process that is gone. */
static bool has_dead_name(const char *name, const char *middle)
{
	const char *at = NULL, *next, *vma = strstr(name, ".vma");
	unsigned long pid;
	char *end;

	for (next = strstr(name, middle); next; next = strstr(next + 1, middle))
		at = next;
	if (!at || !vma || vma > at || !isdigit((unsigned char)at[strlen(middle)]))
		return false;
	errno = 0;
	pid = strtoul(at + strlen(middle), &end, 10);
	if (errno || *end || !pid || pid > 0x7fffffff)
		return false;
	return is_dead((pid_t)pid);
}

static bool remove_leftover(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	bool removed;

	if (fd < 0)
		return false;
	removed = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
		  (st.st_mode & S_IWUSR) &&
		  flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir, name, 0) == 0;
	close(fd);
	return removed;
}

unsigned int temporary_sweep(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char *middle = infix();
	unsigned int n = 0;
	struct dirent *entry;

	if (!d && fd >= 0)
		close(fd);
	while (d && middle && (entry = readdir(d)))
		if (has_dead_name(entry->d_name, middle) && remove_leftover(dir, entry->d_name))
			n++;
	if (d)
		closedir(d);
	free(middle);
	return n;
}
