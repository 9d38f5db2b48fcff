/* SPDX-License-Identifier: GPL-2.0-or-later */
/* header-json: what of an archive's header more than one command says in JSON. */
#ifndef HEADER_JSON_H
#define HEADER_JSON_H

#include "libvma/vma.h"
#include "vmactl/json-put.h"

/* "uuid"; false: no memory. */
bool header_json_put_uuid(struct json_object *to, const struct vma_header *h);

/* Adds a configuration file to the list, by name and size; NULL: no memory. */
struct json_object *header_json_add_config(struct json_object *list, const struct vma_config *c);

#endif /* HEADER_JSON_H */
