/* SPDX-License-Identifier: GPL-2.0-or-later */
/* header: what the parts of libvma share about headers. */
#ifndef VMA_HEADER_H
#define VMA_HEADER_H

#include "libvma/vma.h"

#define VMA_VMSTATE	"vmstate"	/* the device that holds a VM's memory */

/* Clusters of a device of so many bytes; the last one may be short. */
static inline uint64_t vma_clusters_of(uint64_t size)
{
	return size / VMA_CLUSTER_SIZE + (size % VMA_CLUSTER_SIZE != 0);
}

/* Bytes of the device in one of its clusters, 1..65536. */
static inline uint32_t vma_cluster_length(const struct vma_device *dev, uint64_t cluster)
{
	uint64_t left = dev->size - cluster * VMA_CLUSTER_SIZE;

	return left < VMA_CLUSTER_SIZE ? left : VMA_CLUSTER_SIZE;
}

/* The mask bits of the 4 KiB blocks that these bytes touch. */
static inline uint16_t vma_mask_of(uint32_t length)
{
	return (1u << ((length + VMA_BLOCK_SIZE - 1) / VMA_BLOCK_SIZE)) - 1;
}

/* NULL, or what is wrong with the size. */
const char *vma_size_fault(uint64_t size);

/* NULL, or what is wrong with the name of a configuration file. */
const char *vma_config_name_fault(const char *name);

/*
 * Reads header_size from the first VMA_HEADER_MIN bytes, having checked what
 * must be known before that many bytes are read: magic, version, bounds.
 */
int vma_header_peek(const uint8_t *fixed, uint32_t *header_size, struct vma_error *err);

/*
 * Decodes a whole header of the size that vma_header_peek() gave. Zeroes the
 * checksum field in buf. VMA_HEADER_MAX bounds the size; it lets in far more
 * than official writers make, and 256 blobs of 64 KiB for both names and data.
 */
int vma_header_decode(struct vma_header **h, uint8_t *buf, uint32_t len, struct vma_error *err);

/* The same whether its checksum is right or not, which *right tells. */
int vma_header_decode_damaged(struct vma_header **h, uint8_t *buf, uint32_t len, bool *right,
			      struct vma_error *err);

/* Reads a whole header from the beginning of a stream. right: NULL, or as above. */
int vma_header_read(struct vma_header **h, vma_read_fn read, void *ctx, bool *right,
		    struct vma_error *err);

#endif /* VMA_HEADER_H */
