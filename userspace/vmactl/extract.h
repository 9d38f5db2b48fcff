/* SPDX-License-Identifier: GPL-2.0-or-later */
/* extract: one run of "vmactl extract", what was asked for and what is open. */
#ifndef EXTRACT_H
#define EXTRACT_H

#include "vmactl/archive-in.h"
#include "vmactl/map-file.h"
#include "vmactl/new-dir.h"
#include "vmactl/restore.h"
#include "vmactl/sink.h"
#include "vmactl/throttle.h"

struct extract {
	/* As given. */
	const char *archive;
	const char *directory;		/* NULL: maps say where disks go */
	const char **maps;		/* "NAME=PATH" */
	unsigned int nr_maps;
	const char **skips;		/* "NAME" */
	unsigned int nr_skips;
	char **zeroed;			/* "NAME" */
	unsigned int nr_zeroed;
	char *only;			/* "NAME,NAME,..."; NULL: all */
	const char *map_path;		/* NULL: none */
	bool verbose;
	bool salvage;			/* what is not damaged */
	bool likely;			/* and what is likely not */
	bool json;			/* what was damaged, on standard output */

	struct map_file map;
	struct new_dir *dir;
	const struct vma_header *made;	/* the directory with these configurations is there */
	struct sink *sinks[256];	/* by dev_id; NULL: left out */
	const char *groups[256];	/* by dev_id; NULL: none */
	struct throttle throttles[256];	/* by dev_id of the first one of its group */
	struct throttle *limits[256];	/* by dev_id; NULL: none */
};

/* ---- extract-places.c ---- */

/*
 * Names that were given must be in the archive: a mistyped one would leave a disk out.
 * The rest of the command line's check, now that the names are known: an exit code.
 */
int extract_check_names(const struct extract *x, const struct vma_header *h);
/* The archive must not be below a disk that is about to be overwritten. */
int extract_check_apart(const struct extract *x, const struct archive_in *in,
			struct vma_error *err);
int extract_open_sinks(struct extract *x, const struct vma_header *h, struct vma_error *err);
/* Tells what is in the archive, and is told where it goes. */
int extract_ask_for_map(struct extract *x, const struct vma_header *h, int stop_fd,
			struct vma_error *err);
void extract_remove_made(const struct extract *x);

/* ---- extract-salvage.c ---- */

struct damage;

/*
 * All that can be read was written: makes the rest zeroes, where there may be something
 * else, tells what is lost, and leaves that in the directory too. *code: what to exit with.
 */
int extract_salvaged(struct extract *x, struct vma_reader *r, struct damage *d, int stop_fd,
		     int *code, struct vma_error *err);

#endif /* EXTRACT_H */
