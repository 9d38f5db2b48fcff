// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Progress lines.
 *
 * Guests wait while a backup does, and a terminal that was stopped or a log that is stuck takes
 * nothing for hours: a line that would have to wait is left out. Who shares standard error must
 * not find it O_NONBLOCK, so a terminal and a pipe are opened once more for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmactl/progress.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

const char *format_bytes(uint64_t bytes, char *text, size_t size)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = (double)bytes / 1024;
	unsigned int i = 0;

	if (bytes < 1024) {
		snprintf(text, size, "%" PRIu64 " bytes", bytes);
		return text;
	}
	while (n >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		i++;
	}
	snprintf(text, size, "%.1f %s", n, units[i]);
	return text;
}

static unsigned int percent_of(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned int)((double)part * 100 / (double)whole) : 100;
}

static void format_eta(const struct progress *p, uint64_t done, uint64_t elapsed_ms, char *text,
		       size_t size)
{
	uint64_t s;

	if (!done || !elapsed_ms) {
		snprintf(text, size, "--:--");
		return;
	}
	s = (uint64_t)((double)(p->total - done) * (double)elapsed_ms / (double)done / 1000);
	if (s >= 3600)
		snprintf(text, size, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned int)(s / 60 % 60),
			 (unsigned int)(s % 60));
	else
		snprintf(text, size, "%02u:%02u", (unsigned int)(s / 60), (unsigned int)(s % 60));
}

/* -1: standard error itself is written to, which is a file, or can't be opened again. */
static int open_aside(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)))
		return -1;
	return open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void put(const struct progress *p, const char *text)
{
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	size_t len = strlen(text);
	ssize_t n;

	if (p->aside >= 0)
		n = write(p->aside, text, len);
	else
		n = send(STDERR_FILENO, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK && poll(&ready, 1, 0) == 1)
		n = write(STDERR_FILENO, text, len);
	/* What was not taken is left out. */
	(void)n;
}

static void show(struct progress *p, uint64_t now, uint64_t done, uint64_t data)
{
	uint64_t elapsed = now - p->started_ms;
	uint64_t rate = elapsed ? (uint64_t)((double)done * 1000 / (double)elapsed) : 0;
	char size[32], speed[32], eta[32], line[192];

	format_eta(p, done, elapsed, eta, sizeof(eta));
	snprintf(line, sizeof(line), "%s%3u%% of %s, %s/s, ETA %s, sparse %u%%%s",
		 p->terminal ? "\r" : "",
		 percent_of(done, p->total), format_bytes(p->total, size, sizeof(size)),
		 format_bytes(rate, speed, sizeof(speed)), eta,
		 done ? percent_of(done > data ? done - data : 0, done) : 0,
		 p->terminal ? "\033[K" : "\n");
	put(p, line);
	p->drawn = true;
	p->shown_ms = now;
	p->shown_percent = percent_of(done, p->total);
}

void progress_start(struct progress *p, bool enabled, uint64_t total)
{
	memset(p, 0, sizeof(*p));
	p->enabled = enabled;
	p->terminal = isatty(STDERR_FILENO);
	p->aside = enabled ? open_aside() : -1;
	p->total = total;
	p->started_ms = now_ms();
	p->shown_ms = p->started_ms;
}

void progress_update(struct progress *p, uint64_t done, uint64_t data)
{
	uint64_t now, since;

	if (!p->enabled)
		return;
	now = now_ms();
	since = now - p->shown_ms;
	if (p->terminal ? since >= PROGRESS_REDRAW_MS :
	    since >= PROGRESS_STEP_MS ||
	    percent_of(done, p->total) / PROGRESS_STEP_PERCENT >
	    p->shown_percent / PROGRESS_STEP_PERCENT)
		show(p, now, done, data);
}

void progress_end(struct progress *p, uint64_t done, uint64_t data)
{
	if (!p->enabled)
		return;
	if (p->terminal || !p->drawn || p->shown_percent != percent_of(done, p->total))
		show(p, now_ms(), done, data);
	if (p->terminal)
		put(p, "\n");
	if (p->aside >= 0)
		close(p->aside);
	p->enabled = false;
}
