/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * data-sum: checksums of an extent's data, where other readers skip them.
 *
 * The bytes are laid out in Documentation/vma-checksums.rst. One XXH3 per cluster; of
 * each, 8 bits stand with the cluster, and 48 bits of the sum of all in the last blockinfo,
 * which names no device. So the latter proves the data, the former tell where it is
 * damaged.
 */
#ifndef VMA_DATA_SUM_H
#define VMA_DATA_SUM_H

#include "libvma/vma.h"

/* The sum of a cluster, made piece by piece. */
struct data_sum;

struct data_sum *data_sum_new(void);	/* NULL: no memory */
void data_sum_free(struct data_sum *s);
void data_sum_begin(struct data_sum *s);
void data_sum_add(struct data_sum *s, const void *data, size_t len);
uint64_t data_sum_end(const struct data_sum *s);

/* Sums of the first nr clusters of an extent's header, into it. */
void data_sum_put(uint8_t *extent, const uint64_t *sums, unsigned int nr);

struct data_check {
	bool there;		/* the extent has a sum */
	bool right;		/* which its data has */
	uint64_t differs;	/* by number of blockinfo: that cluster's own bits are others */
};

bool data_sum_there(const uint8_t *extent);

/* data: all that the header, which was checked, says. */
struct data_check data_sum_check(const uint8_t *extent, const uint8_t *data);

#endif /* VMA_DATA_SUM_H */
