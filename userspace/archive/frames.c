// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/frames.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive/file.h"
#include "codec/zstd-frame.h"
#include "libvma/text.h"

#define READ_ENTRIES		4096u		/* of the table at a time */
#define FRAME_SLACK		64u
#define SKIPPABLE_MIN		8u		/* bytes of the smallest frame there is */

struct place {
	uint64_t at;
	uint64_t content_at;
};

struct frames {
	uint32_t nr;
	uint32_t largest;
	bool sealed;
	struct place *places;	/* nr + 1: the last one is the end */
};

static int no_table(struct vma_error *err)
{
	return vma_fail(err, -EOPNOTSUPP,
			"cannot be entered in the middle: a zstd file without a seek table; decompress it first (zstd -d)");
}

static int damaged(struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "damaged: the seek table does not fit the file");
}

static int add_frame(struct frames *f, uint32_t i, uint64_t size, uint32_t content,
		     struct vma_error *err)
{
	const struct place *p = &f->places[i];

	if (size < SKIPPABLE_MIN)
		return damaged(err);
	if (content > FRAME_MAX)
		return vma_fail(err, -EFBIG,
				"frame %" PRIu32 " of the zstd file holds %" PRIu32
				" bytes, more than the %u that can be entered in the middle; decompress it first (zstd -d)",
				i, content, FRAME_MAX);
	/* More than a compressor makes of random data, flushed often: memory for nothing. */
	if (content && size > ZSTD_compressBound(content) + content / 16 + FRAME_SLACK)
		return damaged(err);
	if (content > f->largest)
		f->largest = content;
	f->places[i + 1].at = p->at + size;
	f->places[i + 1].content_at = p->content_at + content;
	return 0;
}

/* Seals: the first entry, and every second one after it. */
static int add_entry(struct frames *f, uint32_t i, uint64_t size, uint32_t content,
		     struct vma_error *err)
{
	if (!f->sealed)
		return add_frame(f, i, size, content, err);
	if (i % 2)
		return add_frame(f, i / 2, size, content, err);
	if (size != ZSTD_SEAL_SIZE || content)
		return damaged(err);
	f->places[i / 2].at += ZSTD_SEAL_SIZE;
	return 0;
}

static int read_table(struct frames *f, int fd, uint64_t at, uint32_t nr, unsigned int entry_size,
		      struct vma_error *err)
{
	uint8_t *buf = malloc((size_t)READ_ENTRIES * entry_size);
	int ret = buf ? 0 : vma_fail(err, -ENOMEM, "out of memory");

	for (uint32_t i = 0; i < nr && !ret; i += READ_ENTRIES) {
		uint32_t n = nr - i < READ_ENTRIES ? nr - i : READ_ENTRIES;

		ret = file_read(fd, at, buf, (size_t)n * entry_size, err);
		at += (uint64_t)n * entry_size;
		for (uint32_t k = 0; k < n && !ret; k++)
			ret = add_entry(f, i + k, zstd_le32(buf + k * entry_size),
					zstd_le32(buf + k * entry_size + 4), err);
	}
	free(buf);
	return ret;
}

/* Whether the file has seals; a beginning like one that is none is damage. */
static int look_for_seal(int fd, uint64_t file_size, bool *sealed, struct vma_error *err)
{
	uint8_t p[ZSTD_SEAL_SIZE];
	struct seal seal;
	int ret;

	*sealed = false;
	if (file_size < sizeof(p))
		return 0;
	ret = file_read(fd, 0, p, sizeof(p), err);
	if (ret || !zstd_seal_like_first(p))
		return ret;
	if (!zstd_seal_get(p, &seal) || seal.kind != SEAL_BEGIN || seal.count ||
	    seal.hash != zstd_seal_hash(p, p))
		return vma_fail(err, -EBADMSG, "damaged: the file's first seal is not as written");
	*sealed = true;
	return 0;
}

int frames_open(struct frames **out, int fd, uint64_t file_size, struct vma_error *err)
{
	uint8_t footer[ZSTD_SEEK_FOOTER], header[ZSTD_SKIP_HEADER];
	uint64_t table, begin;
	unsigned int entry_size;
	struct frames *f;
	uint32_t nr;
	bool sealed;
	int ret;

	if (file_size < ZSTD_SEEK_FOOTER)
		return no_table(err);
	ret = file_read(fd, file_size - ZSTD_SEEK_FOOTER, footer, ZSTD_SEEK_FOOTER, err);
	if (ret)
		return ret;
	if (zstd_le32(footer + 5) != ZSTD_SEEK_MAGIC)
		return no_table(err);
	entry_size = footer[4] & ZSTD_SEEK_CHECKSUMS ? 12 : 8;
	table = (uint64_t)zstd_le32(footer) * entry_size + ZSTD_SEEK_FOOTER;
	/* Each frame takes room as well: more memory than the file has bytes is never needed. */
	if (footer[4] & ZSTD_SEEK_RESERVED || table > UINT32_MAX ||
	    file_size < ZSTD_SKIP_HEADER + table + (uint64_t)zstd_le32(footer) * SKIPPABLE_MIN)
		return damaged(err);
	ret = look_for_seal(fd, file_size, &sealed, err);
	if (ret)
		return ret;
	nr = zstd_le32(footer);
	if (sealed && nr % 2 == 0)
		return damaged(err);
	if ((sealed ? nr / 2 : nr) > FRAMES_MAX)
		return vma_fail(err, -EFBIG, "the zstd file has %" PRIu32
				" frames, at most %u can be entered; decompress it first (zstd -d)",
				sealed ? nr / 2 : nr, FRAMES_MAX);
	begin = file_size - table - ZSTD_SKIP_HEADER;
	ret = file_read(fd, begin, header, ZSTD_SKIP_HEADER, err);
	if (ret)
		return ret;
	if (zstd_le32(header) != ZSTD_SEEK_SKIP_MAGIC || zstd_le32(header + 4) != table)
		return damaged(err);

	f = calloc(1, sizeof(*f));
	if (f) {
		f->sealed = sealed;
		f->nr = sealed ? nr / 2 : nr;
		f->places = calloc((size_t)f->nr + 1, sizeof(*f->places));
	}
	if (!f || !f->places) {
		free(f);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	ret = read_table(f, fd, begin + ZSTD_SKIP_HEADER, nr, entry_size, err);
	if (!ret && f->places[f->nr].at != begin)
		ret = damaged(err);
	if (ret) {
		frames_free(f);
		return ret;
	}
	*out = f;
	return 0;
}

void frames_free(struct frames *f)
{
	if (!f)
		return;
	free(f->places);
	free(f);
}

uint32_t frames_count(const struct frames *f)
{
	return f->nr;
}

uint64_t frames_total(const struct frames *f)
{
	return f->places[f->nr].content_at;
}

uint32_t frames_largest(const struct frames *f)
{
	return f->largest;
}

uint32_t frames_find(const struct frames *f, uint64_t at)
{
	uint32_t low = 0, high = f->nr;

	/* The last frame that begins at or before it; empty ones share their beginning. */
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (f->places[mid].content_at <= at)
			low = mid;
		else
			high = mid;
	}
	return low;
}

struct frame frames_get(const struct frames *f, uint32_t number)
{
	const struct place *p = &f->places[number];

	return (struct frame){
		.at = p->at,
		.size = p[1].at - p->at - (f->sealed ? ZSTD_SEAL_SIZE : 0),
		.content_at = p->content_at,
		.content_size = p[1].content_at - p->content_at,
		.sealed = f->sealed,
	};
}
