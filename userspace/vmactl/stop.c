// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "libvma/text.h"

/* A blocked signal is kept even if it is ignored: nohup would be in vain. */
static void add(sigset_t *set, const int *signals, unsigned int n)
{
	struct sigaction now;

	for (unsigned int i = 0; i < n; i++)
		if (sigaction(signals[i], NULL, &now) != 0 || now.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
}

int stop_open(bool all, struct vma_error *err)
{
	static const int usual[] = { SIGINT, SIGTERM, SIGHUP };
	/* What else ends a program from outside: a key, limits, timers of who started it. */
	static const int others[] = {
		SIGQUIT, SIGALRM, SIGXCPU, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF,
	};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	add(&set, usual, sizeof(usual) / sizeof(usual[0]));
	if (all)
		add(&set, others, sizeof(others) / sizeof(others[0]));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return vma_fail(err, -errno, "cannot watch for signals: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, &set, NULL);
	return fd;
}

bool stop_requested(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, 0) > 0;
}

int stop_wait_readable(int stop_fd, int fd, struct vma_error *err)
{
	struct pollfd p[] = {
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return vma_fail(err, -errno, "cannot wait for data: %s", strerror(errno));
	if (p[0].revents)
		return vma_fail(err, -EINTR, "interrupted by a signal");
	return 0;
}
