// SPDX-License-Identifier: GPL-2.0-or-later
/* The header and all extents, as they come out of a stream. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = { data, size };
	struct vma_reader *r;
	struct vma_cluster c;
	struct vma_error err;
	unsigned int sum = 0;
	int ret;

	if (vma_reader_open(&r, bytes_read, &b, &err) != 0)
		return 0;
	while ((ret = vma_reader_next(r, &c, &err)) > 0) {
		const struct vma_device *dev = &vma_reader_header(r)->devices[c.dev_id];

		must(dev->name && c.length && c.length <= VMA_CLUSTER_SIZE);
		must(c.offset + c.length <= dev->size);
		/* All of it is there to be read. */
		for (unsigned int i = 0; i < VMA_CLUSTER_SIZE; i += 64)
			sum += c.data[i];
	}
	must(ret <= 0);
	vma_reader_finish(r, &err);
	vma_reader_free(r);
	(void)*(volatile unsigned int *)&sum;
	return 0;
}
