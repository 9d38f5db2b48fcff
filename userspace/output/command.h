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

/*
 * Returns the file descriptor to write to, which is non-blocking. What the command starts is
 * in a process group of its own, so that all of it can be ended, and only it. At the terminal
 * it can't ask therefore: it fails there.
 */
int command_start(const char *command, pid_t *child, struct vma_error *err);

/*
 * Waits for its end, the descriptor being closed: -EIO unless it exits with 0. -EINTR if
 * stop_fd (-1: none) could be read before that: then it was ended.
 */
int command_wait(pid_t child, const char *command, int stop_fd, struct vma_error *err);

/*
 * Ends it, waiting for all of its group, and closes the descriptor (-1: closed before), in this
 * order: see the code.
 */
void command_end(pid_t child, int fd);

#endif /* OUTPUT_COMMAND_H */
