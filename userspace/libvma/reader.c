// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream of bytes into a header and clusters.
 *
 * Memory is one extent and one cluster, whatever the archive says, and the sets
 * of clusters that were really seen. The first failure stays: a reader that has
 * refused an archive has nothing more to say about it. A reader that tolerates damage tells
 * of it and goes on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/cluster-set.h"
#include "libvma/extent-in.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"

struct vma_reader {
	struct extent_in in;
	struct vma_header *header;
	struct vma_tolerance tolerance;
	bool tolerant;
	struct cluster_set *sets[256];		/* by dev_id: given out; NULL: not in use */
	struct cluster_set *likely[256];	/* of them those that are not proven */
	struct cluster_set *damaged[256];	/* not given out, and told so */
	struct cluster_set *open[256];		/* given out; a loss may yet say unproven */
	uint64_t proven;			/* what comes before this place in the stream is */
	bool any_open;

	unsigned int next;		/* blockinfo to hand out; VMA_EXTENT_CLUSTERS: none */
	size_t used;			/* bytes of data before it */
	uint8_t *cluster;		/* VMA_CLUSTER_SIZE bytes: clusters with holes */

	bool ended;
	int failed;
	struct vma_error failure;
};

static const uint8_t zero_cluster[VMA_CLUSTER_SIZE] __attribute__((aligned(VMA_BLOCK_SIZE)));

/* ---- opening ---------------------------------------------------------- */

static int read_header(struct vma_reader *r, struct vma_error *err)
{
	bool right = true;
	bool mended = false;
	uint32_t said = 0;
	int ret;

	ret = r->tolerant ? extent_in_mend_header(&r->in, &mended, &said, err) : 0;
	if (ret)
		return ret;
	ret = vma_header_read(&r->header, extent_in_read, &r->in, r->tolerant ? &right : NULL, err);
	/* Then the archive did not end, but what is lost is said to be so. */
	if (ret == -EBADMSG && r->in.lost) {
		struct vma_fault f = extent_in_loss(&r->in);
		char place[96];

		vma_fault_place(&f, place, sizeof(place));
		return vma_fail(err, -EBADMSG, "its header is lost: %s (%s)", f.what.text, place);
	}
	if (ret)
		return ret;
	r->in.header = r->header;
	r->in.header_wrong = !right;
	if (!right) {
		struct vma_fault f = { .end = r->header->header_size };

		vma_error_set(&f.what, "damaged header: wrong checksum; names, sizes and configuration files may be wrong");
		extent_in_fault(&r->in, &f);
	} else if (mended) {
		struct vma_fault f = { .end = r->header->header_size, .harmless = true };

		vma_error_set(&f.what, "damaged header: it says that it has %" PRIu32
			      " bytes, and has %" PRIu32, said, r->header->header_size);
		extent_in_fault(&r->in, &f);
	}
	return 0;
}

static int make_sets(struct vma_reader *r)
{
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		if (!r->header->devices[i].name)
			continue;
		r->sets[i] = cluster_set_new();
		if (!r->sets[i])
			return -ENOMEM;
		if (!r->tolerant)
			continue;
		r->likely[i] = cluster_set_new();
		r->damaged[i] = cluster_set_new();
		r->open[i] = cluster_set_new();
		if (!r->likely[i] || !r->damaged[i] || !r->open[i])
			return -ENOMEM;
	}
	return 0;
}

static int open_any(struct vma_reader **out, vma_read_fn read, void *ctx,
		    const struct vma_tolerance *t, struct vma_error *err)
{
	struct vma_reader *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return vma_fail(err, -ENOMEM, "out of memory");
	r->next = VMA_EXTENT_CLUSTERS;
	r->tolerant = t;
	if (t)
		r->tolerance = *t;
	/* Page aligned, for callers that write the data with O_DIRECT. */
	r->cluster = aligned_alloc(VMA_BLOCK_SIZE, VMA_CLUSTER_SIZE);
	ret = r->cluster ? 0 : vma_fail(err, -ENOMEM, "out of memory");
	if (!ret)
		ret = extent_in_init(&r->in, read, ctx, t ? &r->tolerance : NULL, err);
	if (!ret)
		ret = read_header(r, err);
	if (!ret && make_sets(r))
		ret = vma_fail(err, -ENOMEM, "out of memory");
	if (ret) {
		vma_reader_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

int vma_reader_open(struct vma_reader **r, vma_read_fn read, void *ctx, struct vma_error *err)
{
	return open_any(r, read, ctx, NULL, err);
}

int vma_reader_open_damaged(struct vma_reader **r, vma_read_fn read, void *ctx,
			    const struct vma_tolerance *t, struct vma_error *err)
{
	return open_any(r, read, ctx, t, err);
}

const struct vma_header *vma_reader_header(const struct vma_reader *r)
{
	return r->header;
}

void vma_reader_free(struct vma_reader *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < 256; i++) {
		cluster_set_free(r->sets[i]);
		cluster_set_free(r->likely[i]);
		cluster_set_free(r->damaged[i]);
		cluster_set_free(r->open[i]);
	}
	vma_header_free(r->header);
	extent_in_destroy(&r->in);
	free(r->cluster);
	free(r);
}

/* ---- faults ----------------------------------------------------------- */

/* Tells it, or makes it the failure. */
static int fault(struct vma_reader *r, const struct vma_fault *f, struct vma_error *err)
{
	char text[sizeof(err->text) - sizeof("damaged: ")];

	if (r->tolerant) {
		extent_in_fault(&r->in, f);
		return 0;
	}
	vma_fault_text(r->header, f, text, sizeof(text));
	return vma_fail(err, -EBADMSG, "damaged: %s", text);
}

/* What is wrong with what an extent says about a cluster, in the words of extent.h. */
static int wrong_info(struct vma_reader *r, int code, const struct vma_error *what,
		      struct vma_error *err)
{
	struct vma_fault f = {
		.begin = r->in.at,
		.end = r->in.at + VMA_EXTENT_HEADER,
		.what = *what,
	};

	if (!r->tolerant)
		return vma_fail(err, code, "%s", what->text);
	extent_in_fault(&r->in, &f);
	return 0;
}

/* Damaged clusters of the extent, neighbours in one. */
static int tell_damaged(struct vma_reader *r, struct vma_error *err)
{
	uint64_t at = r->in.at + VMA_EXTENT_HEADER;
	struct vma_fault f = { 0 };
	int ret = 0;

	if (!r->in.damaged) {
		vma_error_set(&f.what, "%s", r->in.why);
		f.begin = r->in.at;
		f.end = r->in.at + VMA_EXTENT_HEADER;
		f.harmless = true;
		return fault(r, &f, err);
	}
	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS && !ret; i++) {
		struct vma_blockinfo info = vma_extent_info(r->in.extent, i);
		const struct vma_device *dev = &r->header->devices[info.dev_id];
		uint64_t offset = (uint64_t)info.cluster * VMA_CLUSTER_SIZE;
		bool likely = r->in.likely >> i & 1;
		uint64_t begin = at;

		if (!info.dev_id)
			continue;
		at += (uint64_t)__builtin_popcount(info.mask) * VMA_BLOCK_SIZE;
		/* Others are told of when it is their turn. */
		if (!(r->in.damaged >> i & 1) || !dev->name || info.cluster >= dev->nr_clusters)
			continue;
		/* The first one told is the only one. */
		if (likely && !r->tolerant)
			continue;
		if (f.dev_id != info.dev_id || f.offset + f.length != offset ||
		    f.likely != likely || f.end != begin) {
			if (f.dev_id)
				ret = fault(r, &f, err);
			f.dev_id = info.dev_id;
			f.offset = offset;
			f.length = 0;
			f.begin = begin;
			f.likely = likely;
			vma_error_set(&f.what, "%s", likely ?
				      "not proven, for other data of its extent is damaged" :
				      r->in.why);
		}
		f.length += vma_cluster_length(dev, info.cluster);
		f.end = at;
	}
	/* What differs is of no disk that there is: even so nothing of the extent is given out. */
	if (!f.dev_id && !r->tolerant) {
		vma_error_set(&f.what, "%s", r->in.why);
		f.begin = r->in.at;
		f.end = at;
		return fault(r, &f, err);
	}
	return f.dev_id && !ret ? fault(r, &f, err) : ret;
}

/* ---- clusters --------------------------------------------------------- */

/*
 * Where the cluster's bytes are, as vma_cluster promises them. Blocks past the
 * device's end are stored behind all others, so clipping them skips them.
 */
static const uint8_t *cluster_data(struct vma_reader *r, const struct vma_cluster *c,
				   uint16_t stored, const uint8_t *from)
{
	if (!c->mask)
		return zero_cluster;
	if (stored == 0xffff && c->length == VMA_CLUSTER_SIZE)
		return from;
	for (unsigned int i = 0; i < VMA_BLOCKS_PER_CLUSTER; i++) {
		uint8_t *to = r->cluster + i * VMA_BLOCK_SIZE;

		if (!(c->mask & 1u << i)) {
			memset(to, 0, VMA_BLOCK_SIZE);
			continue;
		}
		memcpy(to, from, VMA_BLOCK_SIZE);
		from += VMA_BLOCK_SIZE;
	}
	memset(r->cluster + c->length, 0, VMA_CLUSTER_SIZE - c->length);
	return r->cluster;
}

/* One that is given out, and is not proven by itself. */
static int note_unproven(struct vma_reader *r, const struct vma_blockinfo *info, bool damaged)
{
	bool open = r->in.position > r->proven;

	if (damaged)
		return cluster_set_add(r->likely[info->dev_id], info->cluster);
	if (!r->tolerant || r->in.proven || !info->mask)
		return 0;
	if (r->in.unproven)
		return cluster_set_add(r->likely[info->dev_id], info->cluster);
	r->any_open = r->any_open || open;
	return open ? cluster_set_add(r->open[info->dev_id], info->cluster) : 0;
}

/* 1, or 0 if it is left out. */
static int take_cluster(struct vma_reader *r, unsigned int i, struct vma_cluster *c,
			struct vma_error *err)
{
	struct vma_blockinfo info = vma_extent_info(r->in.extent, i);
	const struct vma_device *dev = &r->header->devices[info.dev_id];
	const uint8_t *from = r->in.data + r->used;
	bool damaged = r->in.damaged >> i & 1;
	struct vma_error what;
	int ret;

	if (!info.dev_id)
		return 0;
	r->used += (size_t)__builtin_popcount(info.mask) * VMA_BLOCK_SIZE;
	ret = vma_extent_check_info(r->header, info, r->in.at, &what);
	if (ret)
		return wrong_info(r, ret, &what, err);
	if (damaged && !(r->tolerance.likely && r->in.likely >> i & 1)) {
		ret = cluster_set_add(r->damaged[info.dev_id], info.cluster);
		return ret == -ENOMEM ? vma_fail(err, ret, "out of memory") : 0;
	}
	ret = cluster_set_add(r->sets[info.dev_id], info.cluster);
	if (ret == -EEXIST) {
		ret = vma_extent_twice(r->header, info, r->in.at, &what);
		return wrong_info(r, ret, &what, err);
	}
	if (!ret)
		ret = note_unproven(r, &info, damaged);
	if (ret)
		return vma_fail(err, ret, "out of memory");
	c->dev_id = info.dev_id;
	c->cluster = info.cluster;
	c->offset = c->cluster * VMA_CLUSTER_SIZE;
	c->length = vma_cluster_length(dev, c->cluster);
	c->mask = info.mask & vma_mask_of(c->length);
	c->data = cluster_data(r, c, info.mask, from);
	return 1;
}

/* What is open: to the likely ones, or it is proven. */
static int close_open(struct vma_reader *r, bool likely, struct vma_error *err)
{
	int ret = 0;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && r->any_open && !ret; i++) {
		uint64_t nr = r->header->devices[i].nr_clusters, k = 0;

		if (!r->open[i])
			continue;
		while (likely && !ret && (k = cluster_set_next(r->open[i], k, nr, true)) < nr)
			ret = cluster_set_add(r->likely[i], k++);
		cluster_set_free(r->open[i]);
		r->open[i] = cluster_set_new();
		if (!r->open[i])
			ret = -ENOMEM;
	}
	r->any_open = false;
	return ret ? vma_fail(err, ret, "out of memory") : 0;
}

/* After each extent, and the end: what the stream's pieces say of what was given out. */
static int follow_stream(struct vma_reader *r, struct vma_error *err)
{
	uint64_t proven;
	int ret = 0;

	if (!r->tolerant)
		return 0;
	proven = extent_in_proven(&r->in);
	/*
	 * Bytes before a loss, or of a piece before this one: all that is open is. That is of one
	 * piece, which began at r->proven; if what is lost began behind it, it ended well.
	 */
	if (r->in.doubt || proven != r->proven)
		ret = close_open(r, r->in.doubt && r->in.doubt_from <= r->proven, err);
	r->in.doubt = false;
	r->proven = proven;
	return ret;
}

static int next_cluster(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err)
{
	int ret;

	for (;;) {
		while (r->next < VMA_EXTENT_CLUSTERS) {
			ret = take_cluster(r, r->next++, c, err);
			if (ret)
				return ret;
		}
		ret = extent_in_next(&r->in, err);
		if (ret >= 0 && follow_stream(r, err))
			return -ENOMEM;
		if (ret <= 0)
			return ret;
		r->next = 0;
		r->used = 0;
		if (r->in.why) {
			ret = tell_damaged(r, err);
			if (ret)
				return ret;
		}
	}
}

int vma_reader_next(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err)
{
	int ret;

	if (r->failed)
		return vma_fail(err, r->failed, "%s", r->failure.text);
	if (r->ended)
		return 0;
	r->failure.text[0] = '\0';
	ret = next_cluster(r, c, &r->failure);
	if (ret < 0) {
		r->failed = ret;
		return vma_fail(err, ret, "%s", r->failure.text);
	}
	r->ended = ret == 0;
	return ret;
}

int vma_reader_finish(struct vma_reader *r, struct vma_error *err)
{
	if (r->failed)
		return vma_fail(err, r->failed, "%s", r->failure.text);
	if (!r->ended)
		return vma_fail(err, -EINVAL, "the archive was not read to its end");
	return cluster_sets_complete(r->sets, r->header, err);
}

/* The first cluster from `from` on that is, or (!is) is not, one of these. */
static uint64_t next_of(const struct vma_reader *r, enum vma_clusters which, unsigned int dev_id,
			uint64_t from, bool is)
{
	uint64_t nr = r->header->devices[dev_id].nr_clusters, a, b;

	if (which == VMA_CLUSTERS_LIKELY)
		return cluster_set_next(r->likely[dev_id], from, nr, is);
	a = cluster_set_next(r->sets[dev_id], from, nr, !is);
	if (which == VMA_CLUSTERS_MISSING)
		return a;
	b = cluster_set_next(r->damaged[dev_id], from, nr, !is);
	if (!is)
		return a < b ? a : b;
	/* In neither set. */
	while (a != b) {
		if (a < b)
			a = cluster_set_next(r->sets[dev_id], b, nr, false);
		else
			b = cluster_set_next(r->damaged[dev_id], a, nr, false);
	}
	return a;
}

bool vma_reader_run(const struct vma_reader *r, enum vma_clusters which, unsigned int dev_id,
		    uint64_t *offset, uint64_t *length)
{
	const struct vma_device *dev = &r->header->devices[dev_id];
	uint64_t first, end;

	if (!dev->name || !r->tolerant || *offset >= dev->size)
		return false;
	first = next_of(r, which, dev_id, *offset / VMA_CLUSTER_SIZE, true);
	if (first >= dev->nr_clusters)
		return false;
	end = next_of(r, which, dev_id, first, false) * VMA_CLUSTER_SIZE;
	*offset = first * VMA_CLUSTER_SIZE;
	*length = (end < dev->size ? end : dev->size) - *offset;
	return true;
}

void vma_reader_stats(const struct vma_reader *r, struct vma_reader_stats *stats)
{
	*stats = (struct vma_reader_stats){
		.extents = r->in.extents,
		.summed = r->in.summed,
		.bytes = r->in.position,
	};
}
