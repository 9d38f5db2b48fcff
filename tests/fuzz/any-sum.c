// SPDX-License-Identifier: GPL-2.0-or-later
/* Takes the place of wire_md5_check(): any sum is right. The field is zeroed as by the real one. */
#include "libvma/wire.h"

int __wrap_wire_md5_check(uint8_t *p, size_t len, size_t offset);

int __wrap_wire_md5_check(uint8_t *p, size_t len, size_t offset)
{
	(void)len;
	memset(p + offset, 0, WIRE_MD5_SIZE);
	return 1;
}
