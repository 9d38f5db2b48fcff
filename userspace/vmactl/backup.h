/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of "vmactl backup" share.
 *
 * cmd-backup.c owns the order of things; backup-args.c the command line;
 * backup-stop.c signals; backup-disks.c opens and checks the disks and where the archive lies;
 * backup-instant.c owns the moment of arming; backup-pump.c moves the chunks;
 * backup-rate.c limits how fast they are asked for; backup-summary.c tells how
 * it went. All of it runs in one thread; the kernel reads ahead into the slots
 * meanwhile, and the codec compresses in threads of its own.
 *
 * Functions return 0 or a negative errno with *err filled in, as the layers
 * below do.
 */
#ifndef VMACTL_BACKUP_H
#define VMACTL_BACKUP_H

#include <signal.h>
#include <stdio.h>

#include "codec/codec.h"
#include "devices/target.h"
#include "devices/window.h"
#include "output/output.h"
#include "session/session.h"
#include "vmactl/index-out.h"
#include "vmactl/progress.h"

/*
 * Memory of the slots unless --slots says otherwise. At 1 GB/s it holds what
 * arrives while the writer is away for 60 ms, and a host with 50 backups at
 * once still does not notice it.
 */
#define BACKUP_SLOT_MEMORY	(64u << 20)

/* Share of the slots that only guest writes may use. */
#define BACKUP_RESERVE_DIVISOR	4

struct backup_config {
	const char *path;
	char *name;		/* basename, as it will be in the archive */
	uint8_t *data;
	size_t size;
};

struct backup_options {
	const char *output;
	const char *summary;		/* NULL: none */
	struct codec_options codec;
	const char *compress;		/* as given */
	uint64_t bwlimit;		/* bytes per second; 0: none */
	unsigned int slots;		/* 0: BACKUP_SLOT_MEMORY's worth */
	enum vmabackup_policy policy;
	enum vmabackup_on_cbw_error on_cbw_error;
	uint32_t cbw_timeout_ms;	/* 0: as the disks' table lines say */
	bool drop_discards;
	bool progress;
	bool index;
	bool suspended;			/* the disks are, by whoever called us */
};

struct backup_disk {
	char *name;
	const char *path;
	int fd;
	dev_t dev;
	struct target target;
	struct session_disk geometry;
	unsigned int dev_id;		/* in the archive */
	uint64_t next;			/* first chunk that was not asked for yet */
	uint64_t *delivered;		/* with a bwlimit: a bit per chunk */
	uint64_t chunks_guest;
};

/* A token bucket; see backup-rate.c. */
struct backup_rate {
	uint64_t bytes_per_second;	/* 0: no limit */
	int64_t tokens;
	int64_t burst;
	uint64_t filled_ns;
};

/* What the summaries tell. */
struct backup_result {
	const char *outcome;		/* "ok", "failed", "broken", "interrupted" */
	int64_t ctime;
	uint8_t uuid[16];
	uint64_t duration_us;
	uint64_t window_us;
	uint64_t window_page_faults;
	uint64_t size;
	uint64_t done;			/* bytes of the disks that were delivered */
	uint64_t archive_bytes;
	struct vma_writer_stats writer;
	struct vmabackup_status session;
	bool broken;			/* the session is why it failed */
	dev_t archive_dev;		/* what the archive is, to keep off it */
	ino_t archive_ino;
};

struct backup {
	struct backup_options opt;
	struct backup_disk disks[VMABACKUP_MAX_DISKS];
	unsigned int nr_disks;
	unsigned int order[VMABACKUP_MAX_DISKS];	/* of suspending: upper devices first */
	struct backup_config configs[VMA_MAX_CONFIGS];
	unsigned int nr_configs;

	struct vma_header *header;
	struct vma_writer *writer;
	struct output *output;
	struct encoder *encoder;
	struct index_out *index;	/* NULL: none */
	struct session *session;
	struct window *window;
	unsigned int nr_slots;
	unsigned int reserve;
	int no_flusher;			/* errno of becoming an I/O flusher, or 0 */

	struct backup_rate rate;
	struct progress progress;
	struct backup_result result;
};

/* backup-stop.c: the flag is set by SIGINT, SIGTERM and SIGHUP. */
extern volatile sig_atomic_t backup_stop;
void backup_catch_signals(bool pipe);
/* They end the program again. */
void backup_leave_signals(void);
/* Unless something is being written to the pipe, who is told to stop does so in good order. */
void backup_writes(bool writes);

/* backup-args.c: an exit code; says itself what is wrong. Looks at no file. */
int backup_parse(struct backup *b, int argc, char **argv);
int backup_read_configs(struct backup *b, struct vma_error *err);
const char *backup_policy_word(enum vmabackup_policy policy);
/* "table" if it was left to the disks' table lines. */
const char *backup_cbw_error_word(enum vmabackup_on_cbw_error what);

/* backup-disks.c: -ENOTUNIQ if two are the same device. */
int backup_open_disks(struct backup *b, struct vma_error *err);
/* Fills b->order: the suspend of a device waits for ever once one below it is suspended. */
int backup_order_disks(struct backup *b, struct vma_error *err);
/* -EDEADLK if what is written to fd lands on a disk that is being backed up. */
int backup_check_place(const struct backup *b, int fd, const char *what, struct vma_error *err);

/* backup-instant.c: on success the session is armed and the disks run again. */
int backup_instant(struct backup *b, struct vma_error *err);

/* backup-pump.c: delivers every chunk into the archive. -EINTR if told to stop. */
int backup_pump(struct backup *b, struct vma_error *err);

/* backup-rate.c */
void backup_rate_init(struct backup_rate *r, uint64_t bytes_per_second, uint32_t largest_chunk);
/* Bytes that may be asked for now; INT64_MAX without a limit, negative in debt. */
int64_t backup_rate_allowed(struct backup_rate *r, uint64_t now_ns);
void backup_rate_charge(struct backup_rate *r, uint64_t bytes);
/* Milliseconds until at least one chunk may be asked for. */
int backup_rate_wait_ms(const struct backup_rate *r, uint32_t chunk);

/* backup-summary.c */
void backup_print_summary(const struct backup *b, FILE *to);
/*
 * The summary replaces what has its name, so that must be a file or nothing: -EEXIST if it is
 * a device, a pipe, a symbolic link or the like.
 */
int backup_summary_place(const char *path, struct vma_error *err);
/* error: NULL if all went well. */
int backup_write_summary(const struct backup *b, const char *error, struct vma_error *err);
/* Why the session broke, in words. */
void backup_explain_break(const struct backup *b, struct vma_error *err);

uint64_t backup_now_ns(void);

#endif /* VMACTL_BACKUP_H */
