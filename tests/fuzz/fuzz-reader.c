// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The header and all extents, as they come out of a stream: by the reader that refuses
 * what is damaged, and by the one that goes on.
 */
#include <errno.h>

#include "fuzz.h"

/* A stream that loses something in its middle; what, the size tells. */
struct lossy {
	struct bytes b;		/* first: bytes_read() reads on from here */
	size_t lost;		/* bytes that do not come */
	bool known;
	size_t at;		/* bytes before it; 0 once it is told */
	bool said;
	uint64_t given;		/* bytes so far, since it was told */
};

static ssize_t lossy_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct lossy *l = ctx;
	ssize_t got;

	if (!l->said && len > l->at)
		len = l->at;
	got = bytes_read(&l->b, buf, len, err);
	if (!l->said)
		l->at -= got;
	l->given += got;
	return got;
}

static int lossy_loss(void *ctx, struct vma_loss *loss)
{
	struct lossy *l = ctx;
	size_t lost = l->lost < l->b.len ? l->lost : l->b.len;

	if (l->said || l->at)
		return 0;
	l->said = true;
	l->b.p += lost;
	l->b.len -= lost;
	*loss = (struct vma_loss){ .begin = 1, .end = 2,
				   .bytes = l->known ? lost : VMA_LOSS_UNKNOWN,
				   .unproven = l->known ? 0 : l->given };
	l->given = 0;
	return 1;
}

static uint64_t lossy_unproven(void *ctx)
{
	const struct lossy *l = ctx;

	return l->known ? 0 : l->given;
}

static void tell(void *ctx, const struct vma_fault *f)
{
	must(f->begin <= f->end && strlen(f->what.text) < sizeof(f->what.text));
	++*(uint64_t *)ctx;
}

static void use(struct vma_reader *r, bool tolerant)
{
	struct vma_cluster c;
	struct vma_error err;
	unsigned int sum = 0;
	int ret;

	while ((ret = vma_reader_next(r, &c, &err)) > 0) {
		const struct vma_device *dev = &vma_reader_header(r)->devices[c.dev_id];

		must(dev->name && c.length && c.length <= VMA_CLUSTER_SIZE);
		must(c.offset + c.length <= dev->size);
		/* All of it is there to be read. */
		for (unsigned int i = 0; i < VMA_CLUSTER_SIZE; i += 64)
			sum += c.data[i];
	}
	/* Nothing in the data is a failure to one that goes on. */
	must(ret == 0 || (ret < 0 && (!tolerant || ret == -ENOMEM)));
	ret = vma_reader_finish(r, &err);
	for (unsigned int i = 0; tolerant && i < 256; i++) {
		const struct vma_device *dev = &vma_reader_header(r)->devices[i];
		uint64_t offset = 0, length, runs = 0;

		for (; vma_reader_run(r, VMA_CLUSTERS_MISSING, i, &offset, &length);
		     offset += length, runs++)
			must(length && offset + length <= dev->size);
		must(ret || !runs);
		offset = 0;
		for (; vma_reader_run(r, VMA_CLUSTERS_ABSENT, i, &offset, &length);
		     offset += length)
			must(length && offset + length <= dev->size);
		offset = 0;
		for (; vma_reader_run(r, VMA_CLUSTERS_LIKELY, i, &offset, &length);
		     offset += length)
			must(length && offset + length <= dev->size);
	}
	vma_reader_free(r);
	(void)*(volatile unsigned int *)&sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct lossy l = {
		.b = b, .lost = size % 8192, .known = size & 1, .at = size / 2, .said = size & 2,
	};
	uint64_t faults = 0;
	struct vma_tolerance t = {
		.loss = lossy_loss, .unproven = lossy_unproven, .fault = tell, .ctx = &faults,
		.likely = size & 4,
	};
	struct vma_reader *r;
	struct vma_error err;

	if (vma_reader_open(&r, bytes_read, &b, &err) == 0)
		use(r, false);
	if (vma_reader_open_damaged(&r, lossy_read, &l, &t, &err) == 0)
		use(r, true);
	return 0;
}
