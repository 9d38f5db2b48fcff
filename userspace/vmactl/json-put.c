// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/json-put.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "libvma/text.h"

bool json_put(struct json_object *to, const char *key, struct json_object *value)
{
	return value && json_object_object_add(to, key, value) == 0;
}

bool json_put_null(struct json_object *to, const char *key)
{
	return json_object_object_add(to, key, NULL) == 0;
}

bool json_put_u64(struct json_object *to, const char *key, uint64_t value)
{
	return json_put(to, key, json_object_new_uint64(value));
}

bool json_put_bool(struct json_object *to, const char *key, bool value)
{
	return json_put(to, key, json_object_new_boolean(value));
}

bool json_put_text(struct json_object *to, const char *key, const char *text)
{
	return json_put(to, key, json_object_new_string(text));
}

bool json_put_name(struct json_object *to, const char *key, const char *name)
{
	char text[VMA_ESCAPED_SIZE];

	return json_put_text(to, key, vma_escape(text, sizeof(text), name));
}

/* Length of the UTF-8 character at p, 0 if there is none; NUL is none. */
static unsigned int utf8_length(const uint8_t *p, size_t left)
{
	unsigned int n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 :
			 *p < 0xf5 ? 4 : 0;

	if (!*p || !n || n > left)
		return 0;
	for (unsigned int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond the last character. */
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool json_is_text(const uint8_t *p, size_t len)
{
	while (len) {
		unsigned int n = utf8_length(p, len);

		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

bool json_put_path(struct json_object *to, const char *key, const char *path)
{
	char text[4 * PATH_MAX + 1];

	if (json_is_text((const uint8_t *)path, strlen(path)))
		return json_put_text(to, key, path);
	return json_put_text(to, key, vma_escape(text, sizeof(text), path));
}

void json_print(struct json_object *root)
{
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
}
