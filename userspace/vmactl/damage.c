// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/damage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/json-put.h"
#include "vmactl/vmactl.h"

#define DAMAGE_VERSION	1

struct damage {
	const char *archive;
	const struct vma_header *header;	/* NULL: not read yet */
	struct vma_fault *kept;			/* the first DAMAGE_KEPT */
	unsigned int nr_kept, room;
	uint64_t faults, harmful;
	unsigned int lines;			/* of DAMAGE_LINES */
	uint64_t lost, likely;			/* bytes of disks; written, but not proven */
	uint64_t runs_not_shown;
};

int damage_new(struct damage **out, const char *archive, struct vma_error *err)
{
	struct damage *d = calloc(1, sizeof(*d));

	if (!d)
		return vma_fail(err, -ENOMEM, "out of memory");
	d->archive = archive_in_name(archive);
	*out = d;
	return 0;
}

void damage_free(struct damage *d)
{
	if (!d)
		return;
	free(d->kept);
	free(d);
}

void damage_set_header(struct damage *d, const struct vma_header *h)
{
	d->header = h;
}

static bool line_is_left(struct damage *d)
{
	if (d->lines == DAMAGE_LINES)
		return false;
	d->lines++;
	return true;
}

/* What is not kept for want of memory is counted all the same. */
static void keep(struct damage *d, const struct vma_fault *f)
{
	unsigned int room = d->room ? 2 * d->room : 16;
	struct vma_fault *larger;

	if (d->nr_kept == DAMAGE_KEPT)
		return;
	if (d->nr_kept == d->room) {
		larger = realloc(d->kept, room * sizeof(*larger));
		if (!larger)
			return;
		d->kept = larger;
		d->room = room;
	}
	d->kept[d->nr_kept++] = *f;
}

void damage_fault(void *ctx, const struct vma_fault *f)
{
	struct damage *d = ctx;
	char text[1024];

	d->faults++;
	d->harmful += !f->harmless;
	keep(d, f);
	if (!line_is_left(d))
		return;
	vma_fault_text(d->header, f, text, sizeof(text));
	complain("%s: %s", d->archive, text);
}

/* ---- what is lost ----------------------------------------------------- */

static void tell_runs(struct damage *d, const struct vma_reader *r, enum vma_clusters which,
		      unsigned int id, const char *what)
{
	const struct vma_device *dev = &vma_reader_header(r)->devices[id];
	uint64_t offset = 0, length;

	for (; vma_reader_run(r, which, id, &offset, &length); offset += length) {
		if (line_is_left(d))
			complain("%s: disk %s, offset %" PRIu64 ", length %" PRIu64 ": %s",
				 d->archive, vma_quote(dev->name), offset, length, what);
		else
			d->runs_not_shown++;
	}
}

void damage_missing(struct damage *d, const struct vma_reader *r, const bool wanted[256],
		    bool extracted)
{
	/* Not what the lines of the faults have left: this is what matters. */
	if (extracted)
		d->lines = 0;
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES; id++) {
		uint64_t offset = 0, length;

		if (!wanted[id])
			continue;
		for (; vma_reader_run(r, VMA_CLUSTERS_MISSING, id, &offset, &length);
		     offset += length)
			d->lost += length;
		for (offset = 0; vma_reader_run(r, VMA_CLUSTERS_LIKELY, id, &offset, &length);
		     offset += length)
			d->likely += length;
		tell_runs(d, r, extracted ? VMA_CLUSTERS_MISSING : VMA_CLUSTERS_ABSENT, id,
			  extracted ? "lost, reads as zeroes" : "missing");
		tell_runs(d, r, VMA_CLUSTERS_LIKELY, id, "likely intact, not proven");
	}
	if (d->runs_not_shown)
		complain("%s: and %" PRIu64 " such ranges more", d->archive, d->runs_not_shown);
}

bool damage_any(const struct damage *d)
{
	return d->faults || d->lost;
}

bool damage_harmless(const struct damage *d)
{
	return !d->harmful && !d->lost;
}

static const char *plural(const struct damage *d)
{
	return d->faults == 1 ? "" : "s";
}

/* Behind what is lost. */
static const char *likely(const struct damage *d, char *buf, size_t size)
{
	*buf = '\0';
	if (d->likely)
		snprintf(buf, size, ", %" PRIu64 " bytes likely intact, not proven", d->likely);
	return buf;
}

void damage_verdict(const struct damage *d)
{
	char not_shown[64] = "", also[64];

	if (!damage_any(d))
		return;
	if (d->faults > DAMAGE_LINES)
		snprintf(not_shown, sizeof(not_shown), " (%u of them shown)", DAMAGE_LINES);
	if (d->lost)
		complain("%s: damaged or incomplete: %" PRIu64 " fault%s%s; %" PRIu64
			 " bytes of disks cannot be restored%s", d->archive, d->faults, plural(d),
			 not_shown, d->lost, likely(d, also, sizeof(also)));
	else
		complain("%s: damaged: %" PRIu64 " fault%s%s; no byte of a disk is %slost%s",
			 d->archive, d->faults, plural(d), not_shown,
			 d->likely ? "known to be " : "", likely(d, also, sizeof(also)));
}

void damage_close(const struct damage *d, int code)
{
	char also[64];

	if (code == EXIT_SALVAGED)
		complain("%s: this is NOT a complete restore: %" PRIu64
			 " fault%s in the archive, %" PRIu64 " bytes of disks lost%s",
			 d->archive, d->faults, plural(d), d->lost,
			 likely(d, also, sizeof(also)));
	else if (d->faults)
		complain("%s: %" PRIu64
			 " fault%s in the archive, but all that was extracted is complete",
			 d->archive, d->faults, plural(d));
}

/* ---- JSON ------------------------------------------------------------- */

static bool put_range(struct json_object *o, const char *begin_key, const char *end_key, bool known,
		      uint64_t begin, uint64_t end)
{
	if (!known)
		return json_put_null(o, begin_key) && json_put_null(o, end_key);
	return json_put_u64(o, begin_key, begin) &&
	       (end == UINT64_MAX ? json_put_null(o, end_key) : json_put_u64(o, end_key, end));
}

static bool put_fault(struct json_object *o, const struct damage *d, const struct vma_fault *f)
{
	bool of_disk = f->dev_id;

	return (of_disk ? json_put_name(o, "disk", d->header->devices[f->dev_id].name) :
			  json_put_null(o, "disk")) &&
	       (of_disk ? json_put_u64(o, "offset_bytes", f->offset) :
			  json_put_null(o, "offset_bytes")) &&
	       (of_disk ? json_put_u64(o, "length_bytes", f->length) :
			  json_put_null(o, "length_bytes")) &&
	       put_range(o, "stream_begin", "stream_end", true, f->begin,
			 f->end > f->begin ? f->end : UINT64_MAX) &&
	       put_range(o, "file_begin", "file_end", f->stored, f->stored_begin, f->stored_end) &&
	       json_put_bool(o, "likely_intact", f->likely) &&
	       json_put_bool(o, "harmless", f->harmless) &&
	       json_put_name(o, "what", f->what.text);
}

static bool put_faults(struct json_object *root, const struct damage *d)
{
	struct json_object *list = json_object_new_array();
	bool ok = json_put_u64(root, "faults_total", d->faults) && json_put(root, "faults", list);

	for (unsigned int i = 0; i < d->nr_kept && ok; i++) {
		struct json_object *o = json_object_new_object();

		ok = o && json_object_array_add(list, o) == 0 && put_fault(o, d, &d->kept[i]);
	}
	return ok;
}

static bool put_runs(struct json_object *o, const struct vma_reader *r, enum vma_clusters which,
		     unsigned int id, const char *key, const char *sum_key, const char *more_key)
{
	struct json_object *list = json_object_new_array();
	uint64_t offset = 0, length, sum = 0, nr = 0;
	bool ok = json_put(o, key, list);

	for (; ok && vma_reader_run(r, which, id, &offset, &length); offset += length) {
		struct json_object *run;

		sum += length;
		if (nr++ >= DAMAGE_KEPT)
			continue;
		run = json_object_new_object();
		ok = run && json_object_array_add(list, run) == 0 &&
		     json_put_u64(run, "offset_bytes", offset) &&
		     json_put_u64(run, "length_bytes", length);
	}
	return ok && json_put_u64(o, sum_key, sum) &&
	       json_put_u64(o, more_key, nr > DAMAGE_KEPT ? nr - DAMAGE_KEPT : 0);
}

static bool put_disks(struct json_object *root, const struct damage *d, const struct vma_reader *r)
{
	struct json_object *list = json_object_new_array();
	bool ok = json_put(root, "disks", list);

	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && ok; id++) {
		const struct vma_device *dev = &d->header->devices[id];
		struct json_object *o;

		if (!dev->name)
			continue;
		o = json_object_new_object();
		ok = o && json_object_array_add(list, o) == 0 &&
		     json_put_name(o, "name", dev->name) &&
		     json_put_u64(o, "size_bytes", dev->size) &&
		     put_runs(o, r, VMA_CLUSTERS_MISSING, id, "lost", "lost_bytes",
			      "lost_not_listed") &&
		     put_runs(o, r, VMA_CLUSTERS_LIKELY, id, "likely", "likely_bytes",
			      "likely_not_listed");
	}
	return ok;
}

struct json_object *damage_json(const struct damage *d, const struct vma_reader *r, bool summed)
{
	struct json_object *root = json_object_new_object();

	if (root && json_put_u64(root, "version", DAMAGE_VERSION) &&
	    json_put_path(root, "archive", d->archive) &&
	    json_put_text(root, "outcome", damage_any(d) ? "damaged" : "complete") &&
	    json_put_bool(root, "data_checksums", summed) && put_faults(root, d) &&
	    put_disks(root, d, r))
		return root;
	json_object_put(root);
	return NULL;
}
