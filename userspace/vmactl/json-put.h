/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json-put: members of JSON objects, and those on standard output. False: no memory. */
#ifndef JSON_PUT_H
#define JSON_PUT_H

#include <json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes value; a value that could not be made (NULL) makes the whole fail. */
bool json_put(struct json_object *to, const char *key, struct json_object *value);
bool json_put_null(struct json_object *to, const char *key);
bool json_put_u64(struct json_object *to, const char *key, uint64_t value);
bool json_put_bool(struct json_object *to, const char *key, bool value);
bool json_put_text(struct json_object *to, const char *key, const char *text);
/* Of something in an archive: escaped. */
bool json_put_name(struct json_object *to, const char *key, const char *name);
/* As it is, or what can be shown of it: JSON is text. */
bool json_put_path(struct json_object *to, const char *key, const char *path);

/* On standard output, in lines. */
void json_print(struct json_object *root);

/* Whether it is UTF-8 without NUL. */
bool json_is_text(const uint8_t *p, size_t len);

#endif /* JSON_PUT_H */
