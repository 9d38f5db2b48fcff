/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only file that knows that kernels differ.  What a kernel has is found
 * out by compiling probes/<name>.c (see Kbuild), never by its version:
 * distribution kernels carry newer interfaces under old numbers.
 */
#ifndef VMAB_COMPAT_H
#define VMAB_COMPAT_H

#include <linux/mm.h>

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
