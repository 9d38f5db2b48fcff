/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text: how messages are made, in every layer.
 *
 * Names come out of archives, so they may hold anything: whoever puts one into a
 * message or a listing passes it through vma_escape().
 */
#ifndef VMA_TEXT_H
#define VMA_TEXT_H

#include "libvma/vma.h"

/* Fills *err (NULL is allowed). */
void vma_error_set(struct vma_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Fills *err and is code, a negative errno; a macro so that compilers see that it is not 0. */
#define vma_fail(err, code, ...)	(vma_error_set((err), __VA_ARGS__), (code))

/* Room for a name in a message: longer ones end in "...". */
#define VMA_QUOTE_SIZE		96u
/* Room for any name in a listing. */
#define VMA_ESCAPED_SIZE	(4u * VMA_MAX_NAME + 1)

/* Copies text with a backslash and all bytes but printable ASCII as \xNN. Returns buf. */
const char *vma_escape(char *buf, size_t size, const char *text);

/* The same into a buffer that is an object of the caller's statement. */
struct vma_quote {
	char text[VMA_QUOTE_SIZE];
};
#define vma_quote(name)	vma_escape((struct vma_quote){ { 0 } }.text, VMA_QUOTE_SIZE, (name))

#endif /* VMA_TEXT_H */
