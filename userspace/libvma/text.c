// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages, and names of unknown origin within them. */
#include "libvma/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What was cut off may have begun in the middle of a UTF-8 character: none stays in part. */
static void cut_character(char *text)
{
	size_t len = strlen(text);

	while (len && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
		len--;
	if (len && (unsigned char)text[len - 1] >= 0xc0)
		text[len - 1] = '\0';
}

void vma_error_set(struct vma_error *err, const char *fmt, ...)
{
	va_list args;
	int len;

	if (!err)
		return;
	va_start(args, fmt);
	len = vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	if (len >= (int)sizeof(err->text))
		cut_character(err->text);
}

const char *vma_escape(char *buf, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	static const char more[] = "...";
	size_t len = 0;

	for (; *text; text++) {
		unsigned char c = *text;
		bool plain = c >= 0x20 && c < 0x7f && c != '\\';
		size_t need = plain ? 1 : 4;

		/* Unless this is the last byte of all, leave room to say that there is more. */
		if (len + need + (text[1] ? sizeof(more) : 1) > size) {
			memcpy(buf + len, more, sizeof(more));
			return buf;
		}
		if (plain) {
			buf[len++] = c;
		} else {
			buf[len++] = '\\';
			buf[len++] = 'x';
			buf[len++] = hex[c >> 4];
			buf[len++] = hex[c & 15];
		}
	}
	buf[len] = '\0';
	return buf;
}
