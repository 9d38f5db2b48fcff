// SPDX-License-Identifier: GPL-2.0
/*
 * Two things decide.  As long as reads take little longer than one alone would, more of
 * them cost nobody anything: the device does them at the same time, or is so fast that
 * the wait does not matter.  And when others keep a device busy, FETCH may have as
 * many reads in its queue, so that each gets half, however deep the others' queue is.
 * At the origin they are the guest's I/Os, and what those pushed counts as the
 * backup's half.  At the fleece device they are all else that this disk has there:
 * writes of what guests pushed, discards, reads of views.
 *
 * What one takes alone is the least that was seen of late.  A device that is never idle
 * shows only its queue, so that now and then FETCH waits until it has no read there, and
 * then has one go alone.
 */
#include "fetch-depth.h"

#include <linux/blkdev.h>
#include <linux/part_stat.h>

/*
 * How much at most: 4 MiB keep a fast disk busy.  At least: what a disk with heads reads in
 * a fraction of the time it takes to get there, and two, so that no disk is idle between
 * them.  But never fewer than some chunks at most, if they are large.
 */
#define MOST_BYTES	(4u << 20)
#define MOST_LEAST	4u
#define LEAST_BYTES	(256u << 10)
#define LEAST_LEAST	2u

/*
 * Waiting that nobody minds, on top of as much again as a read takes: a fast disk gets
 * enough to merge into large reads, and no guest notices a millisecond.
 */
#define SLACK_NS	NSEC_PER_MSEC

/* How long the least latency is good for; then it is measured again. */
#define LEAST_NS	(10 * NSEC_PER_SEC)

/* Summing up the counters of all CPUs costs something: not more often than this. */
#define LOOK_NS		NSEC_PER_MSEC

static u32 most(const struct vmab_member *member)
{
	return max(MOST_BYTES >> (member->chunk_shift + SECTOR_SHIFT), MOST_LEAST);
}

static u32 least(const struct vmab_member *member)
{
	return max(LEAST_BYTES >> (member->chunk_shift + SECTOR_SHIFT), LEAST_LEAST);
}

void vmab_depth_init(struct vmab_member *member)
{
	struct vmab_depth *depth;

	for (depth = member->depth; depth < member->depth + VMAB_SOURCES; depth++) {
		depth->measuring = 1;
		depth->least_ns = U64_MAX;
		depth->least_since = ktime_get_ns();
		depth->least_before_ns = U64_MAX;
	}
}

/* At least 1. */
static u32 chunks(const struct vmab_member *member, const struct vmab_depth *depth)
{
	if (depth->measuring)
		return 1;
	return clamp(max(depth->limit, depth->others), least(member), most(member));
}

bool vmab_depth_may(const struct vmab_member *member, enum vmab_source source)
{
	const struct vmab_depth *depth = &member->depth[source];

	return depth->reading < chunks(member, depth);
}

bool vmab_depth_low(const struct vmab_member *member, enum vmab_source source)
{
	const struct vmab_depth *depth = &member->depth[source];

	return depth->reading <= chunks(member, depth) / 2;
}

/*
 * The guest's I/O, less the reads that it pushed.  Bios that are held do not count: they are
 * accounted from when they are submitted to the origin (accounts_remapped_io).
 */
static long at_origin(const struct vmab_member *member)
{
	struct block_device *part = member->disk->gd->part0;
	long n = -(long)member->nr_guest_reads;
	int cpu;

	for_each_possible_cpu(cpu)
		n += part_stat_local_read_cpu(part, in_flight[0], cpu) +
		     part_stat_local_read_cpu(part, in_flight[1], cpu);
	return n;
}

static long at_fleece(const struct vmab_member *member)
{
	return atomic_read(&member->disk->fleece_ios) -
	       (long)member->depth[VMAB_FROM_FLEECE].reading;
}

void vmab_depth_look(struct vmab_member *member)
{
	long bound = most(member);
	u64 now = ktime_get_ns();

	lockdep_assert_held(&member->session->lock);

	if (now - member->looked_at < LOOK_NS)
		return;
	member->looked_at = now;
	/* Counters of CPUs are not read at one time, so that the sum may be anything. */
	member->depth[VMAB_FROM_ORIGIN].others = clamp(at_origin(member), 0L, bound);
	member->depth[VMAB_FROM_FLEECE].others = clamp(at_fleece(member), 0L, bound);
}

void vmab_depth_began(struct vmab_member *member, enum vmab_source source)
{
	struct vmab_depth *depth = &member->depth[source];

	lockdep_assert_held(&member->session->lock);

	depth->reading++;
	if (depth->reading >= max(depth->limit, least(member)))
		depth->full = true;
}

static void end_round(const struct vmab_member *member, struct vmab_depth *depth)
{
	u64 now = ktime_get_ns();
	u64 alone = min(depth->least_ns, depth->least_before_ns);
	u64 mean = div_u64(depth->sum_ns, depth->ended);
	u32 limit = max(depth->limit, least(member));
	u32 step = limit / 4 + 1;

	if (mean > 2 * alone + SLACK_NS)
		depth->limit = limit - step;
	else if (depth->full)
		depth->limit = min(limit + step, most(member));
	depth->full = false;
	if (now - depth->least_since > LEAST_NS) {
		depth->least_before_ns = depth->least_ns;
		depth->least_ns = U64_MAX;
		depth->least_since = now;
		/* Those under way end, then one goes alone. */
		depth->measuring = 2;
	}
	depth->sum_ns = 0;
	depth->ended = 0;
}

void vmab_depth_ended(struct vmab_member *member, enum vmab_source source, u64 ns)
{
	struct vmab_depth *depth = &member->depth[source];

	lockdep_assert_held(&member->session->lock);

	depth->reading--;
	depth->least_ns = min(depth->least_ns, ns);
	if (depth->measuring) {
		if (!depth->reading)
			depth->measuring--;
		return;
	}
	depth->sum_ns += ns;
	depth->ended++;
	if (depth->ended >= max(depth->limit, least(member)))
		end_round(member, depth);
}
