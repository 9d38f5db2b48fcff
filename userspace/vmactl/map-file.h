/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map-file: where disks are to go, as "vma extract -r" is told by a FIFO.
 *
 * One line for each disk, read after the archive's content was listed:
 *
 *	[format=raw:][throttling.bps=N:][throttling.group=G:][cache=MODE:]{0|1}:NAME=PATH
 *	skip=NAME
 *
 * 1 means that zeroes are to be written, 0 that the target reads as zeroes already. It
 * ends with "done", an empty line, or the end of the file.
 */
#ifndef MAP_FILE_H
#define MAP_FILE_H

#include "libvma/vma.h"

struct map_line {
	char *text;		/* owns what the others point to */
	const char *target;	/* "NAME=PATH", or the NAME that is skipped */
	bool skip;
	bool write_zeroes;
	bool raw;		/* format=raw was given */
	bool use_cache;
	uint64_t bps;		/* 0: no limit */
	const char *group;	/* those of a group share its limit; NULL: alone */
};

struct map_file {
	struct map_line lines[VMA_MAX_DEVICES];
	unsigned int nr;
};

/* stop_fd: as of stop.h; -EINTR when a signal came. */
int map_file_read(struct map_file *m, const char *path, int stop_fd, struct vma_error *err);
void map_file_free(struct map_file *m);

#endif /* MAP_FILE_H */
