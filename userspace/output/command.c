// SPDX-License-Identifier: GPL-2.0-or-later
#include "output/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libvma/text.h"

/*
 * How long a command may go on after SIGTERM: removing what it wrote takes seconds at most,
 * and who pressed Ctrl-C waits for it.
 */
#define END_GRACE_MS	10000
/* How often to look whether it has. */
#define END_LOOK_MS	10

extern char **environ;

/* The command is not to be deaf to what this program ignores or blocks. */
static int spawn(const char *command, int from, pid_t *child)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, ignored;
	int error;

	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	error = posix_spawn_file_actions_init(&actions);
	if (error)
		return error;
	error = posix_spawnattr_init(&attributes);
	if (!error) {
		posix_spawnattr_setflags(&attributes,
					 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					 POSIX_SPAWN_SETPGROUP);
		posix_spawnattr_setpgroup(&attributes, 0);
		posix_spawnattr_setsigmask(&attributes, &none);
		posix_spawnattr_setsigdefault(&attributes, &ignored);
		error = posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
		if (!error)
			error = posix_spawn(child, "/bin/sh", &actions, &attributes, argv, environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/*
 * As a process group that is not the terminal's, it would be stopped when it asks there for a
 * password, and this program wait for it without a word. Where these are ignored it gets an
 * error instead; that is inherited.
 */
static int spawn_aside(const char *command, int from, pid_t *child)
{
	static const int signals[] = { SIGTTIN, SIGTTOU };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old[2];
	int error;

	for (unsigned int i = 0; i < 2; i++)
		sigaction(signals[i], &ignore, &old[i]);
	error = spawn(command, from, child);
	for (unsigned int i = 0; i < 2; i++)
		sigaction(signals[i], &old[i], NULL);
	return error;
}

int command_start(const char *command, pid_t *child, struct vma_error *err)
{
	int ends[2], error;

	/* Inherited, it would take from us how the command ended. */
	signal(SIGCHLD, SIG_DFL);
	/* What outlives the shell that started it is waited for, too, when all has to end. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return vma_fail(err, -errno, "cannot make a pipe: %s", strerror(errno));
	/* The command's own end blocks as any other. */
	error = fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
	if (!error)
		error = spawn_aside(command, ends[0], child);
	close(ends[0]);
	if (!error)
		return ends[1];
	close(ends[1]);
	return vma_fail(err, -error, "cannot start /bin/sh: %s", strerror(error));
}

/* Whether it ended: not if stop_fd could be read first. */
static bool wait_end(pid_t child, int stop_fd)
{
	struct pollfd p[] = {
		{ .fd = pidfd_open(child, 0), .events = POLLIN },
		{ .fd = stop_fd, .events = POLLIN },
	};
	int n;

	/* Nothing to look at: then waitpid() has to do. */
	if (p[0].fd < 0)
		return true;
	do
		n = poll(p, 2, -1);
	while (n < 0 && errno == EINTR);
	close(p[0].fd);
	return n < 0 || p[0].revents;
}

static int reap(pid_t child, int *status)
{
	while (waitpid(child, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int command_wait(pid_t child, const char *command, int stop_fd, struct vma_error *err)
{
	int status, ret;

	if (!wait_end(child, stop_fd)) {
		command_end(child, -1);
		return vma_fail(err, -EINTR, "interrupted by a signal");
	}
	ret = reap(child, &status);
	if (ret)
		return vma_fail(err, ret, "cannot wait for the command: %s", strerror(-ret));
	if (WIFSIGNALED(status))
		return vma_fail(err, -EIO, "the command \"%s\" was killed by signal %d", command,
				WTERMSIG(status));
	if (WEXITSTATUS(status))
		return vma_fail(err, -EIO, "the command \"%s\" failed with exit status %d", command,
				WEXITSTATUS(status));
	return 0;
}

/* Whether all of the group that became our children have ended in time. */
static bool group_ended(pid_t group, int timeout_ms)
{
	struct timespec look = { .tv_nsec = END_LOOK_MS * 1000000 };
	pid_t pid;

	for (;;) {
		pid = waitpid(-group, NULL, WNOHANG);
		if (pid < 0)
			return true;
		if (pid)
			continue;
		if (timeout_ms <= 0)
			return false;
		nanosleep(&look, NULL);
		timeout_ms -= END_LOOK_MS;
	}
}

/*
 * All of it, and the descriptor is closed only then: subshells and the members of a pipeline
 * would take what they got for everything, those that ignore the signal, too.
 */
void command_end(pid_t child, int fd)
{
	kill(-child, SIGTERM);
	/* One that is stopped finds it only then. */
	kill(-child, SIGCONT);
	if (!group_ended(child, END_GRACE_MS)) {
		kill(-child, SIGKILL);
		while (waitpid(-child, NULL, 0) > 0 || errno == EINTR)
			;
	}
	if (fd >= 0)
		close(fd);
}
