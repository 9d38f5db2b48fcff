/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What archive.c opens and archive-read.c reads from; constant once open. */
#ifndef ARCHIVE_PRIVATE_H
#define ARCHIVE_PRIVATE_H

#include "archive/archive.h"
#include "archive/extent-read.h"
#include "archive/index.h"
#include "archive/stream.h"
#include "libvma/extent.h"

struct archive {
	int fd;
	struct stream *stream;
	struct vma_header *header;
	struct index *index;
	enum archive_index index_state;
	struct vma_error index_fault;
	struct extent_reader *extents;	/* NULL: opened bare */
};

#endif /* ARCHIVE_PRIVATE_H */
