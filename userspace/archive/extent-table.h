/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent-table: the part of an index that says where each extent of its archive begins.
 *
 * Extents follow each other without gaps, so a page has only the number of blocks of each;
 * the places where the pages' first extents begin are in the directory. For any number of
 * threads.
 */
#ifndef ARCHIVE_EXTENT_TABLE_H
#define ARCHIVE_EXTENT_TABLE_H

#include "libvma/vma.h"

struct extent_table;

/* Constant, and outliving the table. */
struct extent_table_at {
	int fd;				/* the index */
	uint64_t pages_end;		/* in it */
	const uint8_t *directory;	/* of the table */
	size_t directory_size;
	uint64_t extents;
	uint64_t begin, end;		/* of all extents, in the stream */
};

/* Checks the directory. */
int extent_table_open(struct extent_table **t, const struct extent_table_at *where,
		      struct vma_error *err);
void extent_table_close(struct extent_table *t);

/* Reads all pages. */
int extent_table_check(struct extent_table *t, struct vma_error *err);

struct extent_place {
	uint64_t number;		/* from 0 */
	uint64_t at;			/* of its header, in the stream */
	uint32_t size;			/* with its header */
};

/* The extent that holds byte `at` of the stream, which is between begin and end. */
int extent_table_find(struct extent_table *t, uint64_t at, struct extent_place *place,
		      struct vma_error *err);

#endif /* ARCHIVE_EXTENT_TABLE_H */
