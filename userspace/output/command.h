/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command: a shell command whose standard input is written to.
 *
 * Whether it did its work is its exit status, which is asked for after the last byte.
 */
#ifndef OUTPUT_COMMAND_H
#define OUTPUT_COMMAND_H

#include <sys/types.h>

#include "libvma/vma.h"

/* Returns the file descriptor to write to. */
int command_start(const char *command, pid_t *child, struct vma_error *err);

/* Waits for its end, the descriptor being closed: -EIO unless it exits with 0. */
int command_wait(pid_t child, const char *command, struct vma_error *err);

/* Before the descriptor is closed: or it would take what it got for everything. */
void command_kill(pid_t child);

#endif /* OUTPUT_COMMAND_H */
