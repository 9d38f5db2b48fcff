/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info: what is known about an archive, and its two forms. */
#ifndef INFO_H
#define INFO_H

#include "archive/archive.h"

/* Shared by the text and the JSON. */
struct info {
	const char *path;
	const struct vma_header *header;
	enum codec_kind codec;
	bool is_file;			/* else file_size is not known */
	bool random_access;		/* any place of it can be read at once */
	enum archive_index index;
	const char *index_fault;	/* of one that was refused */
	struct archive_facts facts;
	struct archive_device_facts devices[256];	/* by dev_id */
};

/* Both on standard output; -ENOMEM. */
void info_print_text(const struct info *info);
int info_print_json(const struct info *info);

/* "beside", "none", "refused" */
const char *info_index_name(enum archive_index state);

#endif /* INFO_H */
