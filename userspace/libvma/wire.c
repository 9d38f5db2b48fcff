// SPDX-License-Identifier: GPL-2.0-or-later
/* The checksum that the archive's headers carry. */
#include "libvma/wire.h"

#include <md5.h>

void wire_md5(const uint8_t *p, size_t len, uint8_t md5[WIRE_MD5_SIZE])
{
	MD5_CTX ctx;

	MD5Init(&ctx);
	MD5Update(&ctx, p, len);
	MD5Final(md5, &ctx);
}

int wire_md5_check(uint8_t *p, size_t len, size_t offset)
{
	uint8_t stored[WIRE_MD5_SIZE], sum[WIRE_MD5_SIZE];

	memcpy(stored, p + offset, WIRE_MD5_SIZE);
	memset(p + offset, 0, WIRE_MD5_SIZE);
	wire_md5(p, len, sum);
	return memcmp(stored, sum, WIRE_MD5_SIZE) == 0;
}
