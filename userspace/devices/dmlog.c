// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libdevmapper has one log function per process. Its last error is kept in a
 * static buffer, because it may come while disks are suspended and nothing may
 * be allocated or printed.
 */
#include "devices/dmlog.h"

#include <stdarg.h>
#include <stdio.h>

#include <libdevmapper.h>

/* libdevmapper's levels: 2 fatal, 3 error, 4 warning, larger is chatter. */
#define LEVEL_ERROR	3
#define LEVEL_MASK	7

static char last_message[256];

__attribute__((format(printf, 5, 6)))
static void keep(int level, const char *file, int line, int class, const char *fmt, ...)
{
	va_list args;

	(void)file;
	(void)line;
	(void)class;
	if ((level & LEVEL_MASK) > LEVEL_ERROR)
		return;
	va_start(args, fmt);
	vsnprintf(last_message, sizeof(last_message), fmt, args);
	va_end(args);
}

void dmlog_capture(void)
{
	dm_log_with_errno_init(keep);
	last_message[0] = '\0';
}

const char *dmlog_message(void)
{
	return last_message;
}
