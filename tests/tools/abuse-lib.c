// SPDX-License-Identifier: GPL-2.0-or-later
/* ioctl-abuse: wrappers, suspend and resume, test pattern, TAP. */
#include "abuse.h"

#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define PATTERN_BUFFER	(1u << 20)

static unsigned int seen, failed;
static pid_t owner;
/* For the way out: what was suspended must not stay so. */
static const struct bed *the_bed;

/* --- TAP --- */

static void result(bool good, const char *fmt, va_list ap, const char *directive)
{
	printf("%sok %u - ", good ? "" : "not ", ++seen);
	vprintf(fmt, ap);
	printf("%s\n", directive);
	fflush(stdout);
	failed += !good;
}

bool ok(bool good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result(good, fmt, ap, "");
	va_end(ap);
	return good;
}

bool is(int got, int want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	result(got == want, fmt, ap, "");
	va_end(ap);
	if (got != want)
		diag("got %d (%s), wanted %d (%s)", got, got < 0 ? strerrorname_np(-got) : "-",
		     want, want < 0 ? strerrorname_np(-want) : "-");
	return got == want;
}

void skip(const char *why, const char *fmt, ...)
{
	char directive[160];
	va_list ap;

	snprintf(directive, sizeof(directive), " # SKIP %s", why);
	va_start(ap, fmt);
	result(true, fmt, ap, directive);
	va_end(ap);
}

void diag(const char *fmt, ...)
{
	va_list ap;

	fputs("# ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

int tap_end(void)
{
	printf("1..%u\n", seen);
	fflush(stdout);
	return failed != 0;
}

void bail(const char *fmt, ...)
{
	va_list ap;

	fputs("Bail out! ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	if (getpid() == owner)
		bed_resume_all();
	_exit(1);
}

/* --- the protocol --- */

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

int vb_open(int flags)
{
	int fd = open("/dev/" VMABACKUP_DEVICE_NAME, O_RDWR | O_CLOEXEC | flags);

	if (fd < 0)
		bail("open /dev/" VMABACKUP_DEVICE_NAME ": %s", strerror(errno));
	return fd;
}

int vb_info(int fd, struct vmabackup_info *info)
{
	return call(fd, VMABACKUP_IOC_INFO, info);
}

int vb_add(int fd, int disk_fd, struct vmabackup_add_disk *out)
{
	struct vmabackup_add_disk arg = { .fd = disk_fd };
	int r = call(fd, VMABACKUP_IOC_ADD_DISK, &arg);

	if (out)
		*out = arg;
	return r;
}

int vb_setup_as(int fd, const struct vmabackup_setup_slots *setup, uint64_t *length)
{
	struct vmabackup_setup_slots arg = *setup;
	int r = call(fd, VMABACKUP_IOC_SETUP_SLOTS, &arg);

	if (length)
		*length = arg.length;
	return r;
}

int vb_setup(int fd, uint32_t nr, uint32_t slot_size, uint32_t reserve, uint64_t *length)
{
	struct vmabackup_setup_slots arg = {
		.nr_slots = nr, .slot_size = slot_size, .reserve = reserve };

	return vb_setup_as(fd, &arg, length);
}

int vb_arm(int fd, uint32_t *bad_disk)
{
	struct vmabackup_arm arg = { .bad_disk = 0x55 };
	int r = call(fd, VMABACKUP_IOC_ARM, &arg);

	if (bad_disk)
		*bad_disk = arg.bad_disk;
	return r;
}

int vb_fetch(int fd, uint32_t disk, uint64_t first, uint64_t count)
{
	struct vmabackup_range arg = { .disk = disk, .first = first, .count = count };

	return call(fd, VMABACKUP_IOC_FETCH, &arg);
}

int vb_forget(int fd, uint32_t disk, uint64_t first, uint64_t count, uint64_t *forgotten)
{
	struct vmabackup_range arg = { .disk = disk, .first = first, .count = count };
	int r = call(fd, VMABACKUP_IOC_FORGET, &arg);

	if (forgotten)
		*forgotten = arg.forgotten;
	return r;
}

int vb_reap(int fd, const uint32_t *releases, uint32_t nr_releases,
	    struct vmabackup_completion *completions, uint32_t max, uint32_t flags,
	    uint32_t *nr_completions, uint32_t *nr_released)
{
	struct vmabackup_reap arg = {
		.releases = (uintptr_t)releases, .completions = (uintptr_t)completions,
		.nr_releases = nr_releases, .max_completions = max, .flags = flags,
		.nr_completions = 0x5555, .nr_released = 0x5555 };
	int r = call(fd, VMABACKUP_IOC_REAP, &arg);

	if (nr_completions)
		*nr_completions = arg.nr_completions;
	if (nr_released)
		*nr_released = arg.nr_released;
	return r;
}

int vb_status(int fd, struct vmabackup_status *st)
{
	return call(fd, VMABACKUP_IOC_STATUS, st);
}

/* --- device-mapper --- */

int bed_suspend(const struct bed_disk *d, bool suspend)
{
	struct dm_task *t = dm_task_create(suspend ? DM_DEVICE_SUSPEND : DM_DEVICE_RESUME);
	int r = -ENOMEM;

	if (!t)
		return r;
	dm_task_set_major(t, (int)major(d->dev));
	dm_task_set_minor(t, (int)minor(d->dev));
	dm_task_skip_lockfs(t);
	r = dm_task_run(t) ? 0 : -dm_task_get_errno(t);
	dm_task_destroy(t);
	return r;
}

static bool is_suspended(const struct bed_disk *d)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_INFO);
	struct dm_info info = { 0 };
	bool r = false;

	if (!t)
		return false;
	dm_task_set_major(t, (int)major(d->dev));
	dm_task_set_minor(t, (int)minor(d->dev));
	if (dm_task_run(t) && dm_task_get_info(t, &info))
		r = info.suspended;
	dm_task_destroy(t);
	return r;
}

void bed_resume_all(void)
{
	for (unsigned int i = 0; the_bed && i < the_bed->nr; i++)
		if (is_suspended(&the_bed->disk[i]))
			bed_suspend(&the_bed->disk[i], false);
}

void bed_open(struct bed *bed, char **paths, unsigned int nr)
{
	owner = getpid();
	if (nr < 1 || nr > MAX_BED_DISKS)
		bail("1 to %d disks, not %u", MAX_BED_DISKS, nr);
	for (unsigned int i = 0; i < nr; i++) {
		struct bed_disk *d = &bed->disk[i];
		struct vmabackup_add_disk info;
		struct stat st;
		int fd, r;

		d->path = paths[i];
		d->fd = open(d->path, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (d->fd < 0 || fstat(d->fd, &st) || ioctl(d->fd, BLKGETSIZE64, &d->size))
			bail("%s: %s", d->path, strerror(errno));
		d->dev = st.st_rdev;
		fd = vb_open(0);
		r = vb_add(fd, d->fd, &info);
		close(fd);
		if (r)
			bail("%s: ADD_DISK: %s", d->path, strerror(-r));
		d->chunk = info.chunk_size;
		d->nr_chunks = info.nr_chunks;
	}
	bed->nr = nr;
	the_bed = bed;
}

int bed_arm(const struct bed *bed, int fd)
{
	unsigned int i, n;
	int r = 0, r2;

	for (n = 0; n < bed->nr && !r; n++)
		r = bed_suspend(&bed->disk[n], true);
	if (!r)
		r = vb_arm(fd, NULL);
	for (i = n; i-- > 0;) {
		r2 = bed_suspend(&bed->disk[i], false);
		r = r ? r : r2;
	}
	return r;
}

uint32_t bed_slot_size(const struct bed *bed)
{
	uint32_t size = VMABACKUP_MIN_CHUNK;

	for (unsigned int i = 0; i < bed->nr; i++)
		if (bed->disk[i].chunk > size)
			size = bed->disk[i].chunk;
	return size;
}

int bed_session(const struct bed *bed, uint32_t nr_slots, uint32_t reserve, bool armed,
		uint64_t *length)
{
	struct vmabackup_setup_slots setup = bed->setup;
	int fd = vb_open(0), r;

	for (unsigned int i = 0; i < bed->nr; i++) {
		r = vb_add(fd, bed->disk[i].fd, NULL);
		if (r)
			bail("%s: ADD_DISK: %s", bed->disk[i].path, strerror(-r));
	}
	setup.nr_slots = nr_slots;
	setup.slot_size = bed_slot_size(bed);
	setup.reserve = reserve;
	r = vb_setup_as(fd, &setup, length);
	if (r)
		bail("SETUP_SLOTS: %s", strerror(-r));
	if (armed) {
		r = bed_arm(bed, fd);
		if (r)
			bail("arming: %s", strerror(-r));
	}
	return fd;
}

bool parse_policy(const char *name, uint32_t *policy)
{
	static const char *const names[] = {
		[VMABACKUP_POLICY_AUTO] = "auto", [VMABACKUP_POLICY_RING] = "ring",
		[VMABACKUP_POLICY_FLEECE] = "fleece" };

	for (*policy = 0; *policy < sizeof(names) / sizeof(names[0]); ++*policy)
		if (!strcmp(names[*policy], name))
			return true;
	return false;
}

bool parse_on_cbw_error(const char *name, uint32_t *on_cbw_error)
{
	if (!strcmp(name, "break-snapshot"))
		*on_cbw_error = VMABACKUP_BREAK_SNAPSHOT;
	else if (!strcmp(name, "break-guest-write"))
		*on_cbw_error = VMABACKUP_BREAK_GUEST_WRITE;
	else
		return false;
	return true;
}

/* --- the pattern --- */

void pattern_fill(void *buf, size_t len, uint32_t disk, uint64_t offset, uint32_t generation)
{
	uint64_t *p = buf;

	for (size_t i = 0; i < len / sizeof(*p); i++, offset += sizeof(*p))
		p[i] = (offset ^ (uint64_t)disk << 56) * 0x9e3779b97f4a7c15ull + generation;
}

void pattern_write(const struct bed *bed, uint32_t generation)
{
	void *buf = NULL;

	if (posix_memalign(&buf, 4096, PATTERN_BUFFER))
		bail("out of memory");
	for (unsigned int i = 0; i < bed->nr; i++) {
		const struct bed_disk *d = &bed->disk[i];

		for (uint64_t off = 0; off < d->size;) {
			size_t len = d->size - off < PATTERN_BUFFER ? (size_t)(d->size - off) :
								       PATTERN_BUFFER;

			pattern_fill(buf, len, i, off, generation);
			if (pwrite(d->fd, buf, len, (off_t)off) != (ssize_t)len)
				bail("%s: write at %llu: %s", d->path, (unsigned long long)off,
				     strerror(errno));
			off += len;
		}
	}
	free(buf);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t now_us(void)
{
	return now_ns() / 1000;
}
