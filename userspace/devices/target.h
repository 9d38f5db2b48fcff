/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target: device-mapper devices whose whole table is one vmabackup target.
 *
 * Owns finding them through libdevmapper and the meaning of the target's table
 * and status lines.
 */
#ifndef DEVICES_TARGET_H
#define DEVICES_TARGET_H

#include <sys/types.h>

#include "libvma/vma.h"

enum target_state { TARGET_IDLE, TARGET_MEMBER, TARGET_ARMED, TARGET_BROKEN };

/*
 * The INFO status line; the counters are those of the last session. What a module
 * of the first release does not tell is 0, its policy "-".
 */
struct target_info {
	enum target_state state;
	uint32_t chunk_sectors;
	uint64_t chunks_left;
	uint64_t chunks_total;
	uint64_t chunks_guest;
	uint64_t chunks_fetched;
	uint64_t chunks_forgotten;
	uint64_t held_now;
	uint64_t held_ever;
	uint64_t wait_longest_us;
	uint64_t wait_total_us;
	uint64_t copying;		/* chunks, at the moment */
	char policy[16];		/* "ring", "fleece", "auto"; "-": none so far */
	uint64_t chunks_spilled;	/* of chunks_guest, to the fleece device */
	uint64_t chunks_refetched;	/* back from there */
	uint64_t fleece_used_sectors;
	int fleece_error;		/* errno, positive, or 0 */
	uint64_t writes_failed;
	uint64_t discards_dropped;
	char reason[16];		/* "none", "timeout", ... */
	int error;			/* errno that goes with it, positive, or 0 */
	bool has_sector;
	uint64_t sector;
};

/* The TABLE line; what was not given is 0. */
struct target_table {
	dev_t origin;
	bool has_fleece;
	dev_t fleece;
	uint32_t chunk_sectors;
	uint32_t cbw_timeout_ms;
	char on_cbw_error[24];		/* "": not given */
};

struct target {
	dev_t dev;
	char name[128];			/* device-mapper name */
	char uuid[129];
	uint64_t size;			/* bytes */
	bool suspended;
	bool inactive_table;		/* one is loaded and waits for a resume */
	struct target_table table;
	struct target_info info;
};

int target_parse_info(const char *line, struct target_info *info, struct vma_error *err);
int target_parse_table(const char *line, struct target_table *table, struct vma_error *err);
const char *target_state_word(enum target_state state);

/*
 * Looks a device up by number. -ENODEV: it is not a device-mapper device with
 * vmabackup as its whole live table; err says which of that.
 */
int target_find(dev_t dev, struct target *t, struct vma_error *err);

/*
 * How often any device-mapper device is open, the caller's own file descriptors and
 * devices made of it included. -ENODEV: it is no device-mapper device.
 */
int target_open_count(dev_t dev, unsigned int *count, struct vma_error *err);

/* Calls fn for every such device, until it returns nonzero, which is returned. */
int target_for_each(int (*fn)(void *ctx, const struct target *t), void *ctx,
		    struct vma_error *err);

#endif /* DEVICES_TARGET_H */
