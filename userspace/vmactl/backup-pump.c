// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pump: asks for chunks, takes them from the session, cuts them into
 * clusters, writes extents, gives slots back.
 *
 * A slot is held from its delivery until the extents with all of its clusters
 * were written, because libvma and the encoder read the data in place. An
 * extent that is not full is kept for more clusters as long as the slots it
 * pins are few; see hold_limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"
#include "vmactl/backup.h"

/* How long to sleep at most: progress lines and a stop are looked at that often. */
#define LOOK_AGAIN_MS		250

/* The queue of ranges is full: they are consumed in silence, so it is tried again this soon. */
#define QUEUE_FULL_MS		10

/* With a limit, a range is at most this large, so that the queue follows the bucket. */
#define LIMITED_RANGE_CHUNKS	256

/*
 * Slots that an extent which is not full may pin while there is nothing to
 * do: one in HOLD_DIVISOR of those that FETCH may use. The rest are enough for
 * the kernel to go on; 0 (with few slots) means to write before every sleep.
 */
#define HOLD_DIVISOR		4

struct pump {
	struct backup *b;
	uint32_t *releases;		/* slots to give back, nr_releases of them */
	unsigned int nr_releases;
	uint8_t *clusters_left;		/* per slot: clusters that were not written yet */
	unsigned int held;		/* slots with clusters_left != 0 */
	unsigned int hold_limit;
	uint32_t extent_slots[VMA_EXTENT_FILL];	/* slot of each pending cluster */
	unsigned int nr_extent;
};

static int pump_init(struct pump *p, struct backup *b, struct vma_error *err)
{
	memset(p, 0, sizeof(*p));
	p->b = b;
	p->hold_limit = (b->nr_slots - b->reserve) / HOLD_DIVISOR;
	p->releases = calloc(b->nr_slots, sizeof(*p->releases));
	p->clusters_left = calloc(b->nr_slots, sizeof(*p->clusters_left));
	if (!p->releases || !p->clusters_left)
		return vma_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static void pump_destroy(struct pump *p)
{
	free(p->releases);
	free(p->clusters_left);
}

/*
 * Before something that may last: guests, and a suspend, wait for no more slots than are being
 * written.
 */
static int give_back(struct pump *p, struct vma_error *err)
{
	unsigned int released;
	int r = 0;

	while (p->nr_releases && r >= 0) {
		released = p->nr_releases < VMABACKUP_MAX_BATCH ? p->nr_releases :
								  VMABACKUP_MAX_BATCH;
		r = session_reap(p->b->session, p->releases + p->nr_releases - released,
				 &released, NULL, 0, err);
		p->nr_releases -= released;
	}
	return r < 0 ? r : 0;
}

static int flush_extent(struct pump *p, struct vma_error *err)
{
	struct iovec *iov;
	uint32_t slot;
	unsigned int i;
	int iovcnt, r;
	ssize_t n;

	n = vma_writer_take(p->b->writer, &iov, &iovcnt);
	if (n > 0) {
		index_out_extent(p->b->index, iov, iovcnt);
		r = encoder_write(p->b->encoder, iov, iovcnt, err);
		if (r)
			return r;
	}
	for (i = 0; i < p->nr_extent; i++) {
		slot = p->extent_slots[i];
		if (--p->clusters_left[slot])
			continue;
		p->releases[p->nr_releases++] = slot;
		p->held--;
	}
	p->nr_extent = 0;
	return 0;
}

/* While there is more to come. */
static int next_extent(struct pump *p, struct vma_error *err)
{
	int r = give_back(p, err);

	return r ? r : flush_extent(p, err);
}

static void account(struct backup *b, struct backup_disk *d, const struct vmabackup_completion *c)
{
	if (c->flags & VMABACKUP_COMPLETION_GUEST_WRITE) {
		d->chunks_guest++;
		/* What was asked for has paid already. */
		if (c->chunk >= d->next)
			backup_rate_charge(&b->rate, c->length);
	}
	if (d->delivered)
		d->delivered[c->chunk / 64] |= 1ull << (c->chunk % 64);
	b->result.done += c->length;
}

static int add_chunk(struct pump *p, const struct vmabackup_completion *c, struct vma_error *err)
{
	struct backup *b = p->b;
	struct backup_disk *d = &b->disks[c->disk];
	const uint8_t *data = session_slot(b->session, c->slot);
	uint64_t offset = c->chunk * d->geometry.chunk_size;
	uint64_t cluster = offset / VMA_CLUSTER_SIZE;
	unsigned int n = (c->length + VMA_CLUSTER_SIZE - 1) / VMA_CLUSTER_SIZE, i;
	uint64_t expected = d->geometry.size - offset;
	int r;

	if (expected > d->geometry.chunk_size)
		expected = d->geometry.chunk_size;
	if (c->length != expected || p->clusters_left[c->slot])
		return vma_fail(err, -EPROTO, "disk %s: the kernel delivered chunk %llu wrongly",
				d->name, (unsigned long long)c->chunk);
	account(b, d, c);
	p->clusters_left[c->slot] = (uint8_t)n;
	p->held++;
	for (i = 0; i < n; i++) {
		r = vma_writer_add(b->writer, d->dev_id, cluster + i,
				   data + (size_t)i * VMA_CLUSTER_SIZE, err);
		if (r < 0)
			return r;
		p->extent_slots[p->nr_extent++] = c->slot;
		if (r == 1 || p->nr_extent == VMA_EXTENT_FILL) {
			r = next_extent(p, err);
			if (r)
				return r;
		}
	}
	return 0;
}

static bool was_delivered(const struct backup_disk *d, uint64_t chunk)
{
	return d->delivered && d->delivered[chunk / 64] >> (chunk % 64) & 1;
}

/* The next run of chunks that nobody has delivered, at most max long; 0: none left. */
static uint64_t next_run(struct backup_disk *d, uint64_t max)
{
	uint64_t n = 0;

	if (!d->delivered)
		return d->geometry.nr_chunks - d->next;
	while (d->next < d->geometry.nr_chunks && was_delivered(d, d->next))
		d->next++;
	while (n < max && d->next + n < d->geometry.nr_chunks && !was_delivered(d, d->next + n))
		n++;
	return n;
}

/*
 * Asks for what may be asked for now: without a limit everything, disk after
 * disk. *wait_ms is shortened to when there will be more to ask for.
 */
static int ask(struct backup *b, int *wait_ms, struct vma_error *err)
{
	struct backup_disk *d;
	uint64_t n, max;
	uint32_t chunk;
	unsigned int i;
	int64_t allowed;
	int r;

	for (i = 0; i < b->nr_disks; i++) {
		d = &b->disks[i];
		chunk = d->geometry.chunk_size;
		while (d->next < d->geometry.nr_chunks) {
			allowed = backup_rate_allowed(&b->rate, backup_now_ns());
			if (allowed < chunk) {
				r = backup_rate_wait_ms(&b->rate, chunk);
				if (r < *wait_ms)
					*wait_ms = r;
				return 0;
			}
			max = (uint64_t)allowed / chunk;
			n = next_run(d, max < LIMITED_RANGE_CHUNKS ? max : LIMITED_RANGE_CHUNKS);
			if (!n)
				break;
			r = session_fetch(b->session, d->geometry.number, d->next, n, err);
			if (r == -ENOBUFS) {
				*wait_ms = QUEUE_FULL_MS;
				return 0;
			}
			if (r)
				return r;
			d->next += n;
			backup_rate_charge(&b->rate, n * chunk);
		}
	}
	return 0;
}

/* One round; 1: go on, 0: all was delivered. */
static int pump_once(struct pump *p, struct vma_error *err)
{
	struct vmabackup_completion completions[VMABACKUP_MAX_BATCH];
	struct backup *b = p->b;
	unsigned int released;
	int i, n, r, wait_ms = LOOK_AGAIN_MS;

	r = ask(b, &wait_ms, err);
	if (r)
		return r;
	released = p->nr_releases < VMABACKUP_MAX_BATCH ? p->nr_releases : VMABACKUP_MAX_BATCH;
	n = session_reap(b->session, p->releases + p->nr_releases - released, &released,
			 completions, VMABACKUP_MAX_BATCH, err);
	p->nr_releases -= released;
	if (n == -EINTR)
		return 1;
	if (n == -EAGAIN) {
		if (p->nr_releases)
			return 1;
		if (p->held > p->hold_limit) {
			r = next_extent(p, err);
			return r ? r : 1;
		}
		session_wait(b->session, wait_ms);
		return 1;
	}
	if (n <= 0)
		return n;
	for (i = 0; i < n && !backup_stop; i++) {
		r = add_chunk(p, &completions[i], err);
		if (r)
			return r;
	}
	return 1;
}

static int alloc_delivered(struct backup *b, struct vma_error *err)
{
	unsigned int i;

	for (i = 0; b->opt.bwlimit && i < b->nr_disks; i++) {
		b->disks[i].delivered =
			calloc((b->disks[i].geometry.nr_chunks + 63) / 64, sizeof(uint64_t));
		if (!b->disks[i].delivered)
			return vma_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int backup_pump(struct backup *b, struct vma_error *err)
{
	struct vma_writer_stats stats;
	struct pump p;
	int r;

	backup_rate_init(&b->rate, b->opt.bwlimit, session_slot_size(b->session));
	r = alloc_delivered(b, err);
	if (!r)
		r = pump_init(&p, b, err);
	else
		memset(&p, 0, sizeof(p));
	while (!r) {
		if (backup_stop) {
			r = vma_fail(err, -EINTR, "stopped by a signal");
			break;
		}
		r = pump_once(&p, err);
		if (r <= 0)
			break;
		r = 0;
		vma_writer_stats(b->writer, &stats);
		progress_update(&b->progress, b->result.done, stats.data_bytes);
	}
	if (!r)
		r = flush_extent(&p, err);
	pump_destroy(&p);
	vma_writer_stats(b->writer, &b->result.writer);
	progress_end(&b->progress, b->result.done, b->result.writer.data_bytes);
	return r ? r : vma_writer_finish(b->writer, err);
}
