// SPDX-License-Identifier: GPL-2.0-or-later
/* soak: device-mapper, one call each. */
#include "soak.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 5, 6)))
static void no_log(int level, const char *file, int line, int class, const char *fmt, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)class;
	(void)fmt;
}

/* Errors are expected here, and handed back. */
void dm_quiet(void)
{
	dm_log_with_errno_init(no_log);
}

static struct dm_task *task(int type, const char *name)
{
	struct dm_task *t = dm_task_create(type);

	if (!t || !dm_task_set_name(t, name))
		die("libdevmapper: out of memory");
	return t;
}

static int run(struct dm_task *t)
{
	int r = 0;

	if (!dm_task_run(t)) {
		r = -dm_task_get_errno(t);
		if (!r)
			r = -EIO;
	}
	dm_task_destroy(t);
	dm_task_update_nodes();
	return r;
}

int dm_make(const char *name, uint64_t sectors, const char *target, const char *params, bool ro)
{
	struct dm_task *t = task(DM_DEVICE_CREATE, name);

	dm_task_add_target(t, 0, sectors, target, params);
	if (ro)
		dm_task_set_ro(t);
	return run(t);
}

int dm_load(const char *name, uint64_t sectors, const char *target, const char *params)
{
	struct dm_task *t = task(DM_DEVICE_RELOAD, name);

	dm_task_add_target(t, 0, sectors, target, params);
	return run(t);
}

int dm_suspend(const char *name, bool noflush)
{
	struct dm_task *t = task(DM_DEVICE_SUSPEND, name);

	dm_task_skip_lockfs(t);
	if (noflush)
		dm_task_no_flush(t);
	return run(t);
}

static int try_resume(const char *name, bool noflush)
{
	struct dm_task *t = task(DM_DEVICE_RESUME, name);

	dm_task_skip_lockfs(t);
	if (noflush)
		dm_task_no_flush(t);
	return run(t);
}

int dm_resume(const char *name, bool noflush)
{
	int r = try_resume(name, noflush);

	/*
	 * The kernel says so, too, when somebody else resumes it between its look at the
	 * device and its resume.  A table that was loaded is lost then.
	 */
	return r == -EINVAL ? try_resume(name, noflush) : r;
}

int dm_remove(const char *name)
{
	struct dm_task *t = task(DM_DEVICE_REMOVE, name);

	dm_task_retry_remove(t);
	return run(t);
}

bool dm_is_suspended(const char *name)
{
	struct dm_task *t = task(DM_DEVICE_INFO, name);
	struct dm_info info = { 0 };
	bool r = dm_task_run(t) && dm_task_get_info(t, &info) && info.suspended;

	dm_task_destroy(t);
	return r;
}

int dm_message(const char *name, const char *message)
{
	struct dm_task *t = task(DM_DEVICE_TARGET_MSG, name);

	dm_task_set_sector(t, 0);
	dm_task_set_message(t, message);
	return run(t);
}

int dm_status(const char *name, char *line, size_t len)
{
	struct dm_task *t = task(DM_DEVICE_STATUS, name);
	char *target = NULL, *params = NULL;
	uint64_t start_sector, length;
	int r = 0;

	if (dm_task_run(t)) {
		dm_get_next_target(t, NULL, &start_sector, &length, &target, &params);
		snprintf(line, len, "%s %s", target ? target : "-", params ? params : "");
	} else {
		r = -dm_task_get_errno(t);
		snprintf(line, len, "no status");
	}
	dm_task_destroy(t);
	return r;
}

uint64_t status_number(const char *line, const char *key)
{
	char pattern[32];
	const char *at;

	snprintf(pattern, sizeof(pattern), " %s ", key);
	at = strstr(line, pattern);
	return at ? strtoull(at + strlen(pattern), NULL, 10) : UINT64_MAX;
}
