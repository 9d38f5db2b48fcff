/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress: how far a long command has come, on stderr.
 *
 * On a terminal one line that is drawn anew, elsewhere a line now and then. None of it waits
 * for a terminal or a reader that takes no more; what it would have said is left out.
 */
#ifndef VMACTL_PROGRESS_H
#define VMACTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A terminal is redrawn at most this often: faster than the eye costs for nothing. */
#define PROGRESS_REDRAW_MS	250

/* Elsewhere a line comes each time one of these is reached: logs stay short. */
#define PROGRESS_STEP_PERCENT	10
#define PROGRESS_STEP_MS	10000

struct progress {
	bool enabled;
	bool terminal;
	bool drawn;			/* the terminal's line stands there */
	int aside;			/* the terminal or pipe, opened to wait for nobody; -1 */
	uint64_t total;
	uint64_t started_ms;
	uint64_t shown_ms;
	unsigned int shown_percent;
};

void progress_start(struct progress *p, bool enabled, uint64_t total);

/* done bytes of the total; data of them were not zero. Cheap when nothing is due. */
void progress_update(struct progress *p, uint64_t done, uint64_t data);

/* Shows the last state and ends the line. */
void progress_end(struct progress *p, uint64_t done, uint64_t data);

/* "12.3 GiB" */
const char *format_bytes(uint64_t bytes, char *text, size_t size);

#endif /* VMACTL_PROGRESS_H */
