/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * temporary: the name of an archive that is not complete, and what becomes of
 * it when its writer was killed.
 *
 * The name is "<final name>.tmp-<host>-<pid>". The writer holds a lock (flock) on
 * the file as long as it lives. A file with such a name, made on this host by
 * this user, that nobody locks and whose process is gone can only be a leftover, unless it is
 * read-only: that one is complete, and could not be given its name.
 * The host is part of the name because locks may not reach across a network.
 */
#ifndef OUTPUT_TEMPORARY_H
#define OUTPUT_TEMPORARY_H

#include <stdbool.h>

/* The temporary name for name, of this process; the caller frees it. NULL: no memory. */
char *temporary_name(const char *name);

/* Locks fd as its writer. */
void temporary_lock(int fd);

/* It is complete: no sweep is to remove it. false: they will. */
bool temporary_keep(int dir, const char *name);

/* Removes leftovers of VMA archives in the directory; returns how many. */
unsigned int temporary_sweep(int dir);

#endif /* OUTPUT_TEMPORARY_H */
