// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl backup: the command line and the order of things.
 *
 * Whatever can go wrong is tried before a disk is touched: arguments, disks, config
 * files, the archive's place, the header's bytes in it. Then comes the instant;
 * from there on every way out first ends the session, so that guests go on,
 * and then removes what was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libvma/text.h"
#include "vmactl/backup.h"
#include "vmactl/vmactl.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/*
 * Stack of the compressor's threads. Locked memory includes all of a stack:
 * the usual 8 MiB would cost more than the slots. zstd needs far less than this.
 */
#define THREAD_STACK	(1u << 20)

uint64_t backup_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- making ready ---------------------------------------------------- */

/* Everything that needs no disk and leaves nothing behind. */
static int check_output(struct backup *b, struct vma_error *err)
{
	struct stat st;

	if (!strcmp(b->opt.output, "-") || lstat(b->opt.output, &st) != 0)
		return 0;
	/* Nor may the summary that says so overwrite it. */
	b->result.archive_dev = st.st_dev;
	b->result.archive_ino = st.st_ino;
	return vma_fail(err, -EEXIST, "%s exists; an archive is never overwritten",
				b->opt.output);
}

/* The caller frees it. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

static int check_summary_place(const char *path, struct vma_error *err)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	int r = backup_summary_place(path, err);

	if (r)
		return r;
	dir = directory_of(path);
	if (!dir)
		return vma_fail(err, -ENOMEM, "out of memory");
	if ((slash && !slash[1]) || access(dir, W_OK | X_OK) < 0)
		r = vma_fail(err, -EACCES, "the summary %s cannot be written there", path);
	free(dir);
	return r;
}

/* Better now than after hours. If it fails, no summary will be written. */
static int check_summary(struct backup *b, struct vma_error *err)
{
	int r = b->opt.summary ? check_summary_place(b->opt.summary, err) : 0;

	if (r)
		b->opt.summary = NULL;
	return r;
}

/*
 * Before a file is made there: with --suspended that would wait for the very
 * disk that waits for us. What is wrong with the directory output_open() says.
 */
static int check_directory(const struct backup *b, struct vma_error *err)
{
	char *dir;
	int fd, r;

	if (!strcmp(b->opt.output, "-"))
		return 0;
	dir = directory_of(b->opt.output);
	if (!dir)
		return vma_fail(err, -ENOMEM, "out of memory");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (fd < 0)
		return 0;
	r = backup_check_place(b, fd, "the archive", err);
	close(fd);
	return r;
}

static void sweep(const struct backup *b)
{
	unsigned int n = output_sweep(b->opt.output);

	if (n)
		complain("removed %u unfinished archive%s of backups that were killed", n,
			 n == 1 ? "" : "s");
}

static int open_output(struct backup *b, struct vma_error *err)
{
	struct stat st;
	int r;

	r = check_directory(b, err);
	/* A log that waits for a suspended disk would be no better; and before anything is said. */
	if (!r && fstat(STDERR_FILENO, &st) == 0)
		r = backup_check_place(b, STDERR_FILENO, "standard error", err);
	if (r)
		return r;
	/* A large file may take seconds to go: not while guests stand still. */
	if (!b->opt.suspended)
		sweep(b);
	r = output_open(&b->output, b->opt.output, err);
	if (r)
		return r;
	r = backup_check_place(b, output_fd(b->output), "the archive", err);
	if (r)
		return r;
	if (fstat(output_fd(b->output), &st) < 0)
		return vma_fail(err, -errno, "cannot look at the archive: %s", strerror(errno));
	b->result.archive_dev = st.st_dev;
	b->result.archive_ino = st.st_ino;
	return 0;
}

static int start_window(struct backup *b, struct vma_error *err)
{
	dev_t devs[VMABACKUP_MAX_DISKS];
	unsigned int i;
	int r;

	r = backup_order_disks(b, err);
	if (r)
		return r;
	for (i = 0; i < b->nr_disks; i++)
		devs[i] = b->disks[b->order[i]].dev;
	return window_new(&b->window, devs, b->nr_disks, b->opt.suspended, err);
}

static int start_session(struct backup *b, struct vma_error *err)
{
	struct session_setup setup = {
		.policy = b->opt.policy,
		.on_cbw_error = b->opt.on_cbw_error,
		.cbw_timeout_ms = b->opt.cbw_timeout_ms,
		.drop_discards = b->opt.drop_discards,
	};
	struct backup_disk *d;
	unsigned int i;
	int r;

	r = session_open(&b->session, err);
	if (r)
		return r;
	for (i = 0; i < b->nr_disks; i++) {
		d = &b->disks[i];
		r = session_add_disk(b->session, d->fd, d->name, &d->geometry, err);
		if (r)
			return r;
		b->result.size += d->geometry.size;
	}
	b->nr_slots = b->opt.slots;
	if (!b->nr_slots)
		b->nr_slots = BACKUP_SLOT_MEMORY / session_slot_size(b->session);
	b->reserve = b->nr_slots / BACKUP_RESERVE_DIVISOR;
	if (!b->reserve)
		b->reserve = 1;
	setup.nr_slots = b->nr_slots;
	setup.reserve = b->reserve;
	return session_setup(b->session, &setup, err);
}

static int make_header(struct backup *b, struct vma_error *err)
{
	struct backup_result *res = &b->result;
	unsigned int i;
	int r;

	if (getrandom(res->uuid, sizeof(res->uuid), 0) != sizeof(res->uuid))
		return vma_fail(err, -EIO, "the kernel gives no random numbers");
	res->uuid[6] = (uint8_t)((res->uuid[6] & 0x0f) | 0x40);
	res->uuid[8] = (uint8_t)((res->uuid[8] & 0x3f) | 0x80);
	b->header = vma_header_new(res->uuid, res->ctime);
	if (!b->header)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (i = 0; i < b->nr_disks; i++) {
		r = vma_header_add_device(b->header, b->disks[i].name, b->disks[i].geometry.size,
					  err);
		if (r < 0)
			return r;
		b->disks[i].dev_id = (unsigned int)r;
	}
	for (i = 0; i < b->nr_configs; i++) {
		r = vma_header_add_config(b->header, b->configs[i].name, b->configs[i].data,
					  b->configs[i].size, err);
		if (r < 0)
			return r;
	}
	return vma_writer_new(&b->writer, b->header, err);
}

/* Starts the compressor's threads too: they must be there when memory is locked. */
static int write_header(struct backup *b, struct vma_error *err)
{
	struct iovec iov;
	pthread_attr_t attr;
	uint8_t *buf;
	size_t len;
	int r;

	r = make_header(b, err);
	if (r)
		return r;
	if (!pthread_attr_init(&attr)) {
		if (!pthread_attr_setstacksize(&attr, THREAD_STACK))
			pthread_setattr_default_np(&attr);
		pthread_attr_destroy(&attr);
	}
	b->opt.codec.threads = codec_threads(&b->opt.codec);
	r = encoder_new(&b->encoder, &b->opt.codec, output_write, b->output, err);
	if (r)
		return r;
	r = vma_header_encode(b->header, &buf, &len, err);
	if (r)
		return r;
	iov.iov_base = buf;
	iov.iov_len = len;
	r = encoder_write(b->encoder, &iov, 1, err);
	free(buf);
	if (!r && b->opt.index)
		b->index = index_out_open(b->opt.output, b->header, iov.iov_len);
	return r;
}

/* ---- the order of things --------------------------------------------- */

static int stopped(struct vma_error *err)
{
	return backup_stop ? vma_fail(err, -EINTR, "stopped by a signal") : 0;
}

/* The session's last words, and then the guests go on alone. */
static void end_session(struct backup *b)
{
	struct vma_error ignored;

	if (!b->session)
		return;
	if (session_status(b->session, &b->result.session, &ignored))
		memset(&b->result.session, 0, sizeof(b->result.session));
	session_close(b->session);
	b->session = NULL;
}

static int prepare(struct backup *b, struct vma_error *err)
{
	int r = open_output(b, err);

	if (!r)
		r = start_session(b, err);
	if (!r)
		r = write_header(b, err);
	return r ? r : stopped(err);
}

/* The instant, and all that is to be had of it. */
static int copy_disks(struct backup *b, struct vma_error *err)
{
	int r = backup_instant(b, err);

	if (r)
		return r;
	progress_start(&b->progress, b->opt.progress, b->result.size);
	return backup_pump(b, err);
}

static int transfer(struct backup *b, struct vma_error *err)
{
	int r;

	r = copy_disks(b, err);
	backup_writes(false);
	end_session(b);
	/* ESTALE alone may be the archive's file system. */
	b->result.broken = r == -ESTALE &&
			   b->result.session.state == VMABACKUP_STATE_BROKEN;
	if (b->result.broken)
		backup_explain_break(b, err);
	if (r)
		return r;
	backup_writes(true);
	r = encoder_finish(b->encoder, err);
	if (r)
		return r;
	r = stopped(err);
	if (r)
		return r;
	b->result.archive_bytes = output_bytes(b->output);
	r = output_commit(b->output, err);
	b->output = NULL;
	if (!r) {
		index_out_commit(b->index, b->result.archive_bytes);
		b->index = NULL;
	}
	return r;
}

static int exit_code(const struct backup *b, int r)
{
	if (!r)
		return EXIT_OK;
	if (b->result.broken && b->result.session.reason != VMABACKUP_REASON_READ_ERROR)
		return EXIT_SNAPSHOT_BROKEN;
	return backup_stop ? EXIT_INTERRUPTED : EXIT_FAILED;
}

static void discard_output(struct backup *b)
{
	if (b->output)
		b->result.archive_bytes = output_bytes(b->output);
	encoder_free(b->encoder);
	b->encoder = NULL;
	index_out_abort(b->index);
	b->index = NULL;
	output_abort(b->output);
	b->output = NULL;
}

static void release(struct backup *b)
{
	unsigned int i;

	window_free(b->window);
	vma_writer_free(b->writer);
	vma_header_free(b->header);
	for (i = 0; i < b->nr_disks; i++) {
		if (b->disks[i].fd >= 0)
			close(b->disks[i].fd);
		free(b->disks[i].name);
		free(b->disks[i].delivered);
	}
	for (i = 0; i < b->nr_configs; i++) {
		free(b->configs[i].name);
		free(b->configs[i].data);
	}
	free(b);
}

/* The summary in words; who closed standard output does not want it there. */
static int print_summary(const struct backup *b)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);
	bool closed = flags < 0 || (flags & O_ACCMODE) == O_RDONLY;

	if (!strcmp(b->opt.output, "-"))
		backup_print_summary(b, stderr);
	else if (!closed)
		backup_print_summary(b, stdout);
	if (fflush(stdout) == 0)
		return 0;
	complain("cannot write standard output: %s; the archive itself is good", strerror(errno));
	/* Said once. */
	__fpurge(stdout);
	clearerr(stdout);
	return -EIO;
}

static int report(struct backup *b, int r, const struct vma_error *err)
{
	static const char *const outcomes[] = {
		[EXIT_OK] = "ok",
		[EXIT_FAILED] = "failed",
		[EXIT_SNAPSHOT_BROKEN] = "broken",
		[EXIT_INTERRUPTED] = "interrupted",
	};
	struct vma_error summary_error;
	int code = exit_code(b, r), unsaid = 0;

	/* First what waits for nobody. */
	b->result.outcome = outcomes[code];
	if (b->opt.summary)
		unsaid = backup_write_summary(b, r ? err->text : NULL, &summary_error);
	/* Nothing is left to be tidied up, and what comes now may have to wait. */
	backup_leave_signals();
	if (!r && b->opt.suspended)
		sweep(b);
	if (b->no_flusher)
		complain("warning: cannot become an I/O flusher (%s): with very little memory left, guests and backup may wait for each other",
			 strerror(b->no_flusher));
	if (r)
		complain("%s", err->text);
	if (unsaid)
		complain("%s%s", summary_error.text, r ? "" : "; the archive itself is good");
	if (r)
		return code;
	if (print_summary(b))
		unsaid = -EPIPE;
	return unsaid ? EXIT_FAILED : code;
}

/*
 * Before anything is made, and nothing is looked at that could lie on a suspended disk before
 * the watchdog is there. *usage: it is the command line that is wrong.
 */
static int look_before(struct backup *b, bool *usage, struct vma_error *err)
{
	int r;

	r = b->opt.suspended ? 0 : check_summary(b, err);
	if (r)
		return r;
	r = backup_open_disks(b, err);
	if (r) {
		*usage = r == -ENOTUNIQ;
		return r;
	}
	/* Inherited by the watchdog and by the compressor's threads. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		b->no_flusher = errno;
	/* From here on a signal must not end us in the middle: disks may stand still for us. */
	backup_catch_signals(!strcmp(b->opt.output, "-"));
	r = start_window(b, err);
	if (!r && b->opt.suspended)
		r = check_summary(b, err);
	if (r)
		return r;
	r = backup_read_configs(b, err);
	if (!r && b->opt.index)
		r = index_out_allowed(b->opt.output, b->opt.codec.kind, err);
	if (r) {
		*usage = true;
		return r;
	}
	return check_output(b, err);
}

static int back_up(struct backup *b)
{
	uint64_t started = backup_now_ns();
	struct vma_error err = { "" };
	bool usage = false;
	int r;

	r = look_before(b, &usage, &err);
	if (!r)
		r = prepare(b, &err);
	if (!r)
		r = transfer(b, &err);
	backup_writes(false);
	/* It might lie on a disk that is suspended, and that nobody resumes while we wait. */
	if (b->opt.suspended && !b->window)
		b->opt.summary = NULL;
	/* Guests first, and what was written is gone before anything is said. */
	end_session(b);
	window_free(b->window);
	b->window = NULL;
	discard_output(b);
	b->result.duration_us = (backup_now_ns() - started) / 1000;
	if (!usage)
		return report(b, r, &err);
	backup_leave_signals();
	return usage_error(&cmd_backup, "%s", err.text);
}

static int run(int argc, char **argv)
{
	struct backup *b = calloc(1, sizeof(*b));
	int code;

	if (!b) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	b->result.ctime = time(NULL);
	code = backup_parse(b, argc, argv) ? EXIT_USAGE : back_up(b);
	release(b);
	return code;
}

const struct command cmd_backup = {
	.name = "backup",
	.usage = "--disk NAME=DEVICE... [--config FILE]... --output FILE|- "
		 "[--compress none|zstd|gzip|lzo[:LEVEL]] [--bwlimit RATE[K|M|G]] [--slots N] "
		 "[--policy auto|ring|fleece] [--on-cbw-error break-snapshot|break-guest-write] "
		 "[--cbw-timeout SECONDS] [--drop-discards] [--suspended] "
		 "[--index] [--progress] [--json-summary FILE]",
	.help = "Backs up disks that are in use, exact as of one instant, into a VMA archive.",
	.run = run,
};
