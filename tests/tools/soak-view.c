// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * soak: the actor that freezes disks by message and reads views of them, and one that
 * sends such messages when nobody expects them.
 */
#include "soak.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE		(256u << 10)
#define PIECES		((GUEST_MIB << 20) / PIECE)
/* Pieces that are read twice: a view does not change. */
#define AGAIN_PERCENT	15
#define PAUSE_MS	4000
/* A view that is being read when the round is over has peace from now on, for so long. */
#define LINGER_SECONDS	120
/* So many views have peace from what ends their instant by itself. */
#define CALM_PERCENT	60
/* Milliseconds between two bursts of messages out of turn, at most, and how many. */
#define MESSAGES_PAUSE	15000
#define MESSAGES_BURST	8

static void *buffer[2];

/*
 * Makes the view of a disk; 0 or an errno.  libdevmapper forgets why a new device could not
 * be resumed; somebody else may have disarmed the disk.
 */
static int make_view(unsigned int disk)
{
	char view[24], name[24], params[64], line[512];
	int r;

	disk_name(view, "view", disk);
	snprintf(params, sizeof(params), "/dev/mapper/soak%u", disk);
	r = dm_make(view, shared->sectors[disk], "vmabackup-view", params, true);
	disk_name(name, "", disk);
	if (r == -EIO && !dm_status(name, line, sizeof(line)) && !strstr(line, "vmabackup armed"))
		r = -EAGAIN;
	return r;
}

/* Arms all disks of the mask at one instant and makes their views; 0 or an errno. */
static int freeze(unsigned int mask, unsigned int *armed, unsigned int *made, bool *together)
{
	char name[24];
	int r = 0, r2;

	for (unsigned int d = 0; d < NR_DISKS; d++) {
		if (!(mask & 1u << d))
			continue;
		pthread_mutex_lock(&shared->disk_lock[d]);
		disk_name(name, "", d);
		r2 = dm_suspend(name, percent(50));
		if (r2 && r2 != -EINVAL)
			problem("suspend of %s failed: %s", name, strerror(-r2));
	}
	for (unsigned int d = 0; d < NR_DISKS && !r; d++) {
		if (!(mask & 1u << d))
			continue;
		disk_name(name, "", d);
		r = dm_message(name, "arm");
		if (!r)
			*armed |= 1u << d;
	}
	for (unsigned int d = 0; d < NR_DISKS && !r; d++) {
		if (!(mask & 1u << d))
			continue;
		r = make_view(d);
		if (!r)
			*made |= 1u << d;
	}
	/* Unless somebody has resumed one of them meanwhile, it is one instant. */
	*together = true;
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		disk_name(name, "", d);
		if (mask & 1u << d && !dm_is_suspended(name))
			*together = false;
	}
	for (unsigned int d = NR_DISKS; d-- > 0;) {
		if (!(mask & 1u << d))
			continue;
		disk_name(name, "", d);
		r2 = dm_resume(name, false);
		if (r2)
			problem("resume of %s failed: %s", name, strerror(-r2));
		pthread_mutex_unlock(&shared->disk_lock[d]);
	}
	return -r;
}

/* One piece of a view into the image; 0 or an errno. */
static int read_piece(unsigned int disk, int view, int image, unsigned int piece)
{
	off_t at = (off_t)piece * PIECE;

	if (pread(view, buffer[0], PIECE, at) != (ssize_t)PIECE)
		return errno ? errno : EIO;
	if (percent(AGAIN_PERCENT)) {
		sleep_ms(below(20));
		if (pread(view, buffer[1], PIECE, at) != (ssize_t)PIECE)
			return errno ? errno : EIO;
		if (memcmp(buffer[0], buffer[1], PIECE))
			problem("the view of disk %u changed at offset %llu", disk,
				(unsigned long long)at);
	}
	if (pwrite(image, buffer[0], PIECE, at) != (ssize_t)PIECE)
		die("writing an image: %s", strerror(errno));
	return 0;
}

/* The round is over, and so is the time to end what was begun in it. */
static bool is_late(uint64_t *end)
{
	if (!shared->stop)
		return false;
	if (!*end)
		*end = now_ns() + LINGER_SECONDS * 1000000000ull;
	return now_ns() > *end;
}

/* What the guest can write of a view, in any order; 0 or an errno. */
static int read_view(unsigned int disk, const char *path)
{
	unsigned int order[PIECES];
	char node[48], view[24];
	int fd, image, r = 0;
	uint64_t end = 0;

	disk_name(view, "view", disk);
	snprintf(node, sizeof(node), "/dev/mapper/%s", view);
	fd = open(node, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return errno;
	image = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (image < 0)
		die("%s: %s", path, strerror(errno));
	for (unsigned int i = 0; i < PIECES; i++) {
		unsigned int k = (unsigned int)below(i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	errno = 0;
	for (unsigned int i = 0; i < PIECES && !r; i++) {
		r = is_late(&end) ? EINTR : read_piece(disk, fd, image, order[i]);
		if (percent(10))
			sleep_ms(below(30));
	}
	close(image);
	close(fd);
	return r;
}

/* Views first or disks first: both must be safe. */
static void thaw(unsigned int armed, unsigned int made)
{
	bool view_first = percent(50);
	char name[24], line[512];
	int r;

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int d = 0; d < NR_DISKS; d++) {
			if ((pass == 0) == view_first && made & 1u << d) {
				disk_name(name, "view", d);
				r = dm_remove(name);
				if (r)
					problem("removal of %s failed: %s", name, strerror(-r));
			}
			if ((pass == 0) != view_first && armed & 1u << d) {
				disk_name(name, "", d);
				/* Unless it broke meanwhile. */
				if (!dm_status(name, line, sizeof(line)) &&
				    strstr(line, "vmabackup armed")) {
					uint64_t n = status_number(line, "spilled");

					count(N_CHUNKS_SPILLED, n == UINT64_MAX ? 0 : n);
				}
				dm_message(name, "disarm");
			}
		}
	}
}

static void unlink_images(const struct kept *k)
{
	char path[160];

	for (unsigned int d = 0; d < NR_DISKS; d++) {
		snprintf(path, sizeof(path), "%s.%u", k->path, d);
		if (k->disks & 1u << d)
			unlink(path);
	}
}

static void one_view(int actor, uint64_t nr)
{
	unsigned int mask = 1 + (unsigned int)below(percent(50) ? 2 : 3);
	unsigned int armed = 0, made = 0, whole = 0;
	bool together, calm = percent(CALM_PERCENT);
	struct kept k = { .view = true };
	char path[160];
	int r, reads = 0;

	for (unsigned int d = 0; d < NR_DISKS; d++)
		shared->calm[d] = calm && mask & 1u << d;
	doing(actor, "freezing disks %#x", mask);
	r = freeze(mask, &armed, &made, &together);
	count(N_ARMS, (uint64_t)__builtin_popcount(armed));
	snprintf(k.path, sizeof(k.path), "%s/view.%llu", config.work, (unsigned long long)nr);
	if (r) {
		/* Resumed by somebody else, in a session, without fleece, another target. */
		if (r != EAGAIN && r != EBUSY && r != ENODEV && r != EINVAL && r != ENXIO)
			problem("freezing disks %#x: %s", mask, strerror(r));
		count(N_ARMS_REFUSED, 1);
	}
	for (unsigned int d = 0; d < NR_DISKS && !r; d++) {
		if (!(mask & 1u << d))
			continue;
		doing(actor, "reading the view of disk %u", d);
		snprintf(path, sizeof(path), "%s.%u", k.path, d);
		reads = read_view(d, path);
		if (!reads) {
			whole |= 1u << d;
			count(N_VIEWS, 1);
			continue;
		}
		unlink(path);
		if (reads == EIO)
			count(N_VIEWS_BROKEN, 1);
		else if (reads != EINTR)
			problem("reading the view of disk %u: %s", d, strerror(reads));
	}
	for (unsigned int d = 0; d < NR_DISKS; d++)
		shared->calm[d] = false;
	doing(actor, "thawing disks %#x", armed);
	thaw(armed, made);
	idle(actor);
	for (unsigned int d = 0; d < NR_DISKS; d++) {
		k.disks = together ? whole : whole & 1u << d;
		whole &= ~k.disks;
		if (k.disks && !keep(&k))
			unlink_images(&k);
	}
}

void act_view(int actor)
{
	for (int i = 0; i < 2; i++)
		if (posix_memalign(&buffer[i], 4096, PIECE))
			die("out of memory");
	for (uint64_t nr = 0; !shared->stop; nr++) {
		sleep_ms(below(PAUSE_MS));
		one_view(actor, nr);
	}
}

/* Arming can only succeed while somebody has the disk suspended, so that one is repeated. */
void act_messages(int actor)
{
	while (!shared->stop) {
		unsigned int disk = (unsigned int)below(NR_DISKS);
		uint64_t pause = below(MESSAGES_PAUSE);
		char name[24];

		for (uint64_t ms = 0; ms < pause && !shared->stop; ms += 50)
			sleep_ms(50);
		disk_name(name, "", disk);
		doing(actor, "messages to %s", name);
		for (unsigned int i = 0; i < MESSAGES_BURST; i++) {
			/* Refused as a rule; what matters is that nothing else happens. */
			dm_message(name, percent(60) || shared->calm[disk] ? "arm" : "disarm");
			count(N_MESSAGES, 1);
		}
		/* One of its own may be armed. */
		while (shared->calm[disk])
			sleep_ms(50);
		dm_message(name, "disarm");
		idle(actor);
	}
}
