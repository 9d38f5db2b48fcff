// SPDX-License-Identifier: GPL-2.0-or-later
/* A fault in words. */
#include <inttypes.h>
#include <stdio.h>

#include "libvma/text.h"

static void where_in_device(const struct vma_header *h, const struct vma_fault *f, char *buf,
			    size_t size)
{
	snprintf(buf, size, "disk %s, offset %" PRIu64 ", length %" PRIu64,
		 vma_quote(h->devices[f->dev_id].name), f->offset, f->length);
}

void vma_fault_place(const struct vma_fault *f, char *buf, size_t size)
{
	if (f->stored && f->stored_end <= f->stored_begin)
		snprintf(buf, size, "byte %" PRIu64 " of the file", f->stored_begin);
	else if (f->stored && f->stored_end != UINT64_MAX)
		snprintf(buf, size, "bytes %" PRIu64 "-%" PRIu64 " of the file", f->stored_begin,
			 f->stored_end - 1);
	else if (f->stored && f->stored_begin)
		snprintf(buf, size, "the file from byte %" PRIu64 " on", f->stored_begin);
	else if (f->end > f->begin)
		snprintf(buf, size, "bytes %" PRIu64 "-%" PRIu64 " of the archive", f->begin,
			 f->end - 1);
	else
		snprintf(buf, size, "the archive from byte %" PRIu64 " on", f->begin);
}

void vma_fault_text(const struct vma_header *h, const struct vma_fault *f, char *buf, size_t size)
{
	char device[2 * VMA_QUOTE_SIZE], archive[96];

	vma_fault_place(f, archive, sizeof(archive));
	if (f->dev_id) {
		where_in_device(h, f, device, sizeof(device));
		snprintf(buf, size, "%s: %s%s (%s)", device, f->what.text,
			 f->likely ? "; likely intact" : "", archive);
	} else {
		snprintf(buf, size, "%s%s: %s%s", f->harmless ? "" : "cannot tell which disk: ",
			 archive, f->what.text, f->harmless ? "; the data is intact" : "");
	}
}
