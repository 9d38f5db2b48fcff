/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config-file: a file that is put into an archive as a configuration. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include "libvma/vma.h"

/* Reads all of it (the caller frees); option: the one that named it. -E2BIG beyond VMA_MAX_BLOB. */
int config_file_read(const char *option, const char *path, uint8_t **data, size_t *size,
		     struct vma_error *err);

/* The last component of the path, which is its name in the archive. */
const char *config_file_name(const char *path);

#endif /* CONFIG_FILE_H */
