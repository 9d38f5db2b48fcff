// SPDX-License-Identifier: GPL-2.0-or-later
#include "output/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libvma/text.h"

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
					 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
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

int command_start(const char *command, pid_t *child, struct vma_error *err)
{
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return vma_fail(err, -errno, "cannot make a pipe: %s", strerror(errno));
	error = spawn(command, ends[0], child);
	close(ends[0]);
	if (!error)
		return ends[1];
	close(ends[1]);
	return vma_fail(err, -error, "cannot start /bin/sh: %s", strerror(error));
}

int command_wait(pid_t child, const char *command, struct vma_error *err)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return vma_fail(err, -errno, "cannot wait for the command: %s",
					strerror(errno));
	if (WIFSIGNALED(status))
		return vma_fail(err, -EIO, "the command \"%s\" was killed by signal %d", command,
				WTERMSIG(status));
	if (WEXITSTATUS(status))
		return vma_fail(err, -EIO, "the command \"%s\" failed with exit status %d", command,
				WEXITSTATUS(status));
	return 0;
}

void command_kill(pid_t child)
{
	kill(child, SIGTERM);
}
