// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guestload: what every sector must hold.
 *
 * Two numbers per sector, in anonymous memory or in the state file, which outlives a
 * kill of the process.  Only the thread that owns the stripe writes them; nobody reads
 * them before all threads have ended.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAGIC	0x3154534c54534755ull
#define STATE_HEADER	4096
#define MAX_LINES	10	/* mismatches told one by one */

struct state_header {
	uint64_t magic;
	uint64_t seed;
	uint32_t threads;
	uint32_t nr_disks;
	uint64_t size[MAX_DISKS];
};

void expect_open(struct expect *e, const struct disks *ds, struct options *o)
{
	struct state_header *h;
	bool fresh = true;
	int fd = -1;

	e->map_len = STATE_HEADER + 2 * ds->sectors * sizeof(uint64_t);
	if (o->state_file) {
		struct stat st;

		fd = open(o->state_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || fstat(fd, &st))
			die("%s: %s", o->state_file, strerror(errno));
		fresh = st.st_size == 0;
		if (fresh && ftruncate(fd, (off_t)e->map_len))
			die("%s: truncate: %s", o->state_file, strerror(errno));
		if (!fresh && (size_t)st.st_size != e->map_len)
			die("%s: is not the state of these disks", o->state_file);
	}
	e->map = mmap(NULL, e->map_len, PROT_READ | PROT_WRITE,
		      fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (e->map == MAP_FAILED)
		die("mapping %zu bytes of state: %s", e->map_len, strerror(errno));
	if (fd >= 0)
		close(fd);
	e->done = (uint64_t *)((char *)e->map + STATE_HEADER);
	e->flight = e->done + ds->sectors;

	h = e->map;
	if (fresh) {
		if (!o->threads)
			o->threads = 4;
		if (o->threads > ds->stripes)
			o->threads = (unsigned int)ds->stripes;
		h->seed = o->seed ? o->seed : 1;
		h->threads = o->threads;
		h->nr_disks = ds->nr;
		for (unsigned int i = 0; i < ds->nr; i++)
			h->size[i] = ds->disk[i].size;
		h->magic = STATE_MAGIC;
	}
	if (h->magic != STATE_MAGIC || h->nr_disks != ds->nr || !h->seed || !h->threads ||
	    h->threads > MAX_THREADS)
		die("%s: is not the state of these disks", o->state_file);
	for (unsigned int i = 0; i < ds->nr; i++)
		if (h->size[i] != ds->disk[i].size)
			die("%s: %s had another size", o->state_file, ds->disk[i].path);
	if ((o->seed && o->seed != h->seed) || (o->threads && o->threads != h->threads))
		die("%s: was made with --seed %llu --threads %u", o->state_file,
		    (unsigned long long)h->seed, h->threads);
	o->seed = h->seed;
	o->threads = h->threads;
}

uint64_t expect_max_seq(const struct expect *e, const struct disks *ds)
{
	uint64_t max = SEQ_FILL;

	for (uint64_t i = 0; i < 2 * ds->sectors; i++)
		if ((e->done[i] & ~EXPECT_KIND) > max)
			max = e->done[i] & ~EXPECT_KIND;
	return max;
}

static const char *expect_text(uint64_t want, char *buf, size_t len)
{
	unsigned long long seq = want & ~EXPECT_KIND;

	switch (want & EXPECT_KIND) {
	case EXPECT_ZERO:
		return "zeroes";
	case EXPECT_STAMP:
		snprintf(buf, len, "write %llu", seq);
		return buf;
	case EXPECT_DISCARDED:
		snprintf(buf, len, "zeroes or write %llu (discarded)", seq);
		return buf;
	}
	return "anything";
}

static bool matches(uint64_t want, enum sector_kind kind, uint64_t seq)
{
	switch (want & EXPECT_KIND) {
	case EXPECT_ZERO:
		return kind == SECTOR_ZERO;
	case EXPECT_STAMP:
		return kind == SECTOR_STAMP && seq == (want & ~EXPECT_KIND);
	case EXPECT_DISCARDED:
		return kind == SECTOR_ZERO ||
		       (kind == SECTOR_STAMP && seq == (want & ~EXPECT_KIND));
	}
	return true;
}

void expect_verify(const struct expect *e, const struct disks *ds, const struct options *o,
		   struct report *r)
{
	void *buf = NULL;

	if (posix_memalign(&buf, 4096, STRIPE))
		die("out of memory");
	for (uint64_t stripe = 0; stripe < ds->stripes; stripe++) {
		const struct disk *d = disks_of_stripe(ds, stripe);
		uint64_t start = (stripe - d->first_stripe) * STRIPE;
		uint32_t len = stripe_length(d, stripe);

		disks_read(d, buf, start, len);
		for (uint32_t pos = 0; pos < len; pos += SECTOR) {
			const struct stamp *s = (const void *)((char *)buf + pos);
			uint64_t i = d->first_sector + (start + pos) / SECTOR;
			enum sector_kind kind = sector_classify(s, o->seed);
			char text[64];

			r->verified_sectors++;
			if (kind == SECTOR_STAMP &&
			    (s->offset != start + pos || s->disk != (uint32_t)(d - ds->disk) ||
			     s->thread != stripe % o->threads))
				kind = SECTOR_TORN;
			if (matches(e->done[i], kind, s->seq) ||
			    (e->flight[i] && matches(e->flight[i], kind, s->seq)))
				continue;
			if (r->mismatches++ >= MAX_LINES)
				continue;
			fprintf(stderr, "guestload: %s: offset %llu: found ", d->path,
				(unsigned long long)(start + pos));
			if (kind == SECTOR_STAMP)
				fprintf(stderr, "write %llu", (unsigned long long)s->seq);
			else if (kind == SECTOR_TORN)
				fprintf(stderr, "a torn or misplaced stamp (thread %u disk %u "
					"write %llu offset %llu)", s->thread, s->disk,
					(unsigned long long)s->seq, (unsigned long long)s->offset);
			else
				fputs(kind == SECTOR_ZERO ? "zeroes" : "foreign data", stderr);
			fprintf(stderr, ", expected %s\n",
				expect_text(e->done[i], text, sizeof(text)));
		}
	}
	r->verified = true;
	free(buf);
}
