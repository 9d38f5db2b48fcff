/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zero: finding out that memory holds nothing but zeroes. */
#ifndef VMA_ZERO_H
#define VMA_ZERO_H

#include <stdbool.h>
#include <stddef.h>

bool vma_is_zero(const void *p, size_t len);

#endif /* VMA_ZERO_H */
