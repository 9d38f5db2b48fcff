/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zstd-table: a seek table compared with the frames that were really there, so that it
 * is never wrong in an archive that was read without complaint.
 *
 * It takes no memory per frame: what was seen and what the table says are hashed, so that
 * nobody can make two that differ and are taken for the same.
 */
#ifndef CODEC_ZSTD_TABLE_H
#define CODEC_ZSTD_TABLE_H

#include <sha2.h>

#include "codec/input.h"
#include "codec/zstd-frame.h"

struct zstd_seen {
	bool sealed;		/* the table is ours: every bit of it is known */
	uint64_t nr;
	SHA2_CTX sizes, sums;	/* SHA-256 of the table's fields, as they should be */
	bool no_sums;		/* a frame had no checksum, or it was not looked at */
	bool too_large;		/* one does not fit into a seek table */
};

void zstd_seen_init(struct zstd_seen *s);
/* sum: its content's checksum, 4 bytes; NULL: not known. */
void zstd_seen_add(struct zstd_seen *s, uint64_t packed, uint64_t content, const uint8_t *sum);
/* A skippable frame. */
void zstd_seen_skippable(struct zstd_seen *s, uint64_t size);

/* Bytes of an entry if a table of `size` bytes, without the frame's header, fits; 0: no. */
unsigned int zstd_table_entry(const struct zstd_seen *s, uint32_t size);

enum zstd_table { ZSTD_TABLE_FITS, ZSTD_TABLE_DIFFERS, ZSTD_TABLE_CUT };

/* What follows the header of the table's frame; takes it off the input. Or a negative errno. */
int zstd_table_check(const struct zstd_seen *s, struct input *in, unsigned int entry,
		     struct vma_error *err);

#endif /* CODEC_ZSTD_TABLE_H */
