/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lossy-stream: archives of which a part is lost, and what a reader that goes on makes of them. */
#ifndef LOSSY_STREAM_H
#define LOSSY_STREAM_H

#include <errno.h>
#include <stdio.h>

#include "summed-archive.h"

#define CLUSTER 65536

struct told {
	struct vma_fault faults[32];
	unsigned int nr;
};

static UNUSED void tell(void *ctx, const struct vma_fault *f)
{
	struct told *t = ctx;

	assert_true(t->nr < 32);
	t->faults[t->nr++] = *f;
}

/* A stream that lost something: at these places of what is read. */
struct lossy {
	struct built *b;
	struct {
		bool there;
		size_t at;		/* where it is */
		size_t skip;		/* bytes that are not given */
		uint64_t bytes;		/* what is said of them */
	} losses[4];
	unsigned int next;
	/* Where the second of two pieces begins, which are proven at their ends; 0: none are. */
	size_t second;
};

/* Of the piece that has not ended; a loss ends it. */
static UNUSED uint64_t lossy_unproven(void *ctx)
{
	struct lossy *l = ctx;

	if (!l->second || l->next)
		return 0;
	return l->b->pos < l->second ? l->b->pos : l->b->pos - l->second;
}

static UNUSED ssize_t lossy_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct lossy *l = ctx;
	size_t left = l->b->len - l->b->pos;

	if (l->next < 4 && l->losses[l->next].there)
		left = l->losses[l->next].at - l->b->pos;
	return built_read(l->b, buf, len < left ? len : left, err);
}

static UNUSED int lossy_loss(void *ctx, struct vma_loss *loss)
{
	struct lossy *l = ctx;
	unsigned int i = l->next;

	if (i == 4 || !l->losses[i].there || l->b->pos < l->losses[i].at)
		return 0;
	*loss = (struct vma_loss){ .begin = 100 * (i + 1), .end = 100 * (i + 1) + 50,
				   .bytes = l->losses[i].bytes, .unproven = lossy_unproven(l) };
	l->b->pos += l->losses[i].skip;
	strcpy(loss->what.text, "a frame is damaged");
	l->next++;
	return 1;
}

/* Reads all; the clusters that came, as bits. Their content must be that of build_summed(). */
struct seen {
	struct vma_reader *r;
	struct told told;
	uint64_t clusters;
};

static UNUSED void check_content(const struct vma_cluster *c)
{
	static const uint8_t first[] = { 0x11, 0, 0x22 };
	uint8_t byte = c->cluster < 3 ? first[c->cluster] : c->cluster + 1;

	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(c->data[i], byte);
	assert_int_equal(c->data[4096], 0);
	assert_int_equal(c->data[CLUSTER - 1], c->cluster == 2 ? 0x33 : 0);
}

static UNUSED void read_damaged(struct seen *s, struct lossy *l, bool likely)
{
	struct vma_tolerance t = {
		.loss = lossy_loss, .unproven = lossy_unproven, .fault = tell, .ctx = &s->told,
		.likely = likely,
	};
	struct vma_error err = { "" };
	struct vma_cluster c;
	int ret;

	memset(s, 0, sizeof(*s));
	l->b->pos = 0;
	ret = vma_reader_open_damaged(&s->r, lossy_read, l, &t, &err);
	if (ret)
		fail_msg("%s", err.text);
	while ((ret = vma_reader_next(s->r, &c, &err)) > 0) {
		assert_int_equal(c.dev_id, 1);
		assert_false(s->clusters >> c.cluster & 1);
		s->clusters |= 1ull << c.cluster;
		if (!likely)
			check_content(&c);
	}
	if (ret)
		fail_msg("%s", err.text);
}

static UNUSED void text_has(const struct seen *s, unsigned int i, const char *words)
{
	char text[1024];

	assert_true(i < s->told.nr);
	vma_fault_text(vma_reader_header(s->r), &s->told.faults[i], text, sizeof(text));
	if (!strstr(text, words))
		fail_msg("\"%s\" lacks \"%s\"", text, words);
}

/* The one run of clusters that did not come. */
static UNUSED void missing_is(const struct seen *s, uint64_t first, uint64_t nr)
{
	uint64_t offset = 0, length;

	assert_true(vma_reader_run(s->r, VMA_CLUSTERS_MISSING, 1, &offset, &length));
	assert_int_equal(offset, first * CLUSTER);
	assert_int_equal(length, nr * CLUSTER);
	offset += length;
	assert_false(vma_reader_run(s->r, VMA_CLUSTERS_MISSING, 1, &offset, &length));
}

#endif /* LOSSY_STREAM_H */
