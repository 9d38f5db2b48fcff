// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive/file.h"
#include "archive/frame-read.h"
#include "libvma/text.h"

#define MAGIC_SIZE	4u

struct stream {
	int fd;
	uint64_t file_size;
	uint64_t size;
	struct frames *frames;
	struct frame_reader *reader;
};

static int recognise(const uint8_t *magic, bool *zstd, struct vma_error *err)
{
	uint32_t v = magic[0] | magic[1] << 8 | magic[2] << 16 | (uint32_t)magic[3] << 24;
	const char *name = NULL;

	if (magic[0] == 0x1f && magic[1] == 0x8b)
		name = "gzip";
	if (memcmp(magic, "\x89LZO", MAGIC_SIZE) == 0)
		name = "lzo";
	if (name)
		return vma_fail(err, -EOPNOTSUPP,
				"cannot be entered in the middle: compressed with %s; decompress it first",
				name);
	*zstd = v == ZSTD_MAGICNUMBER ||
		(v & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
	return 0;
}

static int open_bytes(struct stream *s, size_t cache, struct vma_error *err)
{
	uint8_t magic[MAGIC_SIZE] = { 0 };
	bool zstd;
	int ret;

	ret = file_size(s->fd, &s->file_size, err);
	if (!ret)
		ret = file_read(s->fd, 0, magic,
				s->file_size < MAGIC_SIZE ? s->file_size : MAGIC_SIZE, err);
	if (!ret)
		ret = recognise(magic, &zstd, err);
	if (ret)
		return ret;
	s->size = s->file_size;
	if (!zstd)
		return 0;
	ret = frames_open(&s->frames, s->fd, s->file_size, err);
	if (ret)
		return ret;
	s->size = frames_total(s->frames);
	return frame_reader_new(&s->reader, s->fd, s->frames, cache, err);
}

int stream_open(struct stream **out, int fd, size_t cache, struct vma_error *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	s->fd = fd;
	ret = open_bytes(s, cache, err);
	if (ret) {
		stream_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	frame_reader_free(s->reader);
	frames_free(s->frames);
	free(s);
}

uint64_t stream_size(const struct stream *s)
{
	return s->size;
}

uint64_t stream_file_size(const struct stream *s)
{
	return s->file_size;
}

const struct frames *stream_frames(const struct stream *s)
{
	return s->frames;
}

int stream_read(struct stream *s, uint64_t at, void *buf, size_t len, struct vma_error *err)
{
	uint8_t *to = buf;

	if (at > s->size || len > s->size - at)
		return vma_fail(err, -EBADMSG, "truncated: it ends at byte %" PRIu64, s->size);
	if (!s->frames)
		return file_read(s->fd, at, buf, len, err);
	while (len) {
		uint32_t number = frames_find(s->frames, at);
		struct frame frame = frames_get(s->frames, number);
		uint32_t offset = at - frame.content_at;
		size_t n = frame.content_size - offset < len ? frame.content_size - offset : len;
		int ret = frame_reader_read(s->reader, number, offset, to, n, err);

		if (ret)
			return ret;
		at += n;
		to += n;
		len -= n;
	}
	return 0;
}
