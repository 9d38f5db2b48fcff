/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guestload: what its parts share.
 *
 * The disks are divided into stripes of 1 MiB, numbered through over all disks; stripe
 * number modulo the number of threads says which thread may write there.  No write
 * crosses a stripe, so what a sector must hold depends on one thread only, and a thread
 * has one write in flight.  Thus its writes have an order: number n was complete before
 * number n + 1 was issued, on whichever disk.  An image taken at one instant holds all
 * of a thread's writes up to some number and nothing of those after the next one.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "stamp.h"

#define STRIPE			(1u << 20)
#define STRIPE_SECTORS		(STRIPE / SECTOR)
#define CHUNK			65536u	/* whose borders writes like to cross */
#define MAX_DISKS		16
#define MAX_THREADS		64
#define HIST_SUB		16	/* linear parts of each power of two */
#define HIST_BUCKETS		(40 * HIST_SUB)	/* up to 2^42 us */
#define SEQ_FILL		1	/* sequence number of what --fill writes */

struct disk {
	const char *path;
	int fd;			/* -1: not at hand (check) */
	bool is_block;
	uint32_t block;		/* logical block size */
	uint64_t size;
	uint64_t first_sector;	/* its place in struct expect's arrays */
	uint64_t first_stripe;
	uint64_t stripes;
};

struct disks {
	struct disk disk[MAX_DISKS];
	unsigned int nr;
	uint64_t sectors;
	uint64_t stripes;
};

/* What a sector must hold: a kind in the two top bits, a sequence number below. */
#define EXPECT_KIND		(3ull << 62)
#define EXPECT_FOREIGN		(0ull << 62)	/* not ours, anything */
#define EXPECT_ZERO		(1ull << 62)
#define EXPECT_STAMP		(2ull << 62)
#define EXPECT_DISCARDED	(3ull << 62)	/* zero, or still the stamp with this number */

struct expect {
	uint64_t *done;		/* after the last write that completed */
	uint64_t *flight;	/* after the one in flight; 0 if there is none */
	void *map;
	size_t map_len;
};

enum op_kind { OP_WRITE, OP_ZERO, OP_DISCARD };

struct op {
	uint16_t thread;
	uint16_t disk;
	uint32_t kind;
	uint64_t seq;
	uint64_t offset;
	uint64_t length;
	uint64_t start_ns;	/* CLOCK_MONOTONIC, before it was issued */
	uint64_t end_ns;	/* after it completed */
};

struct options {
	uint64_t seed;
	unsigned int threads;
	uint64_t seconds;
	uint64_t writes;
	const char *stop_file;
	const char *ready_file;
	const char *state_file;
	const char *log_file;
	const char *hist_file;
	bool load;
	bool fill;
	bool verify;
	bool buffered;
	bool retry;
	unsigned int fill_percent;
	unsigned int discard_percent;
	unsigned int zero_percent;
	unsigned int fua_percent;
	unsigned int nowait_percent;
	unsigned int flush_percent;
	uint32_t block;
	uint32_t max_size;
	uint64_t use;		/* only so many bytes of each disk; 0: all */
	uint64_t pause_us;
	uint64_t max_latency_ms;
	uint64_t deadline;
};

/* Of one thread, in memory shared with the process that watches. */
struct thread_report {
	_Atomic uint64_t flight_since;	/* ns, 0: nothing in flight */
	_Atomic uint64_t flight_offset;
	_Atomic uint32_t flight_disk;
	_Atomic uint32_t flight_kind;
	uint64_t writes, discards, zeroes, flushes, fua, nowait, again, retried, bytes;
	uint64_t min_us, max_us, max_offset;
	uint32_t max_disk;
	uint32_t hist[HIST_BUCKETS];
};

struct report {
	_Atomic bool stop;
	_Atomic bool no_discard, no_nowait;
	_Atomic uint32_t errors;
	int first_errno;
	uint32_t first_disk;
	uint64_t first_offset;
	bool loaded, verified;
	uint64_t load_ns;
	uint64_t verified_sectors, mismatches;
	struct thread_report thread[MAX_THREADS];
};

uint64_t now_ns(void);
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...);
unsigned int hist_bucket(uint64_t us);
uint64_t hist_lower(unsigned int bucket);

/* load-disks.c: opening, layout */
void disks_open(struct disks *ds, char **paths, unsigned int nr, int flags, uint32_t block,
		uint64_t use);
/* Likewise, of images; "-" is one that is not at hand, whose size the log knows. */
void disks_open_images(struct disks *ds, char **paths, unsigned int nr, uint64_t use,
		       const char *log_path);
void disks_read(const struct disk *d, void *buf, uint64_t offset, size_t len);
const struct disk *disks_of_stripe(const struct disks *ds, uint64_t stripe);
static inline uint32_t stripe_length(const struct disk *d, uint64_t stripe)
{
	uint64_t left = d->size - (stripe - d->first_stripe) * STRIPE;

	return left < STRIPE ? (uint32_t)left : STRIPE;
}

/* load-expect.c: what the sectors must hold */
void expect_open(struct expect *e, const struct disks *ds, struct options *o);
uint64_t expect_max_seq(const struct expect *e, const struct disks *ds);
static inline uint64_t expect_after(uint64_t before, enum op_kind kind, uint64_t seq)
{
	if (kind == OP_WRITE)
		return EXPECT_STAMP | seq;
	if (kind == OP_ZERO)
		return EXPECT_ZERO;
	return (before & EXPECT_KIND) == EXPECT_STAMP ? before | EXPECT_DISCARDED : before;
}
void expect_verify(const struct expect *e, const struct disks *ds, const struct options *o,
		   struct report *r);

/* load-run.c: filling and writing */
void load_fill(const struct disks *ds, const struct options *o, struct expect *e,
	       struct report *r);
void load_run(const struct disks *ds, const struct options *o, struct expect *e,
	      struct report *r);

/* load-check.c: the subcommand check */
int check_main(int argc, char **argv);

/* load-log.c: the order and the times of all writes, for check --log */
struct log {
	uint64_t seed;
	unsigned int threads;
	uint64_t *initial;	/* struct expect's done when the load began */
	struct op *ops;		/* of thread 0, then 1, ...; each in order, without gaps */
	uint64_t nr_ops;
};
void log_write(const char *path, const struct disks *ds, const struct log *log);
void log_read(const char *path, const struct disks *ds, struct log *log);
uint64_t log_disk_size(const char *path, unsigned int disk);

#endif
