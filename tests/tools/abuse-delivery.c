// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ioctl-abuse: what is delivered.  Each chunk once, as it was at the instant, while a guest
 * overwrites everything; by one reader, and by several at once.
 */
#include "abuse.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define NR_SLOTS	16
#define BATCH		8
/* On a slow machine: for the last discards of a fleece device; for thieves to take it all. */
#define DISCARD_US	60000000ull
#define THIEVES_US	60000000ull

enum { GEN_OLD = 1000, GEN_NEW = 2000 };

/* One session that is being read, by one or more threads. */
struct drain {
	const struct bed *bed;
	int fd;
	char *slots;
	uint32_t slot_size;
	_Atomic uint8_t *seen[MAX_BED_DISKS];
	bool fetched_meanwhile;	/* while guests wrote */
	_Atomic uint64_t delivered, guest, fleece, twice, wrong, bad_length, bad_slot, errors;
	/* the owner of each slot as the completions tell it: 1 is ours */
	_Atomic uint8_t held[NR_SLOTS];
};

static void take(struct drain *dr, const struct vmabackup_completion *c, char *expected)
{
	const struct bed_disk *d;
	uint64_t length;

	if (c->disk >= dr->bed->nr || c->chunk >= dr->bed->disk[c->disk].nr_chunks ||
	    c->slot >= NR_SLOTS) {
		dr->errors++;
		return;
	}
	d = &dr->bed->disk[c->disk];
	length = d->size - c->chunk * d->chunk;
	if (length > d->chunk)
		length = d->chunk;
	/* Only what a guest was about to change ever goes to a fleece device. */
	if (c->length != length || (c->flags && c->flags != VMABACKUP_COMPLETION_GUEST_WRITE &&
				    c->flags != (VMABACKUP_COMPLETION_GUEST_WRITE |
						 VMABACKUP_COMPLETION_FLEECE)))
		dr->bad_length++;
	if (atomic_fetch_add(&dr->held[c->slot], 1))
		dr->bad_slot++;
	if (atomic_fetch_add(&dr->seen[c->disk][c->chunk], 1))
		dr->twice++;
	pattern_fill(expected, length, c->disk, c->chunk * d->chunk, GEN_OLD);
	if (memcmp(dr->slots + (size_t)c->slot * dr->slot_size, expected, length))
		dr->wrong++;
	dr->delivered++;
	dr->guest += !!(c->flags & VMABACKUP_COMPLETION_GUEST_WRITE);
	dr->fleece += !!(c->flags & VMABACKUP_COMPLETION_FLEECE);
}

static void *drain_thread(void *arg)
{
	struct vmabackup_completion c[BATCH];
	struct drain *dr = arg;
	char *expected = malloc(dr->slot_size);
	uint32_t slots[BATCH], n = 0, released;
	int r;

	if (!expected)
		bail("out of memory");
	for (;;) {
		for (uint32_t i = 0; i < n; i++) {
			slots[i] = c[i].slot;
			atomic_fetch_sub(&dr->held[slots[i]], 1);
		}
		r = vb_reap(dr->fd, slots, n, c, BATCH, 0, &n, &released);
		if (r) {
			diag("REAP: %s", strerror(-r));
			dr->errors++;
			break;
		}
		if (!n)
			break;
		for (uint32_t i = 0; i < n; i++)
			take(dr, &c[i], expected);
	}
	free(expected);
	return NULL;
}

struct guest {
	const struct bed *bed;
	uint64_t seed;
	_Atomic bool stop;
	uint64_t writes;
	int error;
};

/* Overwrites everything at least once, in a wild order, in pieces across borders. */
static void *guest_thread(void *arg)
{
	struct guest *g = arg;
	void *buf = NULL;

	if (posix_memalign(&buf, 4096, 2 * VMABACKUP_MAX_CHUNK))
		bail("out of memory");
	for (uint64_t i = 0; !atomic_load(&g->stop) && !g->error; i++) {
		uint32_t disk = (uint32_t)(i % g->bed->nr);
		const struct bed_disk *d = &g->bed->disk[disk];
		uint64_t off, len = 4096ull << (g->seed >> 60) % 6;

		g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
		off = (g->seed >> 20) % (d->size / 4096) * 4096;
		if (len > d->size - off)
			len = d->size - off;
		pattern_fill(buf, len, disk, off, GEN_NEW);
		if (pwrite(d->fd, buf, len, (off_t)off) != (ssize_t)len)
			g->error = errno ? errno : EIO;
		g->writes++;
	}
	free(buf);
	return NULL;
}

static void drain_open(struct drain *dr, const struct bed *bed)
{
	uint64_t length;

	memset(dr, 0, sizeof(*dr));
	dr->bed = bed;
	dr->slot_size = bed_slot_size(bed);
	dr->fd = bed_session(bed, NR_SLOTS, NR_SLOTS / 4, true, &length);
	dr->slots = mmap(NULL, length, PROT_READ, MAP_SHARED, dr->fd, 0);
	if (dr->slots == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	for (unsigned int i = 0; i < bed->nr; i++) {
		dr->seen[i] = calloc(bed->disk[i].nr_chunks, 1);
		if (!dr->seen[i])
			bail("out of memory");
	}
}

static void drain_close(struct drain *dr)
{
	munmap(dr->slots, (size_t)NR_SLOTS * dr->slot_size);
	close(dr->fd);
	for (unsigned int i = 0; i < dr->bed->nr; i++)
		free((void *)dr->seen[i]);
}

static void drain_judge(struct drain *dr, const char *what)
{
	struct vmabackup_status st;
	uint64_t total = 0, end = now_us() + DISCARD_US;
	struct vmabackup_completion c;
	struct pollfd p = { .fd = dr->fd, .events = POLLIN };
	uint32_t n = 1;

	for (unsigned int i = 0; i < dr->bed->nr; i++)
		total += dr->bed->disk[i].nr_chunks;
	if (!ok(dr->delivered == total && !dr->twice && !dr->errors,
		"%s: every chunk was delivered once", what))
		diag("%llu of %llu delivered, %llu twice, %llu errors",
		     (unsigned long long)dr->delivered, (unsigned long long)total,
		     (unsigned long long)dr->twice, (unsigned long long)dr->errors);
	if (!ok(!dr->wrong, "%s: as it was at the instant", what))
		diag("%llu chunks are wrong", (unsigned long long)dr->wrong);
	ok(!dr->bad_length && !dr->bad_slot, "%s: lengths, flags and slots are right", what);
	is(vb_status(dr->fd, &st), 0, "%s: STATUS", what);
	/* What was delivered is discarded behind our back. */
	while (st.fleece_used && now_us() < end && !vb_status(dr->fd, &st))
		usleep(10000);
	if (!ok(st.state == VMABACKUP_STATE_ARMED && !st.chunks_left && st.chunks_total == total &&
		st.chunks_guest + st.chunks_fetched == total && st.chunks_guest == dr->guest &&
		!st.chunks_forgotten && !st.writes_held_now && !st.slots_user &&
		st.slots_free == NR_SLOTS, "%s: STATUS counts agree", what))
		diag("guest %llu (%llu) fetched %llu left %llu held now %llu free %u user %u",
		     (unsigned long long)st.chunks_guest, (unsigned long long)dr->guest,
		     (unsigned long long)st.chunks_fetched, (unsigned long long)st.chunks_left,
		     (unsigned long long)st.writes_held_now, st.slots_free, st.slots_user);
	if (!ok(st.chunks_spilled >= st.chunks_refetched && st.chunks_refetched == dr->fleece &&
		!st.fleece_used && !st.fleece_error && !st.writes_failed && !st.discards_dropped,
		"%s: likewise what it says of fleece devices", what))
		diag("spilled %llu refetched %llu (%llu) used %llu error %u failed %llu",
		     (unsigned long long)st.chunks_spilled,
		     (unsigned long long)st.chunks_refetched, (unsigned long long)dr->fleece,
		     (unsigned long long)st.fleece_used, st.fleece_error,
		     (unsigned long long)st.writes_failed);
	/* Unless FETCH came by while they were on their way. */
	if (dr->bed->setup.policy == VMABACKUP_POLICY_FLEECE && !dr->fetched_meanwhile)
		ok(st.chunks_spilled >= st.chunks_guest / 2, "%s: a policy of fleece is kept to",
		   what);
	else if (dr->bed->setup.policy == VMABACKUP_POLICY_RING)
		ok(!st.chunks_spilled, "%s: a policy of ring is kept to", what);
	is(vb_reap(dr->fd, NULL, 0, &c, 1, 0, &n, NULL), 0, "%s: REAP does not wait any more", what);
	ok(n == 0, "%s: nothing comes twice", what);
	ok(poll(&p, 1, 0) == 1 && !(p.revents & POLLERR), "%s: poll says it is at its end", what);
	for (unsigned int i = 0; i < dr->bed->nr; i++)
		is(vb_fetch(dr->fd, i, 0, dr->bed->disk[i].nr_chunks), 0,
		   "%s: FETCH of what was delivered", what);
	is(vb_reap(dr->fd, NULL, 0, &c, 1, 0, &n, NULL), 0, "%s: delivers nothing", what);
	ok(n == 0, "%s: again", what);
}

static void fetch_all(const struct bed *bed, int fd)
{
	for (unsigned int i = 0; i < bed->nr; i++) {
		int r = vb_fetch(fd, i, 0, bed->disk[i].nr_chunks);

		if (r)
			bail("FETCH: %s", strerror(-r));
	}
}

static void test_threads(const struct bed *bed, unsigned int readers, unsigned int guests,
			 const char *what)
{
	pthread_t reader[8], writer[8];
	struct guest g[8];
	struct drain dr;
	uint64_t writes = 0;
	int error = 0;

	pattern_write(bed, GEN_OLD);
	drain_open(&dr, bed);
	for (unsigned int i = 0; i < guests; i++) {
		g[i] = (struct guest){ .bed = bed, .seed = 1234567 + i };
		if (pthread_create(&writer[i], NULL, guest_thread, &g[i]))
			bail("pthread_create");
	}
	fetch_all(bed, dr.fd);
	dr.fetched_meanwhile = true;
	for (unsigned int i = 0; i < readers; i++)
		if (pthread_create(&reader[i], NULL, drain_thread, &dr))
			bail("pthread_create");
	for (unsigned int i = 0; i < readers; i++)
		pthread_join(reader[i], NULL);
	for (unsigned int i = 0; i < guests; i++)
		g[i].stop = true;
	for (unsigned int i = 0; i < guests; i++) {
		pthread_join(writer[i], NULL);
		writes += g[i].writes;
		error = error ? error : g[i].error;
	}
	if (guests) {
		is(-error, 0, "%s: no write failed", what);
		diag("%s: %llu writes, %llu chunks pushed by them", what,
		     (unsigned long long)writes, (unsigned long long)dr.guest);
	}
	drain_judge(&dr, what);
	drain_close(&dr);
}

/* Nobody fetches in time: everything is delivered because it is overwritten. */
static void test_pushed(const struct bed *bed)
{
	pthread_t reader;
	struct drain dr;

	pattern_write(bed, GEN_OLD);
	drain_open(&dr, bed);
	if (pthread_create(&reader, NULL, drain_thread, &dr))
		bail("pthread_create");
	pattern_write(bed, GEN_NEW);
	/* Of no effect but for those that went to a fleece device. */
	fetch_all(bed, dr.fd);
	pthread_join(reader, NULL);
	ok(dr.guest == dr.delivered, "pushed by writes: all carry the flag");
	drain_judge(&dr, "pushed by writes");
	drain_close(&dr);
}

/* A write that may not wait is told so, and only where it would have to. */
static void test_nowait(const struct bed *bed)
{
	struct vmabackup_completion c;
	struct iovec iov = { .iov_len = 4096 };
	ssize_t before, held, safe;
	int err_before, err_held;
	uint32_t n;
	int fd;

	if (posix_memalign(&iov.iov_base, 4096, 4096))
		bail("out of memory");
	pattern_fill(iov.iov_base, 4096, 0, 0, GEN_OLD);
	before = pwritev2(bed->disk[0].fd, &iov, 1, 0, RWF_NOWAIT);
	err_before = errno;
	fd = bed_session(bed, NR_SLOTS, 0, true, NULL);
	held = pwritev2(bed->disk[0].fd, &iov, 1, 0, RWF_NOWAIT);
	err_held = errno;
	if (before < 0 && err_before == EOPNOTSUPP) {
		skip("the disk does not take RWF_NOWAIT", "a NOWAIT write that would be held");
	} else {
		ok(held < 0 && err_held == EAGAIN, "a NOWAIT write that would be held gets EAGAIN");
		if (vb_fetch(fd, 0, 0, 1) || vb_reap(fd, NULL, 0, &c, 1, 0, &n, NULL))
			bail("fetching one chunk");
		safe = pwritev2(bed->disk[0].fd, &iov, 1, 0, RWF_NOWAIT);
		ok(safe == before, "once its chunk is safe it goes as before");
	}
	close(fd);
	free(iov.iov_base);
}

struct thief {
	int fd;
	uint64_t seed;
	_Atomic bool *stop;
	uint64_t taken;		/* slots that it gave back */
	int error;		/* other than EBADSLT and the end */
};

/* Takes chunks now and then and gives back slots at random, its own or not. */
static void *thief_thread(void *arg)
{
	struct vmabackup_completion c[BATCH];
	struct thief *t = arg;
	uint32_t slots[BATCH], released;

	while (!atomic_load(t->stop)) {
		int r;

		for (int i = 0; i < BATCH; i++) {
			t->seed = t->seed * 6364136223846793005ull + 1442695040888963407ull;
			slots[i] = (uint32_t)(t->seed >> 33) % (NR_SLOTS + 2);
		}
		released = 0;
		r = vb_reap(t->fd, slots, BATCH, c, BATCH, VMABACKUP_REAP_NONBLOCK, NULL,
			    &released);
		t->taken += released;
		if (r && r != -EBADSLT && r != -EAGAIN)
			t->error = r;
		r = vb_reap(t->fd, NULL, 0, c, BATCH, VMABACKUP_REAP_NONBLOCK, NULL, NULL);
		if (r && r != -EAGAIN)
			t->error = r;
	}
	return NULL;
}

/* Giving back what another thread holds spoils the data of that session, nothing else. */
static void test_thieves(const struct bed *bed)
{
	struct thief t[3];
	pthread_t thread[3];
	struct vmabackup_status st = { 0 };
	_Atomic bool stop = false;
	uint64_t taken = 0, end = now_us() + THIEVES_US;
	int fd = bed_session(bed, NR_SLOTS, 0, true, NULL), error = 0;

	fetch_all(bed, fd);
	for (int i = 0; i < 3; i++) {
		t[i] = (struct thief){ .fd = fd, .seed = 99 + (uint64_t)i, .stop = &stop };
		if (pthread_create(&thread[i], NULL, thief_thread, &t[i]))
			bail("pthread_create");
	}
	do {
		usleep(10000);
		if (vb_status(fd, &st))
			bail("STATUS");
	} while (st.chunks_left && now_us() < end);
	stop = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		taken += t[i].taken;
		error = error ? error : t[i].error;
	}
	is(error, 0, "threads that give back any slot get EBADSLT at most");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_ARMED && !st.chunks_left, "the session got through");
	ok(taken <= st.chunks_total && taken + NR_SLOTS >= st.chunks_total,
	   "no slot was taken back more often than delivered");
	ok(st.slots_free + st.slots_user <= NR_SLOTS, "no slot is counted twice");
	close(fd);
}

void test_delivery(const struct bed *bed)
{
	test_threads(bed, 1, 0, "one reader");
	test_threads(bed, 1, 2, "one reader, two guests");
	test_threads(bed, 3, 4, "three readers, four guests");
	test_pushed(bed);
	test_nowait(bed);
	test_thieves(bed);
}
