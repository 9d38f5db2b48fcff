// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guestload: the threads that write.
 *
 * Each thread owns its stripes, its generator of random numbers and its log; the
 * expected content of a sector belongs to the owner of its stripe.  Nothing is locked.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOT_STRIPES	4	/* of each thread, taking HOT_PERCENT of its writes */
#define HOT_PERCENT	40
#define SEQUENTIAL_PERCENT 30
#define CROSS_PERCENT	40	/* writes that are moved over a chunk border */
#define RETRY_US	10000	/* between attempts: a guest's driver waits longer */
#define FILL_MIXED	8	/* one of so many chunks is filled in part, 4 KiB by 4 KiB */

struct worker {
	pthread_t thread;
	unsigned int nr;
	const struct disks *ds;
	const struct options *o;
	struct expect *e;
	struct report *r;
	struct thread_report *tr;
	uint64_t rng;
	uint64_t seq;		/* of the last one */
	uint64_t limit;		/* operations to do, 0: until told to stop */
	uint64_t deadline_ns;	/* when to stop, 0: when told to */
	uint64_t owned;		/* stripes */
	uint64_t seq_stripe;	/* where the sequential run is */
	uint32_t seq_pos;
	void *buf;
	struct op *ops;
	uint64_t nr_ops, room;
	bool log;
};

static uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint64_t below(struct worker *w, uint64_t n)
{
	return rnd(&w->rng) % n;
}

static bool percent(struct worker *w, unsigned int p)
{
	return below(w, 100) < p;
}

static void report_error(struct report *r, unsigned int disk, uint64_t offset, int err,
			 const char *path, const char *what)
{
	uint32_t none = 0;

	fprintf(stderr, "guestload: %s: %s at offset %llu: %s\n", path, what,
		(unsigned long long)offset, strerror(err));
	if (atomic_compare_exchange_strong(&r->errors, &none, 1)) {
		r->first_errno = err;
		r->first_disk = disk;
		r->first_offset = offset;
	} else {
		atomic_fetch_add(&r->errors, 1);
	}
	atomic_store(&r->stop, true);
}

/* One way to make zeroes or holes, on devices and files alike; 0 or an errno. */
static int zero_range(const struct disk *d, bool discard, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };
	int mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;

	if (d->is_block)
		return ioctl(d->fd, discard ? BLKDISCARD : BLKZEROOUT, range) ? errno : 0;
	if (!discard && !fallocate(d->fd, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)len))
		return 0;
	return fallocate(d->fd, mode, (off_t)offset, (off_t)len) ? errno : 0;
}

/* The whole of it or an errno; *again counts the refusals of RWF_NOWAIT. */
static int write_all(struct worker *w, const struct disk *d, const char *buf, uint64_t offset,
		     size_t len, int flags)
{
	while (len) {
		struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
		ssize_t n = pwritev2(d->fd, &iov, 1, (off_t)offset, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && flags & RWF_NOWAIT && (errno == EAGAIN || errno == EOPNOTSUPP)) {
			/* Part of it may have been written: it must be repeated as it is. */
			if (errno == EAGAIN)
				w->tr->again++;
			else
				atomic_store(&w->r->no_nowait, true);
			flags &= ~RWF_NOWAIT;
			continue;
		}
		if (n <= 0)
			return n ? errno : ENOSPC;
		buf += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static void pick_place(struct worker *w, uint64_t *stripe, uint32_t *pos, uint32_t *len)
{
	unsigned int way = (unsigned int)below(w, 100);
	uint32_t block, slen, shift;
	const struct disk *d;
	uint64_t k;

	if (way < SEQUENTIAL_PERCENT) {
		k = w->seq_stripe;
	} else if (way < SEQUENTIAL_PERCENT + HOT_PERCENT) {
		k = below(w, w->owned < HOT_STRIPES ? w->owned : HOT_STRIPES) *
		    (w->owned < HOT_STRIPES ? 1 : w->owned / HOT_STRIPES);
	} else {
		k = below(w, w->owned);
	}
	*stripe = w->nr + k * w->o->threads;
	d = disks_of_stripe(w->ds, *stripe);
	block = d->block;
	slen = stripe_length(d, *stripe);

	/* Every power of two is as likely as the next, up to the limit. */
	for (shift = 0; SECTOR << shift < w->o->max_size; shift++)
		;
	*len = SECTOR << below(w, shift + 1);
	*len += (uint32_t)below(w, *len / SECTOR) * SECTOR;
	*len = (*len + block - 1) / block * block;
	if (*len > w->o->max_size)
		*len = w->o->max_size / block * block;
	if (*len < block)
		*len = block;
	if (*len > slen)
		*len = slen;

	if (way < SEQUENTIAL_PERCENT) {
		*pos = w->seq_pos < slen ? w->seq_pos : 0;
		if (*len > slen - *pos)
			*len = slen - *pos;
		w->seq_pos = *pos + *len;
		if (w->seq_pos >= slen) {
			w->seq_pos = 0;
			w->seq_stripe = below(w, 4) ? (w->seq_stripe + 1) % w->owned :
						      below(w, w->owned);
		}
		return;
	}
	*pos = (uint32_t)below(w, (slen - *len) / block + 1) * block;
	if (slen > CHUNK && *len > block && percent(w, CROSS_PERCENT)) {
		uint32_t border = (1 + (uint32_t)below(w, (slen - 1) / CHUNK)) * CHUNK;
		uint32_t before = (1 + (uint32_t)below(w, *len / block - 1)) * block;

		if (before <= border && border - before + *len <= slen)
			*pos = border - before;
	}
}

static void set_range(uint64_t *array, uint64_t first, uint32_t n, uint64_t value)
{
	for (uint32_t i = 0; i < n; i++)
		array[first + i] = value;
}

static void log_op(struct worker *w, const struct op *op)
{
	if (!w->log)
		return;
	if (w->nr_ops == w->room) {
		w->room = w->room ? 2 * w->room : 4096;
		w->ops = realloc(w->ops, w->room * sizeof(*w->ops));
		if (!w->ops)
			die("out of memory for the log");
	}
	w->ops[w->nr_ops++] = *op;
}

static void account(struct worker *w, const struct op *op)
{
	struct thread_report *tr = w->tr;
	uint64_t us = (op->end_ns - op->start_ns) / 1000;

	if (!(tr->writes + tr->discards + tr->zeroes) || us < tr->min_us)
		tr->min_us = us;
	if (us >= tr->max_us) {
		tr->max_us = us;
		tr->max_disk = op->disk;
		tr->max_offset = op->offset;
	}
	tr->hist[hist_bucket(us)]++;
	if (op->kind == OP_WRITE) {
		tr->writes++;
		tr->bytes += op->length;
	} else if (op->kind == OP_ZERO) {
		tr->zeroes++;
	} else {
		tr->discards++;
	}
}

/* Do one write, zeroing or discard; false ends the thread. */
static bool one_op(struct worker *w)
{
	static const char *const what[] = { "write", "zeroing", "discard" };
	const struct disk *d;
	struct op op = { .thread = (uint16_t)w->nr, .seq = w->seq + 1 };
	uint64_t stripe, first;
	uint32_t pos, len, n;
	unsigned int way = (unsigned int)below(w, 100);
	int flags = 0, err;

	pick_place(w, &stripe, &pos, &len);
	d = disks_of_stripe(w->ds, stripe);
	op.disk = (uint16_t)(d - w->ds->disk);
	op.offset = (stripe - d->first_stripe) * STRIPE + pos;
	op.length = len;
	op.kind = OP_WRITE;
	if (way < w->o->discard_percent)
		op.kind = OP_DISCARD;
	else if (way < w->o->discard_percent + w->o->zero_percent)
		op.kind = OP_ZERO;
	if (op.kind == OP_DISCARD && atomic_load(&w->r->no_discard))
		op.kind = OP_WRITE;
	if (percent(w, w->o->fua_percent))
		flags |= RWF_DSYNC;
	if (percent(w, w->o->nowait_percent) && !atomic_load(&w->r->no_nowait))
		flags |= RWF_NOWAIT;
	if (op.kind == OP_WRITE) {
		stamp_fill(w->buf, len, w->o->seed, w->nr, op.disk, op.seq, op.offset);
		w->tr->fua += !!(flags & RWF_DSYNC);
		w->tr->nowait += !!(flags & RWF_NOWAIT);
	}

	first = d->first_sector + op.offset / SECTOR;
	n = len / SECTOR;
	for (uint32_t i = 0; i < n; i++)
		w->e->flight[first + i] = expect_after(w->e->done[first + i], op.kind, op.seq);
	atomic_store(&w->tr->flight_disk, op.disk);
	atomic_store(&w->tr->flight_kind, op.kind);
	atomic_store(&w->tr->flight_offset, op.offset);
	op.start_ns = now_ns();
	atomic_store(&w->tr->flight_since, op.start_ns);
	/* Until it succeeds it is in flight: there in part, wholly or not at all. */
	for (;;) {
		if (op.kind == OP_WRITE)
			err = write_all(w, d, w->buf, op.offset, len, flags);
		else
			err = zero_range(d, op.kind == OP_DISCARD, op.offset, len);
		if (err != EIO || !w->o->retry)
			break;
		w->tr->retried++;
		usleep(RETRY_US);
	}
	op.end_ns = now_ns();
	atomic_store(&w->tr->flight_since, 0);

	if (err == EOPNOTSUPP && op.kind == OP_DISCARD) {
		atomic_store(&w->r->no_discard, true);
		set_range(w->e->flight, first, n, 0);
		return true;
	}
	if (err) {
		report_error(w->r, op.disk, op.offset, err, d->path, what[op.kind]);
		return false;
	}
	for (uint32_t i = 0; i < n; i++)
		w->e->done[first + i] = w->e->flight[first + i];
	set_range(w->e->flight, first, n, 0);
	w->seq = op.seq;
	log_op(w, &op);
	account(w, &op);

	if (percent(w, w->o->flush_percent)) {
		atomic_store(&w->tr->flight_since, now_ns());
		for (;;) {
			err = fdatasync(d->fd) ? errno : 0;
			if (err != EIO || !w->o->retry)
				break;
			w->tr->retried++;
			usleep(RETRY_US);
		}
		atomic_store(&w->tr->flight_since, 0);
		w->tr->flushes++;
		if (err) {
			report_error(w->r, op.disk, op.offset, err, d->path, "flush");
			return false;
		}
	}
	return true;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	for (uint64_t i = 0; !w->limit || i < w->limit; i++) {
		if (atomic_load(&w->r->stop) || (w->deadline_ns && now_ns() >= w->deadline_ns))
			break;
		if (!one_op(w))
			break;
		if (w->o->pause_us)
			usleep((useconds_t)w->o->pause_us);
	}
	return NULL;
}

static void save_log(const struct disks *ds, const struct options *o, uint64_t *initial,
		     struct worker *workers)
{
	struct log log = { .seed = o->seed, .threads = o->threads, .initial = initial };

	for (unsigned int t = 0; t < o->threads; t++)
		log.nr_ops += workers[t].nr_ops;
	log.ops = calloc(log.nr_ops + 1, sizeof(*log.ops));
	if (!log.ops)
		die("out of memory for the log");
	log.nr_ops = 0;
	for (unsigned int t = 0; t < o->threads; t++) {
		if (workers[t].nr_ops)
			memcpy(log.ops + log.nr_ops, workers[t].ops,
			       workers[t].nr_ops * sizeof(*log.ops));
		log.nr_ops += workers[t].nr_ops;
	}
	log_write(o->log_file, ds, &log);
	free(log.ops);
}

void load_run(const struct disks *ds, const struct options *o, struct expect *e,
	      struct report *r)
{
	struct worker *workers = calloc(o->threads, sizeof(*workers));
	uint64_t seq = expect_max_seq(e, ds);
	uint64_t *initial = NULL;
	uint64_t start;

	if (!workers)
		die("out of memory");
	for (uint64_t i = 0; i < ds->sectors; i++)
		if (e->flight[i])
			die("%s: the run before was killed; --verify it, it can't go on",
			    o->state_file);
	if (o->log_file) {
		initial = malloc(ds->sectors * sizeof(*initial));
		if (!initial)
			die("out of memory for the log");
		memcpy(initial, e->done, ds->sectors * sizeof(*initial));
	}
	if (o->ready_file) {
		FILE *f = fopen(o->ready_file, "we");

		if (!f || fclose(f))
			die("%s: %s", o->ready_file, strerror(errno));
	}
	start = now_ns();
	for (unsigned int t = 0; t < o->threads; t++) {
		struct worker *w = &workers[t];
		int err;

		w->nr = t;
		w->ds = ds;
		w->o = o;
		w->e = e;
		w->r = r;
		w->tr = &r->thread[t];
		w->rng = o->seed * 0x2545f4914f6cdd1dull + t;
		w->seq = seq;
		w->owned = (ds->stripes - t + o->threads - 1) / o->threads;
		w->log = !!o->log_file;
		if (o->writes) {
			w->limit = o->writes / o->threads + (t < o->writes % o->threads);
			if (!w->limit)
				continue;
		}
		if (o->seconds)
			w->deadline_ns = start + o->seconds * 1000000000ull;
		if (posix_memalign(&w->buf, 4096, STRIPE))
			die("out of memory");
		err = pthread_create(&w->thread, NULL, worker_main, w);
		if (err)
			die("starting thread %u: %s", t, strerror(err));
	}
	for (unsigned int t = 0; t < o->threads; t++)
		if (workers[t].buf)
			pthread_join(workers[t].thread, NULL);
	r->load_ns = now_ns() - start;
	r->loaded = true;
	if (o->log_file)
		save_log(ds, o, initial, workers);
	for (unsigned int t = 0; t < o->threads; t++) {
		free(workers[t].buf);
		free(workers[t].ops);
	}
	free(workers);
	free(initial);
}

/* Whether the fill puts stamps into the 4 KiB at OFFSET; a function of the seed. */
static bool filled(const struct options *o, unsigned int disk, uint64_t offset)
{
	uint64_t state = o->seed ^ (uint64_t)disk << 56 ^ offset / CHUNK * 0x100000001b3ull;
	uint64_t chunk = rnd(&state);

	if (o->fill_percent >= 100)
		return true;
	if (chunk >> 32 & (FILL_MIXED - 1))
		return chunk % 100 < o->fill_percent;
	state += offset / 4096;
	return rnd(&state) % 100 < o->fill_percent;
}

void load_fill(const struct disks *ds, const struct options *o, struct expect *e,
	       struct report *r)
{
	struct worker w = { .r = r, .tr = &r->thread[0] };

	if (posix_memalign(&w.buf, 4096, STRIPE))
		die("out of memory");
	for (uint64_t stripe = 0; stripe < ds->stripes; stripe++) {
		const struct disk *d = disks_of_stripe(ds, stripe);
		unsigned int disk = (unsigned int)(d - ds->disk);
		uint64_t start = (stripe - d->first_stripe) * STRIPE;
		uint64_t first = d->first_sector + start / SECTOR;
		uint32_t len = stripe_length(d, stripe), pos, end;
		int err = 0;

		if (o->fill_percent < 100)
			err = zero_range(d, false, start, len);
		set_range(e->done, first, len / SECTOR, EXPECT_ZERO);
		set_range(e->flight, first, len / SECTOR, 0);
		stamp_fill(w.buf, len, o->seed, (uint32_t)(stripe % o->threads), disk, SEQ_FILL,
			   start);
		for (pos = 0; pos < len && !err; pos = end) {
			bool fill = filled(o, disk, start + pos);

			for (end = pos + 4096; end < len && filled(o, disk, start + end) == fill;)
				end += 4096;
			if (end > len)
				end = len;
			if (!fill)
				continue;
			err = write_all(&w, d, (char *)w.buf + pos, start + pos, end - pos, 0);
			set_range(e->done, first + pos / SECTOR, (end - pos) / SECTOR,
				  EXPECT_STAMP | SEQ_FILL);
		}
		if (err) {
			report_error(r, disk, start, err, d->path, "fill");
			break;
		}
	}
	for (unsigned int i = 0; i < ds->nr; i++)
		if (fdatasync(ds->disk[i].fd))
			report_error(r, i, 0, errno, ds->disk[i].path, "flush");
	free(w.buf);
}
