// SPDX-License-Identifier: GPL-2.0
/* vm_flags_mod(): vma->vm_flags is changed by accessors only. */
#include <linux/mm.h>

void probe(struct vm_area_struct *vma);
void probe(struct vm_area_struct *vma)
{
	vm_flags_mod(vma, VM_DONTCOPY, VM_MAYWRITE);
}
