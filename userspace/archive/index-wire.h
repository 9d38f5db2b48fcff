/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index-wire: the bytes of an index file; Documentation/vma-index.rst describes them.
 *
 * beginning, pages, directory, end. Every integer is big-endian.
 */
#ifndef ARCHIVE_INDEX_WIRE_H
#define ARCHIVE_INDEX_WIRE_H

#define IDX_MAGIC		"VMAINDEX"
#define IDX_MAGIC_SIZE		8u
#define IDX_VERSION		2u
#define IDX_UUID_SIZE		16u
#define IDX_SUM_SIZE		32u		/* SHA-256 */

#define IDX_BEGIN_SIZE		16u		/* magic, version, 4 bytes of zero */

/*
 * A page is what is looked at to find one cluster: small enough to be decompressed for
 * a single read, large enough that its place costs nothing beside it.
 */
#define IDX_PAGE_CLUSTERS	1024u
#define IDX_PAGE_MASK		2u		/* bytes for each cluster */
#define IDX_PAGE_STEP		8u
#define IDX_PAGE_RAW		(IDX_PAGE_CLUSTERS * (IDX_PAGE_MASK + IDX_PAGE_STEP))

/*
 * A page of the table of extents: the number of blocks of each. Of 4 KiB blocks an extent
 * has up to 944.
 */
#define IDX_TABLE_EXTENTS	4096u
#define IDX_TABLE_BLOCKS	2u		/* bytes for each extent */
#define IDX_TABLE_RAW		(IDX_TABLE_EXTENTS * IDX_TABLE_BLOCKS)

/* The directory: for each device this, then 8 bytes for each page. */
#define IDX_D_ID		0u
#define IDX_D_RESERVED		4u
#define IDX_D_CLUSTERS		8u
#define IDX_D_ZERO		16u		/* clusters without data */
#define IDX_D_BLOCKS		24u		/* of 4 KiB that have data */
#define IDX_D_SIZE		32u
#define IDX_PLACE_SIZE		8u		/* offset << 16 | size; 0: all zero */
#define IDX_OFFSET_MAX		(1ull << 48)

/* Behind all devices, for each page of the table: */
#define IDX_T_AT		0u		/* byte of the stream where its first extent is */
#define IDX_T_PLACE		8u
#define IDX_T_SIZE		16u

/* The end. */
#define IDX_E_MAGIC		0u
#define IDX_E_VERSION		8u
#define IDX_E_PAGE_CLUSTERS	12u
#define IDX_E_UUID		16u
#define IDX_E_FILE_SIZE		32u
#define IDX_E_STREAM_SIZE	40u
#define IDX_E_EXTENTS		48u
#define IDX_E_DIRECTORY		56u
#define IDX_E_DIRECTORY_SIZE	64u
#define IDX_E_DEVICES		72u
#define IDX_E_RESERVED		76u		/* 4 bytes of zero */
#define IDX_E_SUMMED		80u		/* extents with sums: the last ones */
#define IDX_E_DIRECTORY_SUM	88u
#define IDX_E_SUM		120u		/* over all of the end before it */
#define IDX_E_SIZE		152u

#endif /* ARCHIVE_INDEX_WIRE_H */
