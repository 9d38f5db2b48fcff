// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How a backup went: in words, and as JSON for programs. The JSON's names are
 * an interface: they are documented in vmactl(8) and only ever added to.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <json.h>

#include "libvma/text.h"
#include "vmactl/backup.h"
#include "vmactl/json-put.h"

#define SUMMARY_VERSION	1

static void format_uuid(const uint8_t u[16], char text[37])
{
	snprintf(text, 37,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
		 u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
		 u[14], u[15]);
}

/* Bytes of the disks that are all zero and so take no room in the archive. */
static uint64_t sparse_bytes(const struct backup_result *r)
{
	return r->done > r->writer.data_bytes ? r->done - r->writer.data_bytes : 0;
}

void backup_print_summary(const struct backup *b, FILE *to)
{
	const struct backup_result *r = &b->result;
	double seconds = (double)r->duration_us / 1e6;
	char size[32], rate[32], archive[32];

	fprintf(to, "backed up %s of %u disk%s in %.1f s (%s/s)\n",
		format_bytes(r->size, size, sizeof(size)), b->nr_disks, b->nr_disks == 1 ? "" : "s",
		seconds,
		format_bytes(seconds > 0 ? (uint64_t)((double)r->size / seconds) : 0, rate,
			     sizeof(rate)));
	fprintf(to, "archive: %s (%" PRIu64 " bytes), sparse %.0f%%\n",
		format_bytes(r->archive_bytes, archive, sizeof(archive)), r->archive_bytes,
		r->done ? (double)sparse_bytes(r) * 100 / (double)r->done : 0);
	fprintf(to,
		"guest writes: pushed %" PRIu64 " of %" PRIu64 " chunks, %" PRIu64
		" were held, the longest for %.3f ms\n",
		(uint64_t)r->session.chunks_guest, (uint64_t)r->session.chunks_total,
		(uint64_t)r->session.writes_held, (double)r->session.longest_wait_us / 1000);
	if (r->session.chunks_spilled)
		fprintf(to, "fleece devices: took %" PRIu64 " of these chunks\n",
			(uint64_t)r->session.chunks_spilled);
	if (r->session.fleece_error)
		fprintf(to, "warning: a fleece device failed (%s); guest writes had to wait for memory instead\n",
			strerror((int)r->session.fleece_error));
	if (r->session.writes_failed)
		fprintf(to, "warning: %" PRIu64 " guest writes were failed with an I/O error, as break-guest-write demands\n",
			(uint64_t)r->session.writes_failed);
	if (r->session.discards_dropped)
		fprintf(to, "guest discards: %" PRIu64 " were dropped\n",
			(uint64_t)r->session.discards_dropped);
	fprintf(to, "disks were suspended for %.3f ms\n", (double)r->window_us / 1000);
}

static void add_u64(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

/* What is no text, as a path in another encoding may be, is escaped. */
static void add_text(struct json_object *o, const char *name, const char *text)
{
	if (text)
		json_put_path(o, name, text);
	else
		json_put_null(o, name);
}

static struct json_object *disks_json(const struct backup *b)
{
	struct json_object *disks = json_object_new_array(), *o;
	const struct backup_disk *d;
	unsigned int i;

	for (i = 0; i < b->nr_disks; i++) {
		d = &b->disks[i];
		o = json_object_new_object();
		add_text(o, "name", d->name);
		add_text(o, "device", d->path);
		add_text(o, "dm_name", d->target.name);
		add_u64(o, "size_bytes", d->geometry.size);
		add_u64(o, "chunk_bytes", d->geometry.chunk_size);
		add_u64(o, "chunks", d->geometry.nr_chunks);
		add_u64(o, "chunks_guest", d->chunks_guest);
		json_object_object_add(o, "fleece",
				       json_object_new_boolean(d->target.table.has_fleece));
		json_object_array_add(disks, o);
	}
	return disks;
}

static struct json_object *summary_json(const struct backup *b, const char *error)
{
	const struct backup_result *r = &b->result;
	struct json_object *o = json_object_new_object();
	char uuid[37];

	format_uuid(r->uuid, uuid);
	add_u64(o, "version", SUMMARY_VERSION);
	add_text(o, "outcome", r->outcome);
	add_text(o, "error", error);
	add_text(o, "archive", b->opt.output);
	add_text(o, "uuid", uuid);
	json_object_object_add(o, "ctime", json_object_new_int64(r->ctime));
	add_text(o, "compress", b->opt.compress);
	add_u64(o, "bwlimit_bytes_per_s", b->opt.bwlimit);
	add_u64(o, "slots", b->nr_slots);
	add_text(o, "policy", backup_policy_word(b->opt.policy));
	add_text(o, "on_cbw_error", backup_cbw_error_word(b->opt.on_cbw_error));
	/* 0: as the table lines say */
	add_u64(o, "cbw_timeout_ms", b->opt.cbw_timeout_ms);
	json_object_object_add(o, "drop_discards", json_object_new_boolean(b->opt.drop_discards));
	add_u64(o, "size_bytes", r->size);
	add_u64(o, "done_bytes", r->done);
	add_u64(o, "archive_bytes", r->archive_bytes);
	add_u64(o, "data_bytes", r->writer.data_bytes);
	add_u64(o, "sparse_bytes", sparse_bytes(r));
	add_u64(o, "clusters", r->writer.clusters);
	add_u64(o, "zero_clusters", r->writer.zero_clusters);
	add_u64(o, "duration_us", r->duration_us);
	add_u64(o, "suspended_us", r->window_us);
	add_u64(o, "suspended_page_faults", r->window_page_faults);
	add_u64(o, "chunks", r->session.chunks_total);
	add_u64(o, "chunks_left", r->session.chunks_left);
	add_u64(o, "chunks_guest", r->session.chunks_guest);
	add_u64(o, "chunks_fetched", r->session.chunks_fetched);
	add_u64(o, "chunks_forgotten", r->session.chunks_forgotten);
	add_u64(o, "chunks_spilled", r->session.chunks_spilled);
	add_u64(o, "chunks_refetched", r->session.chunks_refetched);
	add_u64(o, "fleece_errno", r->session.fleece_error);
	add_u64(o, "guest_writes_failed", r->session.writes_failed);
	add_u64(o, "discards_dropped", r->session.discards_dropped);
	add_u64(o, "guest_writes_held", r->session.writes_held);
	add_u64(o, "guest_wait_longest_us", r->session.longest_wait_us);
	add_u64(o, "guest_wait_total_us", r->session.total_wait_us);
	add_text(o, "broken_reason", session_reason_word(r->session.reason));
	json_object_object_add(o, "disks", disks_json(b));
	return o;
}

/* However its path is spelled, whether this backup has made it or it was there before. */
static bool is_archive(const struct backup *b, const char *path)
{
	dev_t dev = b->result.archive_dev;
	ino_t ino = b->result.archive_ino;
	struct stat st;

	if (!ino && lstat(b->opt.output, &st) == 0) {
		dev = st.st_dev;
		ino = st.st_ino;
	}
	return ino && lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* Where it is written first; the caller frees it. */
static char *temporary_of(const char *path)
{
	char *text;

	return asprintf(&text, "%s.tmp-%d", path, (int)getpid()) < 0 ? NULL : text;
}

int backup_summary_place(const char *path, struct vma_error *err)
{
	char *temporary = temporary_of(path);
	struct stat st;
	int r = 0;

	if (!temporary)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		r = vma_fail(err, -EEXIST,
			     "the summary would replace %s, which is not a file; give the path of a file",
			     path);
	else if (lstat(temporary, &st) != 0 && errno == ENAMETOOLONG)
		r = vma_fail(err, -ENAMETOOLONG,
			     "the summary %s cannot be written: its name is too long", path);
	free(temporary);
	return r;
}

/* Replaces the file in one step, so that a reader sees the old or the new one. */
int backup_write_summary(const struct backup *b, const char *error, struct vma_error *err)
{
	struct json_object *o = summary_json(b, error);
	const char *path = b->opt.summary;
	char *temporary = NULL;
	int fd = -1, r = 0;

	r = backup_summary_place(path, err);
	if (r) {
		json_object_put(o);
		return r;
	}
	if (is_archive(b, path)) {
		r = -EEXIST;
		goto out;
	}
	temporary = temporary_of(path);
	if (!temporary) {
		r = -ENOMEM;
		goto out;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	errno = EIO;
	if (json_object_to_fd(fd, o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE) ||
	    dprintf(fd, "\n") < 0 || fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(temporary, path) < 0)
		r = -errno;
	if (r)
		unlink(temporary);
out:
	free(temporary);
	json_object_put(o);
	if (r)
		vma_error_set(err, "cannot write the summary %s: %s", path, strerror(-r));
	return r;
}

void backup_explain_break(const struct backup *b, struct vma_error *err)
{
	const struct vmabackup_status *s = &b->result.session;
	char where[512] = "", offset[64] = "";
	const struct backup_disk *d = NULL;

	if (s->error_disk < b->nr_disks) {
		d = &b->disks[s->error_disk];
		if (s->error_offset != ~0ull)
			snprintf(offset, sizeof(offset), " at offset %" PRIu64,
				 (uint64_t)s->error_offset);
		snprintf(where, sizeof(where), "disk %.128s (%.256s)%s: ", d->name, d->path, offset);
	}
	switch (s->reason) {
	case VMABACKUP_REASON_TIMEOUT:
		vma_error_set(err, "%sthe snapshot was given up because a guest write had to wait longer than cbw_timeout: the archive is written too slowly; use a faster target, more --slots or less --compress, or give the disk a fleece device",
			      where);
		break;
	case VMABACKUP_REASON_READ_ERROR:
		vma_error_set(err, "%sthe disk cannot be read (%s): see the kernel's log, and copy off what can be read before replacing it",
			      where, strerror((int)s->error));
		break;
	case VMABACKUP_REASON_SUSPEND:
		vma_error_set(err, "%sthe snapshot was given up because the disk was suspended (by LVM or dmsetup) while guest writes waited; try again when that has ended",
			      where);
		break;
	case VMABACKUP_REASON_REPLACED:
		vma_error_set(err, "%sthe snapshot was lost because the disk's table was replaced (by dmsetup); try again",
			      where);
		break;
	case VMABACKUP_REASON_FLEECE_ERROR:
		vma_error_set(err, "%sthe snapshot was lost because the disk's fleece device failed (%s): %s",
			      where, strerror((int)s->error),
			      s->error == ENOSPC ? "give it more space, or use --policy auto" :
			      "see the kernel's log, and use another one or --policy auto");
		break;
	case VMABACKUP_REASON_RESIZED:
		vma_error_set(err, "%sthe snapshot was lost because the origin has become smaller than the disk; extend it again, or reload the table with its size",
			      where);
		break;
	case VMABACKUP_REASON_REMOVED:
		vma_error_set(err, "%sthe snapshot was lost because the disk was removed", where);
		break;
	default:
		vma_error_set(err, "%sthe snapshot was lost: %s (%s)", where,
			      session_reason_word(s->reason),
			      s->error ? strerror((int)s->error) : "no more is known");
		break;
	}
}
