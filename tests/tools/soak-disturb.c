// SPDX-License-Identifier: GPL-2.0-or-later
/* soak: the actors that suspend, reload, resize, and make devices below fail or hang. */
#include "soak.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Milliseconds between two disturbances, at most. */
#define DISTURB_PAUSE	600
#define FLEECE_PAUSE	5000
/* How long one lasts, at most. */
#define SUSPENDED_MS	150
#define HANG_MS		600
#define FLEECE_MS	1200
/* Suspends that respect what the view's actor is doing. Others go in between. */
#define POLITE_PERCENT	75

/* Of 100 disturbances; what is left are origins that hang. */
enum { SUSPEND = 78, RELOAD = 84, RESIZE = 90, TOO_SMALL = 92, FOREIGN = 94 };

void disk_name(char *name, const char *kind, unsigned int disk)
{
	snprintf(name, 24, "soak%s%s%u", *kind ? "-" : "", kind, disk);
}

/* Everything after the length of a vmabackup table line; plain: nothing unusual. */
void our_params(char *params, size_t len, unsigned int disk, bool plain)
{
	static const unsigned int chunks[] = { 128, 256, 512 };
	char features[160] = "";
	unsigned int n = 0;

	if (plain || percent(90)) {
		n += 2;
		snprintf(features, sizeof(features), " fleece /dev/mapper/soak-fleece%u", disk);
	}
	if (!plain && percent(50)) {
		n += 2;
		snprintf(features + strlen(features), sizeof(features) - strlen(features),
			 " chunk_size %u", chunks[below(3)]);
	}
	if (!plain && percent(40)) {
		n += 2;
		snprintf(features + strlen(features), sizeof(features) - strlen(features),
			 " cbw_timeout %u", 500 + (unsigned int)below(8000));
	}
	if (!plain && percent(40)) {
		n += 2;
		snprintf(features + strlen(features), sizeof(features) - strlen(features),
			 " on_cbw_error break-%s", percent(60) ? "guest-write" : "snapshot");
	}
	if (n)
		snprintf(params, len, "/dev/mapper/soak-base%u %u%s", disk, n, features);
	else
		snprintf(params, len, "/dev/mapper/soak-base%u", disk);
}

static void want(int r, const char *what, const char *name)
{
	if (r)
		problem("%s of %s failed: %s", what, name, strerror(-r));
}

/* The table that was loaded becomes the live one, in one call or in three. */
static void swap(const char *name)
{
	bool noflush = percent(40);

	if (percent(40)) {
		want(dm_suspend(name, noflush), "suspend", name);
		sleep_ms(below(SUSPENDED_MS));
	}
	want(dm_resume(name, noflush), "resume", name);
}

static void suspend_resume(const char *name)
{
	bool noflush = percent(50);
	int r = dm_suspend(name, noflush);

	/* Somebody else had it suspended, and resumed it at that moment. */
	if (r && r != -EINVAL)
		want(r, "suspend", name);
	sleep_ms(percent(30) ? 0 : below(SUSPENDED_MS));
	want(dm_resume(name, noflush), "resume", name);
	count(noflush ? N_NOFLUSH : N_SUSPENDS, 1);
}

static void load_ours(unsigned int disk, const char *name, uint64_t sectors)
{
	char params[256];

	our_params(params, sizeof(params), disk, false);
	want(dm_load(name, sectors, "vmabackup", params), "loading our table", name);
}

static void load_base(unsigned int disk, uint64_t sectors)
{
	char base[24], params[160];

	disk_name(base, "base", disk);
	snprintf(params, sizeof(params), "%s 0", config.origin[disk]);
	want(dm_load(base, sectors, "linear", params), "loading", base);
	want(dm_resume(base, percent(50)), "resume", base);
}

static uint64_t random_size(unsigned int disk)
{
	uint64_t more = config.max_sectors[disk] - GUEST_SECTORS;

	/* Any sector, or a multiple of all chunk sizes. */
	return GUEST_SECTORS + (percent(50) ? below(more + 1) : below(more / 512 + 1) * 512);
}

static void resize(unsigned int disk, const char *name)
{
	uint64_t old = shared->sectors[disk], new = random_size(disk);

	if (new > old)
		load_base(disk, new);
	load_ours(disk, name, new);
	shared->sectors[disk] = new;
	swap(name);
	if (new < old)
		load_base(disk, new);
	count(N_RESIZES, 1);
}

/* What a host does that shrinks a volume without telling us; the guest's part is kept. */
static void make_too_small(unsigned int disk, const char *name)
{
	uint64_t old = shared->sectors[disk];
	int r;

	if (old < GUEST_SECTORS + SECTORS_MIB)
		return;
	load_base(disk, GUEST_SECTORS + below(old - GUEST_SECTORS));
	dm_suspend(name, percent(50));
	sleep_ms(below(SUSPENDED_MS));
	/* Whether that succeeds or not, a larger origin mends it. */
	r = dm_resume(name, false);
	if (r)
		sleep_ms(below(SUSPENDED_MS));
	load_base(disk, old);
	want(dm_resume(name, false), "resume on the mended origin", name);
	count(N_TOO_SMALL, 1);
}

static void foreign(unsigned int disk, const char *name)
{
	uint64_t sectors = shared->sectors[disk];
	char params[160];

	snprintf(params, sizeof(params), "/dev/mapper/soak-base%u 0", disk);
	want(dm_load(name, sectors, "linear", params), "loading dm-linear", name);
	swap(name);
	sleep_ms(below(SUSPENDED_MS));
	load_ours(disk, name, sectors);
	swap(name);
	count(N_FOREIGN, 1);
}

static void hang_origin(unsigned int disk)
{
	char base[24];

	disk_name(base, "base", disk);
	want(dm_suspend(base, percent(50)), "suspend", base);
	sleep_ms(below(HANG_MS));
	want(dm_resume(base, false), "resume", base);
	count(N_ORIGIN_HANGS, 1);
}

void act_disturb(int actor)
{
	while (!shared->stop) {
		unsigned int disk = (unsigned int)below(NR_DISKS), what = (unsigned int)below(100);
		bool polite = percent(POLITE_PERCENT) || what >= SUSPEND;
		char name[24];

		if (shared->calm[disk] && what >= SUSPEND && what < FOREIGN)
			what = 0;

		disk_name(name, "", disk);
		if (polite)
			pthread_mutex_lock(&shared->disk_lock[disk]);
		doing(actor, "%s: %s", name, what < SUSPEND ? "suspend" : what < RELOAD ? "reload" :
		      what < RESIZE ? "resize" : what < TOO_SMALL ? "too small" :
		      what < FOREIGN ? "foreign" : "hanging origin");
		if (what < SUSPEND) {
			suspend_resume(name);
		} else if (what < RELOAD) {
			load_ours(disk, name, shared->sectors[disk]);
			sleep_ms(below(20));
			swap(name);
			count(N_RELOADS, 1);
		} else if (what < RESIZE) {
			resize(disk, name);
		} else if (what < TOO_SMALL) {
			make_too_small(disk, name);
		} else if (what < FOREIGN) {
			foreign(disk, name);
		} else {
			hang_origin(disk);
		}
		idle(actor);
		if (polite)
			pthread_mutex_unlock(&shared->disk_lock[disk]);
		sleep_ms(below(DISTURB_PAUSE));
	}
}

/* --- the fleece devices --- */

static void load_fleece(const char *name, unsigned int disk, const char *target,
			const char *params)
{
	want(dm_load(name, config.fleece_sectors[disk], target, params), "loading", name);
	want(dm_resume(name, true), "resume", name);
}

static void trouble(unsigned int disk, const char *name, unsigned int what)
{
	char params[160];

	switch (what) {
	case 0:
		load_fleece(name, disk, "error", "");
		count(N_FLEECE_ERRORS, 1);
		break;
	case 1:
		snprintf(params, sizeof(params), "%s 0 0 1000000 1 error_writes",
			 config.fleece[disk]);
		load_fleece(name, disk, "flakey", params);
		count(N_FLEECE_WRITE_ERRORS, 1);
		break;
	case 2:
		snprintf(params, sizeof(params), "%s 0 %u", config.fleece[disk],
			 10 + (unsigned int)below(200));
		load_fleece(name, disk, "delay", params);
		count(N_FLEECE_SLOW, 1);
		break;
	default:
		want(dm_suspend(name, percent(50)), "suspend", name);
		sleep_ms(below(FLEECE_MS));
		want(dm_resume(name, false), "resume", name);
		count(N_FLEECE_HANGS, 1);
		return;
	}
	sleep_ms(below(FLEECE_MS));
	snprintf(params, sizeof(params), "%s 0", config.fleece[disk]);
	load_fleece(name, disk, "linear", params);
}

void act_fleece(int actor)
{
	while (!shared->stop) {
		unsigned int disk = (unsigned int)below(NR_DISKS), what = (unsigned int)below(4);
		uint64_t pause = below(FLEECE_PAUSE);
		char name[24];

		/* Errors, both kinds. */
		if (shared->calm[disk] && what < 2)
			what += 2;
		disk_name(name, "fleece", disk);
		doing(actor, "%s: trouble %u", name, what);
		trouble(disk, name, what);
		idle(actor);
		for (uint64_t ms = 0; ms < pause && !shared->stop; ms += 50)
			sleep_ms(50);
	}
}
