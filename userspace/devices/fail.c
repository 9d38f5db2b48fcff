// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages of the devices layer. libdevmapper has one log function per
 * process; its last error is kept in a static buffer, because it may come
 * while disks are suspended and nothing may be allocated or printed.
 */
#include <stdarg.h>
#include <stdio.h>

#include <libdevmapper.h>

#include "devices/fail.h"

/* libdevmapper's levels: 2 fatal, 3 error, 4 warning, larger is chatter. */
#define LEVEL_ERROR	3
#define LEVEL_MASK	7

static char last_message[256];

int dev_fail(struct vma_error *err, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return error;
}

__attribute__((format(printf, 5, 6)))
static void keep_message(int level, const char *file, int line, int class, const char *fmt, ...)
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

void dev_quiet_libdevmapper(void)
{
	dm_log_with_errno_init(keep_message);
	last_message[0] = '\0';
}

const char *dev_libdevmapper_message(void)
{
	return last_message;
}
