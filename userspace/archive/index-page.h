/* SPDX-License-Identifier: GPL-2.0-or-later */
/* index-page: one page of an index file, decompressed; its place, checked. */
#ifndef ARCHIVE_INDEX_PAGE_H
#define ARCHIVE_INDEX_PAGE_H

#include <zstd.h>

#include "libvma/vma.h"

/* Whether a place is one between the beginning and `end`, where the pages end. */
bool index_place_ok(uint64_t place, uint64_t end);

/* Reads the page at a place that is ok; it must have just len bytes. */
int index_page_read(int fd, ZSTD_DCtx *zstd, uint64_t place, void *to, size_t len,
		    struct vma_error *err);

/* -EUCLEAN: not -EBADMSG, for the archive may be good. */
int index_damaged(const char *what, struct vma_error *err);

#endif /* ARCHIVE_INDEX_PAGE_H */
