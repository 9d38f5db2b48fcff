/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gzip-file: members of ours, and the form that a seal has among them.
 *
 * A seal is a member without content, whose extra field has one subfield, "VM", with
 * the seal. Every other byte of it is fixed, so each can be checked.
 */
#ifndef CODEC_GZIP_FILE_H
#define CODEC_GZIP_FILE_H

#include "codec/seal.h"

/* zlib's name for "the largest window, in a gzip member". */
#define GZIP_WINDOW	(15 + 16)

#define GZIP_SEAL_AT	16u				/* of the seal in its member */
#define GZIP_SEAL_SIZE	(GZIP_SEAL_AT + SEAL_SIZE + 10)	/* of the member */
#define GZIP_SEAL_FIXED	(GZIP_SEAL_AT + SEAL_FIXED)	/* the same in all of a kind */

void gzip_seal_put_fixed(uint8_t *p, enum seal_kind kind);
/* Seals what is from `from` to p, and itself. */
void gzip_seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from);
/* Of GZIP_SEAL_SIZE bytes. */
bool gzip_seal_get(const uint8_t *p, struct seal *s);

/*
 * Whether these GZIP_SEAL_SIZE bytes were the first seal before they were damaged. Less of it is
 * enough if another member stands behind it, as must be.
 */
bool gzip_seal_like_first(const uint8_t *p, bool followed);

#endif /* CODEC_GZIP_FILE_H */
