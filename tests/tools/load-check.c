// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guestload check: judges images of the disks, given nothing but the images and,
 * optionally, the log of the load.
 *
 * Without the log: each sector is zero, foreign or an intact stamp that belongs there.
 *
 * With the log: for each thread let c be how many of its operations (in their order) were
 * complete at the instant.  Operation c + 1 may be there in part, later ones not at all.
 * What a sector holds allows some values of c:
 *
 *	the stamp of operation i: c >= i - 1, and c < the next one that overwrote it for sure
 *	zeroes: for each zeroing or discard i likewise, until the next write; and from the
 *	start, if the sector was zero or foreign then
 *
 * If no c suits all sectors of a thread, the image mixes times.  And as the operations of
 * all threads carry times, there must be one instant that suits all of the threads.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES	10
#define MAX_SEEN	1024	/* thread numbers that a stamp of any seed may carry */

/* A sector that allows several ranges of c. */
struct choice {
	uint32_t disk;
	uint64_t offset;
	uint64_t first;		/* in ranges[] */
	uint32_t nr;
};

struct range {
	uint64_t lo, hi;
};

struct place {
	uint32_t disk;
	uint64_t offset;
};

/* One thread's operations and what the sectors say about c. */
struct cut {
	const struct op *ops;	/* ops[i - 1] is operation i */
	uint64_t nr;
	uint64_t lo, hi;
	struct place lo_place, hi_place;
	uint64_t newest;	/* highest operation whose stamp is there */
	struct choice *choices;
	uint64_t nr_choices, room_choices;
	struct range *ranges;
	uint64_t nr_ranges, room_ranges;
	/* operations by stripe: index[start[s]] ... are those of its s-th stripe */
	uint64_t *start;
	uint64_t *index;
};

struct check {
	struct disks ds;
	struct log log;
	bool with_log;
	bool no_foreign;
	uint64_t seed;
	uint64_t bad, zero, foreign, stamps;
	uint64_t max_seq[MAX_SEEN];
	struct cut cut[MAX_THREADS];
	/* per sector of the stripe at hand: its operations */
	uint32_t count[STRIPE_SECTORS + 1];
	uint64_t *history;
	uint64_t room_history;
};

static void *grow(void *p, uint64_t *room, uint64_t need, size_t size)
{
	if (need <= *room)
		return p;
	*room = need > 2 * *room ? need : 2 * *room;
	p = realloc(p, *room * size);
	if (!p)
		die("out of memory");
	return p;
}

static void __attribute__((format(printf, 4, 5)))
complain(struct check *c, uint32_t disk, uint64_t offset, const char *fmt, ...)
{
	va_list ap;

	if (c->bad++ >= MAX_LINES)
		return;
	fprintf(stderr, "guestload: %s: offset %llu: ", c->ds.disk[disk].path,
		(unsigned long long)offset);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void split_log(struct check *c, const char *path)
{
	const struct op *op = c->log.ops, *end = op + c->log.nr_ops;

	for (unsigned int t = 0; t < c->log.threads; t++) {
		struct cut *cut = &c->cut[t];
		uint64_t stripes = (c->ds.stripes + c->log.threads - 1 - t) / c->log.threads;

		cut->ops = op;
		cut->start = calloc(stripes + 2, sizeof(*cut->start));
		for (; op < end && op->thread == t; op++) {
			const struct disk *d = &c->ds.disk[op->disk];
			uint64_t stripe;

			if (op->disk >= c->ds.nr || op->length == 0 || op->length > STRIPE ||
			    op->offset >= d->size || op->length > d->size - op->offset ||
			    op->offset % SECTOR || op->length % SECTOR ||
			    op->offset / STRIPE != (op->offset + op->length - 1) / STRIPE ||
			    (cut->nr && op->seq != op[-1].seq + 1))
				die("%s: operation %llu makes no sense", path,
				    (unsigned long long)(op - c->log.ops));
			stripe = d->first_stripe + op->offset / STRIPE;
			if (stripe % c->log.threads != t)
				die("%s: operation %llu is not its thread's", path,
				    (unsigned long long)(op - c->log.ops));
			cut->start[stripe / c->log.threads + 2]++;
			cut->nr++;
		}
		cut->hi = cut->nr;
		cut->index = calloc(cut->nr + 1, sizeof(*cut->index));
		if (!cut->start || !cut->index)
			die("out of memory");
		for (uint64_t s = 0; s < stripes; s++)
			cut->start[s + 2] += cut->start[s + 1];
		for (uint64_t i = 0; i < cut->nr; i++) {
			const struct op *o = &cut->ops[i];
			uint64_t s = (c->ds.disk[o->disk].first_stripe + o->offset / STRIPE) /
				     c->log.threads;

			cut->index[cut->start[s + 1]++] = i + 1;
		}
	}
	if (op != end)
		die("%s: operations are not sorted by thread", path);
}

/* Collect, sector by sector, which operations touched it. */
static void build_history(struct check *c, const struct cut *cut, uint64_t s)
{
	uint64_t first = cut->start[s], last = cut->start[s + 1];
	uint32_t sum = 0;

	memset(c->count, 0, sizeof(c->count));
	for (uint64_t i = first; i < last; i++) {
		const struct op *op = &cut->ops[cut->index[i] - 1];
		uint32_t pos = (uint32_t)(op->offset % STRIPE) / SECTOR;

		for (uint32_t k = 0; k < op->length / SECTOR; k++)
			c->count[pos + k]++;
		sum += (uint32_t)(op->length / SECTOR);
	}
	c->history = grow(c->history, &c->room_history, sum, sizeof(*c->history));
	/* count[k] becomes the end of sector k's part, then, filling backwards, its start. */
	for (uint32_t k = 1; k < STRIPE_SECTORS; k++)
		c->count[k] += c->count[k - 1];
	c->count[STRIPE_SECTORS] = sum;
	for (uint64_t i = last; i-- > first;) {
		const struct op *op = &cut->ops[cut->index[i] - 1];
		uint32_t pos = (uint32_t)(op->offset % STRIPE) / SECTOR;

		for (uint32_t k = 0; k < op->length / SECTOR; k++)
			c->history[--c->count[pos + k]] = cut->index[i];
	}
}

static void add_range(struct cut *cut, uint64_t lo, uint64_t hi)
{
	cut->ranges = grow(cut->ranges, &cut->room_ranges, cut->nr_ranges + 1,
			   sizeof(*cut->ranges));
	cut->ranges[cut->nr_ranges++] = (struct range){ lo, hi };
}

/* How long what the sector held before history[i] can last: highest c. */
static uint64_t lasts(const struct cut *cut, const uint64_t *history, uint32_t i, uint32_t nr,
		      bool is_zero)
{
	for (; i < nr; i++) {
		uint32_t kind = cut->ops[history[i] - 1].kind;

		if (is_zero ? kind == OP_WRITE : kind != OP_DISCARD)
			return history[i] - 1;
	}
	return cut->nr;
}

static void constrain(struct cut *cut, uint32_t disk, uint64_t offset, uint64_t lo, uint64_t hi)
{
	if (lo > cut->lo) {
		cut->lo = lo;
		cut->lo_place = (struct place){ disk, offset };
	}
	if (hi < cut->hi) {
		cut->hi = hi;
		cut->hi_place = (struct place){ disk, offset };
	}
}

static void judge_by_log(struct check *c, struct cut *cut, uint32_t disk, uint64_t offset,
			 uint64_t initial, uint32_t k, enum sector_kind kind, uint64_t seq)
{
	const uint64_t *history = c->history + c->count[k];
	uint32_t nr = c->count[k + 1] - c->count[k];
	uint64_t first = cut->nr_ranges;

	if (kind == SECTOR_STAMP) {
		if ((initial & EXPECT_KIND) >= EXPECT_STAMP && seq == (initial & ~EXPECT_KIND)) {
			constrain(cut, disk, offset, 0, lasts(cut, history, 0, nr, false));
			return;
		}
		for (uint32_t i = 0; i < nr; i++) {
			const struct op *op = &cut->ops[history[i] - 1];

			if (op->seq != seq || op->kind != OP_WRITE)
				continue;
			if (history[i] > cut->newest)
				cut->newest = history[i];
			constrain(cut, disk, offset, history[i] - 1,
				  lasts(cut, history, i + 1, nr, false));
			return;
		}
		complain(c, disk, offset, "write %llu never was here", (unsigned long long)seq);
		return;
	}
	if (kind == SECTOR_FOREIGN) {
		if ((initial & EXPECT_KIND) == EXPECT_FOREIGN)
			constrain(cut, disk, offset, 0, lasts(cut, history, 0, nr, false));
		else
			complain(c, disk, offset, "foreign data");
		return;
	}
	if ((initial & EXPECT_KIND) != EXPECT_STAMP)
		add_range(cut, 0, lasts(cut, history, 0, nr, true));
	for (uint32_t i = 0; i < nr; i++)
		if (cut->ops[history[i] - 1].kind != OP_WRITE)
			add_range(cut, history[i] - 1, lasts(cut, history, i + 1, nr, true));
	if (cut->nr_ranges == first) {
		complain(c, disk, offset, "zeroes, which never were here");
	} else if (cut->nr_ranges == first + 1) {
		cut->nr_ranges--;
		constrain(cut, disk, offset, cut->ranges[first].lo, cut->ranges[first].hi);
	} else {
		cut->choices = grow(cut->choices, &cut->room_choices, cut->nr_choices + 1,
				    sizeof(*cut->choices));
		cut->choices[cut->nr_choices++] = (struct choice){
			.disk = disk, .offset = offset, .first = first,
			.nr = (uint32_t)(cut->nr_ranges - first) };
	}
}

static void scan_stripe(struct check *c, uint64_t stripe, char *buf)
{
	const struct disk *d = disks_of_stripe(&c->ds, stripe);
	uint32_t disk = (uint32_t)(d - c->ds.disk);
	uint64_t start = (stripe - d->first_stripe) * STRIPE;
	uint32_t len = stripe_length(d, stripe);
	unsigned int owner = 0;

	if (d->fd < 0)
		return;
	if (c->with_log) {
		owner = (unsigned int)(stripe % c->log.threads);
		build_history(c, &c->cut[owner], stripe / c->log.threads);
	}
	disks_read(d, buf, start, len);
	for (uint32_t pos = 0; pos < len; pos += SECTOR) {
		const struct stamp *s = (const void *)(buf + pos);
		enum sector_kind kind = sector_classify(s, c->seed);
		uint64_t offset = start + pos;

		switch (kind) {
		case SECTOR_ZERO:
			c->zero++;
			break;
		case SECTOR_FOREIGN:
			c->foreign++;
			if (c->no_foreign)
				complain(c, disk, offset, "foreign data");
			break;
		case SECTOR_STAMP:
			c->stamps++;
			if (s->offset != offset || s->disk != disk ||
			    (c->with_log && s->thread != owner)) {
				complain(c, disk, offset,
					 "misplaced: thread %u's write %llu of disk %u offset %llu",
					 s->thread, (unsigned long long)s->seq, s->disk,
					 (unsigned long long)s->offset);
				continue;
			}
			if (s->thread < MAX_SEEN && s->seq > c->max_seq[s->thread])
				c->max_seq[s->thread] = s->seq;
			break;
		case SECTOR_TORN:
			complain(c, disk, offset, "torn stamp (thread %u write %llu)", s->thread,
				 (unsigned long long)s->seq);
			continue;
		}
		if (c->with_log)
			judge_by_log(c, &c->cut[owner], disk, offset,
				     c->log.initial[d->first_sector + offset / SECTOR],
				     pos / SECTOR, kind, s->seq);
	}
}

/* Narrow [lo, hi] by the sectors with several ranges; what is left of it may have gaps. */
static void apply_choices(struct check *c, unsigned int t)
{
	struct cut *cut = &c->cut[t];
	uint64_t n = cut->hi - cut->lo + 1;
	uint8_t *ok, *here;
	bool any = true;

	if (!cut->nr_choices)
		return;
	ok = malloc(n);
	here = malloc(n);
	if (!ok || !here)
		die("out of memory");
	memset(ok, 1, n);
	for (uint64_t i = 0; i < cut->nr_choices && any; i++) {
		const struct choice *ch = &cut->choices[i];

		memset(here, 0, n);
		for (uint32_t k = 0; k < ch->nr; k++) {
			struct range r = cut->ranges[ch->first + k];

			r.lo = r.lo > cut->lo ? r.lo : cut->lo;
			r.hi = r.hi < cut->hi ? r.hi : cut->hi;
			if (r.lo <= r.hi)
				memset(here + (r.lo - cut->lo), 1, r.hi - r.lo + 1);
		}
		any = false;
		for (uint64_t k = 0; k < n; k++)
			any |= ok[k] &= here[k];
		if (!any)
			complain(c, ch->disk, ch->offset,
				 "zeroes do not fit the instant of thread %u's other sectors, "
				 "after write %llu to %llu", t,
				 (unsigned long long)cut->ops[0].seq - 1 + cut->lo,
				 (unsigned long long)cut->ops[0].seq - 1 + cut->hi);
	}
	if (any) {
		uint64_t lo = cut->lo;

		while (!ok[cut->lo - lo])
			cut->lo++;
		while (!ok[cut->hi - lo])
			cut->hi--;
	}
	free(ok);
	free(here);
}

/* Find each thread's cut, then the instant that all of them have in common. */
static void find_instant(struct check *c, uint64_t *from, uint64_t *to)
{
	unsigned int first = 0, last = 0;

	*from = 0;
	*to = UINT64_MAX;
	for (unsigned int t = 0; t < c->log.threads; t++) {
		struct cut *cut = &c->cut[t];
		uint64_t i, seq = cut->nr ? cut->ops[0].seq - 1 : 0;

		if (cut->lo > cut->hi) {
			complain(c, cut->lo_place.disk, cut->lo_place.offset,
				 "shows that thread %u's write %llu was complete, but %s offset %llu "
				 "lacks its write %llu", t, (unsigned long long)(seq + cut->lo),
				 c->ds.disk[cut->hi_place.disk].path,
				 (unsigned long long)cut->hi_place.offset,
				 (unsigned long long)(seq + cut->hi + 1));
			continue;
		}
		if (cut->nr)
			apply_choices(c, t);
		i = cut->newest > cut->lo ? cut->newest : cut->lo;
		if (i && cut->ops[i - 1].start_ns > *from) {
			*from = cut->ops[i - 1].start_ns;
			first = t;
		}
		if (cut->hi < cut->nr && cut->ops[cut->hi].end_ns < *to) {
			*to = cut->ops[cut->hi].end_ns;
			last = t;
		}
	}
	if (*from > *to && !c->bad) {
		c->bad++;
		fprintf(stderr, "guestload: no one instant: thread %u's part is from %llu ns or "
			"later, thread %u's from %llu ns or before\n", first,
			(unsigned long long)*from, last, (unsigned long long)*to);
	}
}

int check_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", 1, NULL, 'l' }, { "seed", 1, NULL, 's' }, { "no-foreign", 0, NULL, 'f' },
		{ "use", 1, NULL, 'u' }, { NULL, 0, NULL, 0 }
	};
	struct check *c = calloc(1, sizeof(*c));
	const char *log_path = NULL;
	uint64_t from = 0, to = 0, use = 0;
	char *buf = malloc(STRIPE), *end;
	int opt;

	if (!c || !buf)
		die("out of memory");
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'l') {
			log_path = optarg;
		} else if (opt == 's') {
			c->seed = strtoull(optarg, &end, 0);
			if (*end || end == optarg || !c->seed)
				die("--seed %s: not a positive number", optarg);
		} else if (opt == 'u') {
			use = strtoull(optarg, &end, 0);
			if (*end || end == optarg || !use)
				die("--use %s: not a positive number", optarg);
		} else if (opt == 'f') {
			c->no_foreign = true;
		} else {
			return 2;
		}
	}
	if (optind >= argc)
		die("check: no image given");
	disks_open_images(&c->ds, argv + optind, (unsigned int)(argc - optind), use, log_path);
	if (log_path) {
		c->with_log = true;
		log_read(log_path, &c->ds, &c->log);
		if (c->seed && c->seed != c->log.seed)
			die("%s: was made with --seed %llu", log_path,
			    (unsigned long long)c->log.seed);
		c->seed = c->log.seed;
		split_log(c, log_path);
	}
	for (uint64_t stripe = 0; stripe < c->ds.stripes; stripe++)
		scan_stripe(c, stripe, buf);
	if (c->with_log)
		find_instant(c, &from, &to);

	printf("{\"sectors\":%llu,\"zero\":%llu,\"foreign\":%llu,\"stamps\":%llu,\"bad\":%llu",
	       (unsigned long long)c->ds.sectors, (unsigned long long)c->zero,
	       (unsigned long long)c->foreign, (unsigned long long)c->stamps,
	       (unsigned long long)c->bad);
	printf(",\"max_seq\":{");
	for (unsigned int t = 0, n = 0; t < MAX_SEEN; t++)
		if (c->max_seq[t])
			printf("%s\"%u\":%llu", n++ ? "," : "", t,
			       (unsigned long long)c->max_seq[t]);
	printf("}");
	if (c->with_log) {
		printf(",\"cuts\":[");
		for (unsigned int t = 0; t < c->log.threads; t++)
			printf("%s{\"operations\":%llu,\"complete_min\":%llu,"
			       "\"complete_max\":%llu}", t ? "," : "",
			       (unsigned long long)c->cut[t].nr, (unsigned long long)c->cut[t].lo,
			       (unsigned long long)c->cut[t].hi);
		printf("],\"instant_ns\":[%llu,", (unsigned long long)from);
		if (to == UINT64_MAX)
			printf("null]");
		else
			printf("%llu]", (unsigned long long)to);
	}
	printf("}\n");
	for (unsigned int t = 0; c->with_log && t < c->log.threads; t++) {
		free(c->cut[t].start);
		free(c->cut[t].index);
		free(c->cut[t].choices);
		free(c->cut[t].ranges);
	}
	free(c->log.initial);
	free(c->log.ops);
	free(c->history);
	free(buf);
	opt = c->bad != 0;
	free(c);
	return opt;
}
