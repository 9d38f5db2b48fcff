// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/gzip-file.h"

#include <string.h>

/* Method 8, an extra field, no time, an unknown system; 28 bytes: "VM", 24 bytes. */
static const uint8_t head[GZIP_SEAL_AT] = {
	0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 4 + SEAL_SIZE, 0, 'V', 'M', SEAL_SIZE, 0,
};

/* An empty block, the last one; CRC and size of nothing. */
static const uint8_t tail[10] = { 3 };

void gzip_seal_put_fixed(uint8_t *p, enum seal_kind kind)
{
	memcpy(p, head, sizeof(head));
	seal_put_fixed(p + GZIP_SEAL_AT, kind);
}

void gzip_seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from)
{
	memcpy(p, head, sizeof(head));
	seal_put(p + GZIP_SEAL_AT, kind, count, from);
	memcpy(p + GZIP_SEAL_AT + SEAL_SIZE, tail, sizeof(tail));
}

bool gzip_seal_get(const uint8_t *p, struct seal *s)
{
	return memcmp(p, head, sizeof(head)) == 0 &&
	       memcmp(p + GZIP_SEAL_AT + SEAL_SIZE, tail, sizeof(tail)) == 0 &&
	       seal_get(p + GZIP_SEAL_AT, s);
}

bool gzip_seal_like_first(const uint8_t *p, bool followed)
{
	uint8_t fixed[GZIP_SEAL_FIXED];
	bool at_begin, seal, end;

	gzip_seal_put_fixed(fixed, SEAL_BEGIN);
	at_begin = memcmp(p, fixed, GZIP_SEAL_AT) == 0;
	seal = memcmp(p + GZIP_SEAL_AT, fixed + GZIP_SEAL_AT, SEAL_FIXED) == 0;
	end = memcmp(p + GZIP_SEAL_AT + SEAL_SIZE, tail, sizeof(tail)) == 0;
	/* With the end alone it would be any empty member, which others may write. */
	return at_begin + seal + end + (followed && (at_begin || seal)) >= 2;
}
