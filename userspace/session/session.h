/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session: one open file of /dev/vmabackup.
 *
 * Owns the descriptor, the mapping of the slots and the ioctls; nobody else
 * knows them. The order of calls and their meaning are the manual in
 * linux/dm-vmabackup.h. Return values and *err as in libvma/vma.h; -ESTALE
 * always means that the session is broken and session_status() says why.
 */
#ifndef SESSION_H
#define SESSION_H

#include <linux/dm-vmabackup.h>

#include "libvma/vma.h"

struct session;

struct session_disk {
	unsigned int number;	/* in this session */
	uint32_t chunk_size;	/* bytes */
	uint64_t size;		/* bytes */
	uint64_t nr_chunks;
};

/* How a session treats its disks; the values are those of the protocol. */
struct session_setup {
	unsigned int nr_slots;	/* each as large as the largest chunk of the disks */
	unsigned int reserve;	/* slots that FETCH leaves to guest writes */
	enum vmabackup_policy policy;
	enum vmabackup_on_cbw_error on_cbw_error;
	uint32_t cbw_timeout_ms;	/* 0: as the disks' table lines say */
	bool drop_discards;
};

/* Opens the device and checks the protocol's version. */
int session_open(struct session **s, struct vma_error *err);

/* Ends the session, at any point; NULL is allowed. */
void session_close(struct session *s);

/* fd is an open, readable dm device; name is for messages only. */
int session_add_disk(struct session *s, int fd, const char *name, struct session_disk *disk,
		     struct vma_error *err);

/* Settles how the session works, and makes and maps its slots. */
int session_setup(struct session *s, const struct session_setup *setup, struct vma_error *err);
uint32_t session_slot_size(const struct session *s);

/*
 * The instant. All disks must be suspended, so this neither allocates nor
 * formats a message; *bad_disk is the disk that is to blame, or ~0.
 */
int session_arm(struct session *s, unsigned int *bad_disk);

/* Queues a range of chunks. -ENOBUFS: the queue is full, reap first. */
int session_fetch(struct session *s, unsigned int disk, uint64_t first, uint64_t count,
		  struct vma_error *err);

/* Drops chunks nobody wants; *forgotten says how many there were. */
int session_forget(struct session *s, unsigned int disk, uint64_t first, uint64_t count,
		   uint64_t *forgotten, struct vma_error *err);

/*
 * Gives *nr_releases slots back (set to how many were taken) and takes up to
 * max completions, never waiting. Returns how many; 0 when nothing is left to
 * come; -EAGAIN when there are none now.
 */
int session_reap(struct session *s, const uint32_t *releases, unsigned int *nr_releases,
		 struct vmabackup_completion *completions, unsigned int max,
		 struct vma_error *err);

/* Waits for a completion. 1: look again, 0: nothing within timeout_ms, -EINTR: a signal. */
int session_wait(struct session *s, int timeout_ms);

/* The content of a slot that session_reap() delivered. */
const uint8_t *session_slot(const struct session *s, unsigned int slot);

int session_status(struct session *s, struct vmabackup_status *status, struct vma_error *err);

/* "timeout", "read-error", ...: the words of the target's status line. */
const char *session_reason_word(unsigned int reason);

#endif /* SESSION_H */
