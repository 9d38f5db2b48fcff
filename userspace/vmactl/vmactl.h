/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmactl: what the commands share. Commands are the only code that prints and
 * decides on the exit code.
 */
#ifndef VMACTL_H
#define VMACTL_H

#include "libvma/vma.h"

/* Exit codes, documented in vmactl(8). */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,	/* the work failed; nothing was left behind */
	EXIT_USAGE = 2,		/* bad command line; nothing was done */
	EXIT_BAD_ARCHIVE = 3,	/* the archive is damaged or incomplete */
	EXIT_SNAPSHOT_BROKEN = 4, /* the instant was lost (break-snapshot) */
	EXIT_INTERRUPTED = 5,	/* ended by SIGINT or SIGTERM */
	EXIT_SALVAGED = 6,	/* extract --salvage: something of the archive is damaged */
};

struct command {
	const char *name;
	const char *usage;	/* arguments, one line */
	const char *help;	/* one line */
	int (*run)(int argc, char **argv);	/* argv[0] is the command's name */
};

extern const struct command cmd_backup, cmd_status;			/* need the kernel */
extern const struct command cmd_create;
extern const struct command cmd_list, cmd_config, cmd_verify, cmd_extract; /* archives */
extern const struct command cmd_info, cmd_index, cmd_cat;	/* any place of archives */

/* Prints "vmactl: ..." and a newline on stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints "vmactl NAME: ..." and a pointer to the command's usage; returns EXIT_USAGE. */
int usage_error(const struct command *cmd, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What is in an archive, as "vma list" prints it; cmd-list.c. */
void print_listing(const struct vma_header *h);

/* For getopt() with a ':' first in its string: c is ':' or '?'; returns EXIT_USAGE. */
int option_error(const struct command *cmd, int c, char **argv);

#endif /* VMACTL_H */
