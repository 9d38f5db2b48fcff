// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/header-json.h"

#include <stdio.h>

bool header_json_put_uuid(struct json_object *to, const struct vma_header *h)
{
	char uuid[2 * sizeof(h->uuid) + 1];

	for (unsigned int i = 0; i < sizeof(h->uuid); i++)
		snprintf(uuid + 2 * (size_t)i, 3, "%02x", h->uuid[i]);
	return json_put_text(to, "uuid", uuid);
}

struct json_object *header_json_add_config(struct json_object *list, const struct vma_config *c)
{
	struct json_object *o = json_object_new_object();
	bool ok = o && json_object_array_add(list, o) == 0 && json_put_name(o, "name", c->name) &&
		  json_put_u64(o, "size", c->size);

	return ok ? o : NULL;
}
