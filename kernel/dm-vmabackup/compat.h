/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only file that knows that kernels differ.  What a kernel has is found
 * out by compiling probes/<name>.c (see Kbuild), never by its version:
 * distribution kernels carry newer interfaces under old numbers.
 */
#ifndef VMAB_COMPAT_H
#define VMAB_COMPAT_H

#include <linux/blkdev.h>
#include <linux/mm.h>

/* What dm_table_get_mode() returns: does it allow writing? */
#ifdef VMAB_HAVE_BLK_MODE
static inline bool vmab_mode_writes(blk_mode_t mode)
{
	return mode & BLK_OPEN_WRITE;
}
#else
static inline bool vmab_mode_writes(fmode_t mode)
{
	return mode & FMODE_WRITE;
}
#endif

/* vma->vm_flags became read-only in favour of accessors. */
static inline void vmab_vm_flags_mod(struct vm_area_struct *vma, unsigned long set,
				     unsigned long clear)
{
#ifdef VMAB_HAVE_VM_FLAGS_MOD
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

#endif /* VMAB_COMPAT_H */
