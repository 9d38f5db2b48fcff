/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl-abuse: thin wrappers of the protocol, device-mapper's suspend and resume, TAP,
 * and the list of tests.  All vb_*() return 0 or a negative errno.
 */
#ifndef ABUSE_H
#define ABUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/dm-vmabackup.h>

#define MAX_BED_DISKS	VMABACKUP_MAX_DISKS
#define MAX_TEST_DISKS	2
#define BED_MAX_SIZE	(512ull << 20)	/* every test fetches all of it */
#define TEST_SECONDS	240	/* an emulated machine is slow; longer than this is a hang */

struct bed_disk {
	const char *path;
	int fd;			/* O_RDWR | O_DIRECT */
	dev_t dev;
	uint64_t size;
	uint32_t chunk;
	uint64_t nr_chunks;
};

/* What the tests were given; set once by main(). */
struct bed {
	struct bed_disk disk[MAX_BED_DISKS];
	unsigned int nr;
	const char *linear;	/* a dm-linear device, or NULL */
	const char *plain;	/* a block device that is not device-mapper's, or NULL */
	struct vmabackup_setup_slots setup;	/* policy and the like, for all sessions */
};

/* abuse-lib.c */
int vb_open(int flags);
int vb_info(int fd, struct vmabackup_info *info);
int vb_add(int fd, int disk_fd, struct vmabackup_add_disk *out);
int vb_setup(int fd, uint32_t nr, uint32_t slot_size, uint32_t reserve, uint64_t *length);
int vb_setup_as(int fd, const struct vmabackup_setup_slots *setup, uint64_t *length);
int vb_arm(int fd, uint32_t *bad_disk);
int vb_fetch(int fd, uint32_t disk, uint64_t first, uint64_t count);
int vb_forget(int fd, uint32_t disk, uint64_t first, uint64_t count, uint64_t *forgotten);
int vb_reap(int fd, const uint32_t *releases, uint32_t nr_releases,
	    struct vmabackup_completion *completions, uint32_t max, uint32_t flags,
	    uint32_t *nr_completions, uint32_t *nr_released);
int vb_status(int fd, struct vmabackup_status *st);

int bed_suspend(const struct bed_disk *d, bool suspend);
void bed_resume_all(void);
void bed_open(struct bed *bed, char **paths, unsigned int nr);
/* Suspend all disks, arm, resume. */
int bed_arm(const struct bed *bed, int fd);
/* A session on all disks, with slots; armed if asked for.  Bails out if it fails. */
int bed_session(const struct bed *bed, uint32_t nr_slots, uint32_t reserve, bool armed,
		uint64_t *length);
uint32_t bed_slot_size(const struct bed *bed);
/* By the names that vmactl has for them; false: there is none such. */
bool parse_policy(const char *name, uint32_t *policy);
bool parse_on_cbw_error(const char *name, uint32_t *on_cbw_error);
/* The disks' test pattern of some generation. */
void pattern_fill(void *buf, size_t len, uint32_t disk, uint64_t offset, uint32_t generation);
void pattern_write(const struct bed *bed, uint32_t generation);
uint64_t now_us(void);
uint64_t now_ns(void);
void __attribute__((noreturn, format(printf, 1, 2))) bail(const char *fmt, ...);

bool __attribute__((format(printf, 2, 3))) ok(bool good, const char *fmt, ...);
bool __attribute__((format(printf, 3, 4))) is(int got, int want, const char *fmt, ...);
void __attribute__((format(printf, 2, 3))) skip(const char *why, const char *fmt, ...);
void __attribute__((format(printf, 1, 2))) diag(const char *fmt, ...);
int tap_end(void);

/* the tests */
void test_protocol(const struct bed *bed);	/* abuse-protocol.c */
void test_memory(const struct bed *bed);	/* abuse-memory.c */
void test_delivery(const struct bed *bed);	/* abuse-delivery.c */
void test_life(const struct bed *bed);		/* abuse-life.c */

/* the other subcommands, abuse-serve.c */
int hold_main(int argc, char **argv);
int drain_main(int argc, char **argv);

#endif
