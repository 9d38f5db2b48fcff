/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the fields of an archive lie, and how their bytes are read and stored.
 *
 * Every integer is big-endian except the length of a blob, which is little-endian.
 * Nothing here is a packed struct: archives are bytes, of any alignment.
 */
#ifndef VMA_WIRE_H
#define VMA_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define WIRE_MAGIC		"VMA\0"
#define WIRE_EXTENT_MAGIC	"VMAE"
#define WIRE_MAGIC_SIZE		4u
#define WIRE_VERSION		1u
#define WIRE_UUID_SIZE		16u
#define WIRE_MD5_SIZE		16u

/* The header. */
#define WIRE_H_VERSION		4u
#define WIRE_H_UUID		8u
#define WIRE_H_CTIME		24u
#define WIRE_H_MD5		32u
#define WIRE_H_BLOB_OFFSET	48u
#define WIRE_H_BLOB_SIZE	52u
#define WIRE_H_HEADER_SIZE	56u
#define WIRE_H_CONFIG_NAMES	2044u
#define WIRE_H_CONFIG_DATA	3068u
#define WIRE_H_DEVICES		4096u
#define WIRE_DEVICE_SIZE	32u
#define WIRE_DEVICE_NAME	0u
#define WIRE_DEVICE_BYTES	8u
#define WIRE_HEADER_STEP	512u	/* the blob table grows by this */
#define WIRE_BLOB_FIRST		1u	/* offset 0 means "no blob" */
#define WIRE_BLOB_LENGTH	2u

/* The header of an extent. */
#define WIRE_E_RESERVED		4u
#define WIRE_E_BLOCK_COUNT	6u
#define WIRE_E_UUID		8u
#define WIRE_E_MD5		24u
#define WIRE_E_BLOCKINFO	40u
#define WIRE_E_SUM_INFO		58u	/* the blockinfo for a sum, see data-sum.h */

/* A blockinfo: 16 bits mask, 8 bits that readers ignore, 8 bits dev_id, 32 bits cluster. */
#define WIRE_I_RESERVED		2u
#define WIRE_I_SUM_TAG		0x58u	/* in there, with dev_id 0 */

static inline uint16_t wire_get_le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint16_t wire_get_be16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t wire_get_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t wire_get_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void wire_put_le16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void wire_put_be16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void wire_put_be32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void wire_put_be64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

/* MD5 over len bytes at p; the field at md5 inside of them must be zero by now. */
void wire_md5(const uint8_t *p, size_t len, uint8_t md5[WIRE_MD5_SIZE]);

/* Zeroes the MD5 field at offset and says whether it held the sum of the whole. */
int wire_md5_check(uint8_t *p, size_t len, size_t offset);

#endif /* VMA_WIRE_H */
