/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * new-dir: a directory that appears under its name only when all of it is there.
 *
 * Owns the temporary directory "<path>.tmp-<pid>" beside the final one, mode
 * 0700: disks and configurations are nobody else's business.
 */
#ifndef NEW_DIR_H
#define NEW_DIR_H

#include "libvma/vma.h"

struct new_dir;

/* -EEXIST if the path exists. */
int new_dir_open(struct new_dir **d, const char *path, struct vma_error *err);

/* Creates a file within, mode 0600: a file descriptor. -EEXIST if the name was used. */
int new_dir_create(struct new_dir *d, const char *name, struct vma_error *err);

/* Writes a whole small file. */
int new_dir_put(struct new_dir *d, const char *name, const void *data, size_t size,
		struct vma_error *err);

/*
 * The files being on disk, makes the directory so, and gives it its name, which *named tells,
 * also if it fails: the directory around it may not be flushed. Frees d.
 */
int new_dir_commit(struct new_dir *d, bool *named, struct vma_error *err);

/* Removes it with all files in it; frees d. NULL is allowed. */
void new_dir_abort(struct new_dir *d);

#endif /* NEW_DIR_H */
