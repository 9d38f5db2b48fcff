// SPDX-License-Identifier: GPL-2.0-or-later
/* ioctl-abuse: every refusal that the protocol promises, state by state. */
#include "abuse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define BAD_POINTER	((void *)8)

static int raw(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static void test_requests(void)
{
	struct vmabackup_info info;
	struct vmabackup_status st;
	int fd = vb_open(0), n;
	char buf[8] = { 0 };

	memset(&info, 0x55, sizeof(info));
	is(vb_info(fd, &info), 0, "INFO");
	ok(info.abi_version == VMABACKUP_ABI_VERSION && info.max_disks == VMABACKUP_MAX_DISKS &&
	   info.max_slot_memory >= VMABACKUP_MIN_SLOTS * VMABACKUP_MAX_CHUNK &&
	   info.features == (VMABACKUP_FEATURE_FLEECE | VMABACKUP_FEATURE_VIEW),
	   "INFO tells versions and limits");
	is(raw(fd, VMABACKUP_IOC_INFO, BAD_POINTER), -EFAULT, "INFO to a bad pointer");
	is(raw(fd, VMABACKUP_IOC_STATUS, BAD_POINTER), -EFAULT, "STATUS to a bad pointer");
	for (unsigned int nr = 8; nr < 256; nr += 13)
		if (raw(fd, _IOWR(VMABACKUP_IOC_MAGIC, nr, struct vmabackup_range), buf) !=
		    -ENOTTY)
			ok(false, "unknown request number %u", nr);
	is(raw(fd, _IO(VMABACKUP_IOC_MAGIC, 8), buf), -ENOTTY, "an unknown request");
	is(raw(fd, _IOR(VMABACKUP_IOC_MAGIC, 0, char[16]), buf), -ENOTTY, "INFO of a wrong size");
	is(raw(fd, _IOW(VMABACKUP_IOC_MAGIC, 0, struct vmabackup_info), &info), -ENOTTY,
	   "INFO of a wrong direction");
	is(raw(fd, _IOR('x', 0, struct vmabackup_info), &info), -ENOTTY, "another magic");
	is(raw(fd, FIONREAD, &n), -ENOTTY, "FIONREAD");
	ok(read(fd, buf, sizeof(buf)) < 0, "read() is refused");
	ok(write(fd, buf, sizeof(buf)) < 0, "write() is refused");

	memset(&st, 0x55, sizeof(st));
	is(vb_status(fd, &st), 0, "STATUS of a new session");
	ok(st.state == VMABACKUP_STATE_NEW && !st.reason && !st.error && st.error_disk == ~0u &&
	   st.error_offset == ~0ull && !st.nr_disks && !st.nr_slots && !st.slots_free &&
	   !st.slots_user && !st.chunks_total && !st.chunks_left && !st.chunks_guest &&
	   !st.chunks_fetched && !st.chunks_forgotten && !st.writes_held && !st.writes_held_now &&
	   !st.longest_wait_us && !st.total_wait_us && !st.chunks_spilled &&
	   !st.chunks_refetched && !st.writes_failed && !st.discards_dropped && !st.fleece_used &&
	   !st.copies_now && !st.fleece_error, "STATUS of a new session is blank");
	close(fd);
}

static void test_new(void)
{
	struct vmabackup_completion c;
	int fd = vb_open(0);

	is(vb_arm(fd, NULL), -ENOENT, "ARM without slots");
	is(vb_setup(fd, 4, VMABACKUP_MAX_CHUNK, 0, NULL), -ENOENT, "SETUP_SLOTS without a disk");
	is(vb_forget(fd, 0, 0, 1, NULL), -ENOENT, "FORGET without a disk");
	is(vb_fetch(fd, 0, 0, 1), -EBUSY, "FETCH before arming");
	is(vb_reap(fd, NULL, 0, &c, 1, VMABACKUP_REAP_NONBLOCK, NULL, NULL), -EBUSY,
	   "REAP before arming");
	is(vb_reap(fd, NULL, 0, &c, 1, 0, NULL, NULL), -EBUSY,
	   "REAP before arming does not wait");
	ok(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED, "mmap before there are slots");
	close(fd);
}

static int add_path(int fd, const char *path, int flags)
{
	int disk = open(path, flags | O_CLOEXEC), r;

	if (disk < 0)
		bail("%s: %s", path, strerror(errno));
	r = vb_add(fd, disk, NULL);
	close(disk);
	return r;
}

static void test_add_disk(const struct bed *bed)
{
	const struct bed_disk *d = &bed->disk[0];
	struct vmabackup_add_disk arg;
	struct vmabackup_status st;
	int fd = vb_open(0), other = vb_open(0), pair[2], dir, copy, memfd, r;

	is(vb_add(fd, -1, NULL), -EBADF, "ADD_DISK of fd -1");
	is(vb_add(fd, 1 << 20, NULL), -EBADF, "ADD_DISK of an fd that is not open");
	is(add_path(fd, d->path, O_WRONLY), -EBADF, "ADD_DISK of a write-only fd");
	is(add_path(fd, d->path, O_PATH), -EBADF, "ADD_DISK of an O_PATH fd");
	memfd = memfd_create("abuse", MFD_CLOEXEC);
	is(vb_add(fd, memfd, NULL), -ENOTBLK, "ADD_DISK of a regular file");
	close(memfd);
	is(add_path(fd, "/dev/zero", O_RDONLY), -ENOTBLK, "ADD_DISK of a character device");
	is(vb_add(fd, fd, NULL), -ENOTBLK, "ADD_DISK of the session itself");
	dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is(vb_add(fd, dir, NULL), -ENOTBLK, "ADD_DISK of a directory");
	close(dir);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		bail("socketpair: %s", strerror(errno));
	is(vb_add(fd, pair[0], NULL), -ENOTBLK, "ADD_DISK of a socket");
	close(pair[0]);
	close(pair[1]);
	if (bed->plain)
		is(add_path(fd, bed->plain, O_RDONLY), -ENODEV, "ADD_DISK of a plain block device");
	else
		skip("no --plain", "ADD_DISK of a plain block device");
	if (bed->linear)
		is(add_path(fd, bed->linear, O_RDONLY), -ENODEV, "ADD_DISK of a linear target");
	else
		skip("no --linear", "ADD_DISK of a linear target");
	is(raw(fd, VMABACKUP_IOC_ADD_DISK, BAD_POINTER), -EFAULT, "ADD_DISK of a bad pointer");
	for (unsigned int bit = 0; bit < 32; bit += 31) {
		arg = (struct vmabackup_add_disk){ .fd = d->fd, .flags = 1u << bit };
		is(raw(fd, VMABACKUP_IOC_ADD_DISK, &arg), -EINVAL, "ADD_DISK with flag %u", bit);
	}
	vb_status(fd, &st);
	ok(!st.nr_disks && !st.chunks_total, "nothing of that was added");

	copy = open(d->path, O_RDONLY | O_CLOEXEC);
	is(vb_add(fd, copy, &arg), 0, "ADD_DISK, by a read-only fd");
	close(copy);
	ok(arg.disk == 0 && arg.size == d->size && arg.chunk_size >= VMABACKUP_MIN_CHUNK &&
	   arg.chunk_size <= VMABACKUP_MAX_CHUNK && !(arg.chunk_size & (arg.chunk_size - 1)) &&
	   arg.nr_chunks == (d->size + arg.chunk_size - 1) / arg.chunk_size,
	   "ADD_DISK tells its number, size and chunks");
	is(vb_add(fd, d->fd, NULL), -EEXIST, "ADD_DISK of the same disk");
	is(vb_add(other, d->fd, NULL), -EBUSY, "ADD_DISK of a disk in another session");
	vb_status(fd, &st);
	ok(st.nr_disks == 1 && st.chunks_total == d->nr_chunks && st.chunks_left == d->nr_chunks,
	   "STATUS counts its chunks");
	if (bed->nr > 1) {
		is(vb_add(fd, bed->disk[1].fd, &arg), 0, "ADD_DISK of a second disk");
		ok(arg.disk == 1, "it is number 1");
	} else {
		skip("one disk", "ADD_DISK of a second disk");
	}
	close(fd);
	is(vb_add(other, d->fd, NULL), 0, "ADD_DISK once the other session was closed");
	close(other);

	/* The answer can't be stored: whatever was done must be seen by the next call. */
	fd = vb_open(0);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	*(struct vmabackup_add_disk *)page = (struct vmabackup_add_disk){ .fd = d->fd };
	mprotect(page, 4096, PROT_READ);
	is(raw(fd, VMABACKUP_IOC_ADD_DISK, page), -EFAULT, "ADD_DISK with the answer unwritable");
	vb_status(fd, &st);
	r = vb_add(fd, d->fd, NULL);
	ok(r == (st.nr_disks ? -EEXIST : 0), "what it did and STATUS agree");
	munmap(page, 4096);
	close(fd);
}

/* What SETUP_SLOTS lets one choose, and what is out of its range. */
static void setup_choices(int fd, uint32_t size, bool fleece)
{
	static const struct {
		struct vmabackup_setup_slots setup;
		const char *name;
	} bad[] = {
		{ { .policy = VMABACKUP_POLICY_FLEECE + 1 }, "the policy after the last" },
		{ { .policy = ~0u }, "policy 2^32 - 1" },
		{ { .on_cbw_error = VMABACKUP_BREAK_GUEST_WRITE + 1 },
		  "the on_cbw_error after the last" },
		{ { .on_cbw_error = ~0u }, "on_cbw_error 2^32 - 1" },
		{ { .cbw_timeout_ms = VMABACKUP_MAX_TIMEOUT_MS + 1 }, "a timeout beyond an hour" },
		{ { .cbw_timeout_ms = ~0u }, "a timeout of 2^32 - 1" },
		{ { .reserved = 1 }, "reserved 1" },
		{ { .reserved = 1u << 31 }, "reserved 2^31" },
	};
	struct vmabackup_setup_slots arg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		arg = bad[i].setup;
		arg.nr_slots = 8;
		arg.slot_size = size;
		is(raw(fd, VMABACKUP_IOC_SETUP_SLOTS, &arg), -EINVAL, "SETUP_SLOTS with %s",
		   bad[i].name);
	}
	if (fleece) {
		skip("all disks have one", "a policy of fleece for disks without fleece devices");
		return;
	}
	arg = (struct vmabackup_setup_slots){
		.nr_slots = 8, .slot_size = size, .policy = VMABACKUP_POLICY_FLEECE };
	is(raw(fd, VMABACKUP_IOC_SETUP_SLOTS, &arg), -ENODEV,
	   "a policy of fleece for disks without fleece devices");
}

/* What is in range is taken: a session of its own for each. */
static void test_good_choices(const struct bed *bed)
{
	static const struct {
		struct vmabackup_setup_slots setup;
		const char *name;
	} good[] = {
		{ { .policy = VMABACKUP_POLICY_RING }, "a policy of ring" },
		{ { .policy = VMABACKUP_POLICY_AUTO }, "a policy of auto" },
		{ { .on_cbw_error = VMABACKUP_BREAK_SNAPSHOT }, "break-snapshot" },
		{ { .on_cbw_error = VMABACKUP_BREAK_GUEST_WRITE }, "break-guest-write" },
		{ { .cbw_timeout_ms = VMABACKUP_MIN_TIMEOUT_MS }, "the shortest timeout" },
		{ { .cbw_timeout_ms = VMABACKUP_MAX_TIMEOUT_MS }, "the longest timeout" },
		{ { .flags = VMABACKUP_SETUP_DROP_DISCARDS }, "drop_discards" },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct vmabackup_setup_slots arg = good[i].setup;
		int fd = vb_open(0);

		if (vb_add(fd, bed->disk[0].fd, NULL))
			bail("ADD_DISK");
		arg.nr_slots = 4;
		arg.slot_size = bed_slot_size(bed);
		is(raw(fd, VMABACKUP_IOC_SETUP_SLOTS, &arg), 0, "SETUP_SLOTS with %s",
		   good[i].name);
		close(fd);
	}
}

static void test_setup(const struct bed *bed)
{
	uint32_t size = bed_slot_size(bed);
	struct vmabackup_setup_slots arg;
	struct vmabackup_add_disk disk;
	struct vmabackup_status st;
	struct vmabackup_info info;
	int fd = vb_open(0);
	bool fleece = true;
	uint64_t length;

	vb_info(fd, &info);
	for (unsigned int i = 0; i < bed->nr; i++) {
		if (vb_add(fd, bed->disk[i].fd, &disk))
			bail("ADD_DISK");
		fleece &= disk.disk_flags & VMABACKUP_DISK_FLEECE;
	}
	is(vb_setup(fd, 0, size, 0, NULL), -EINVAL, "SETUP_SLOTS of none");
	is(vb_setup(fd, VMABACKUP_MIN_SLOTS - 1, size, 0, NULL), -EINVAL, "SETUP_SLOTS of one");
	is(vb_setup(fd, VMABACKUP_MAX_SLOTS + 1, size, 0, NULL), -EINVAL, "SETUP_SLOTS of too many");
	is(vb_setup(fd, ~0u, size, 0, NULL), -EINVAL, "SETUP_SLOTS of 2^32 - 1");
	is(vb_setup(fd, 8, 0, 0, NULL), -EINVAL, "slot size 0");
	is(vb_setup(fd, 8, size / 2, 0, NULL), -EINVAL, "slot size below the chunk size");
	is(vb_setup(fd, 8, 4096, 0, NULL), -EINVAL, "slot size 4096");
	is(vb_setup(fd, 8, size + 4096, 0, NULL), -EINVAL, "slot size that is no power of two");
	is(vb_setup(fd, 8, 2 * VMABACKUP_MAX_CHUNK, 0, NULL), -EINVAL, "slot size 2 MiB");
	is(vb_setup(fd, 8, 1u << 31, 0, NULL), -EINVAL, "slot size 2 GiB");
	is(vb_setup(fd, 8, size, 8, NULL), -EINVAL, "all slots in reserve");
	is(vb_setup(fd, 8, size, ~0u, NULL), -EINVAL, "more slots in reserve than there are");
	for (unsigned int bit = 1; bit < 32; bit += 30) {
		arg = (struct vmabackup_setup_slots){
			.nr_slots = 8, .slot_size = size, .flags = 1u << bit };
		is(raw(fd, VMABACKUP_IOC_SETUP_SLOTS, &arg), -EINVAL, "SETUP_SLOTS with flag %u",
		   bit);
	}
	setup_choices(fd, size, fleece);
	is(raw(fd, VMABACKUP_IOC_SETUP_SLOTS, BAD_POINTER), -EFAULT, "SETUP_SLOTS of a bad pointer");
	if (info.max_slot_memory < (uint64_t)VMABACKUP_MAX_SLOTS * VMABACKUP_MAX_CHUNK)
		is(vb_setup(fd, VMABACKUP_MAX_SLOTS, VMABACKUP_MAX_CHUNK, 0, NULL), -E2BIG,
		   "more slot memory than allowed");
	else
		skip("the bound is above all that can be asked for",
		     "more slot memory than allowed");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_NEW && !st.nr_slots, "nothing of that made slots");

	is(vb_setup(fd, 8, size, 7, &length), 0, "SETUP_SLOTS");
	ok(length == 8ull * size, "it tells the length of the mapping");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_READY && st.nr_slots == 8 && st.slots_free == 8 &&
	   !st.slots_user, "STATUS counts the slots");
	is(vb_setup(fd, 8, size, 7, NULL), -EBUSY, "SETUP_SLOTS twice");
	is(vb_add(fd, bed->disk[0].fd, NULL), -EBUSY, "ADD_DISK after SETUP_SLOTS");
	is(vb_fetch(fd, 0, 0, 1), -EBUSY, "FETCH before arming, with slots");
	close(fd);
}

static void test_arm(const struct bed *bed)
{
	int fd = bed_session(bed, 8, 0, false, NULL);
	uint32_t bad = 0x55;
	struct vmabackup_arm arg;
	struct vmabackup_status st;

	is(vb_arm(fd, &bad), -ENOTCONN, "ARM with no disk suspended");
	ok(bad < bed->nr, "it tells a disk of the session as the bad one");
	if (bed->nr > 1) {
		for (unsigned int i = 0; i < 2; i++) {
			bed_suspend(&bed->disk[i], true);
			is(vb_arm(fd, &bad), -ENOTCONN, "ARM with only disk %u suspended", i);
			ok(bad == 1 - i, "it tells the other as the bad one");
			bed_suspend(&bed->disk[i], false);
		}
	} else {
		skip("one disk", "ARM with only one of two disks suspended");
	}
	is(raw(fd, VMABACKUP_IOC_ARM, BAD_POINTER), -EFAULT, "ARM of a bad pointer");
	for (unsigned int i = 0; i < bed->nr; i++)
		bed_suspend(&bed->disk[i], true);
	arg = (struct vmabackup_arm){ .flags = 1 };
	is(raw(fd, VMABACKUP_IOC_ARM, &arg), -EINVAL, "ARM with a flag");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_READY, "none of these armed");
	is(vb_arm(fd, NULL), 0, "ARM");
	is(vb_arm(fd, NULL), -EBUSY, "ARM twice, still suspended");
	for (unsigned int i = bed->nr; i-- > 0;)
		bed_suspend(&bed->disk[i], false);
	is(vb_arm(fd, NULL), -EBUSY, "ARM twice");
	is(vb_setup(fd, 8, bed_slot_size(bed), 0, NULL), -EBUSY, "SETUP_SLOTS after ARM");
	is(vb_add(fd, bed->disk[0].fd, NULL), -EBUSY, "ADD_DISK after ARM");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_ARMED, "STATUS says armed");
	close(fd);
}

static void bad_ranges(int fd, const struct bed *bed, unsigned long request, const char *what)
{
	uint64_t n = bed->disk[0].nr_chunks;
	const struct {
		struct vmabackup_range range;
		int error;
		const char *name;
	} cases[] = {
		{ { .count = 0 }, -EINVAL, "count 0" },
		{ { .flags = 1, .count = 1 }, -EINVAL, "a flag" },
		{ { .flags = 1u << 31, .count = 1 }, -EINVAL, "another flag" },
		{ { .disk = bed->nr, .count = 1 }, -ENOENT, "the next disk" },
		{ { .disk = VMABACKUP_MAX_DISKS, .count = 1 }, -ENOENT, "disk 254" },
		{ { .disk = ~0u, .count = 1 }, -ENOENT, "disk 2^32 - 1" },
		{ { .disk = 1u << 31, .count = 1 }, -ENOENT, "disk 2^31" },
		{ { .first = n, .count = 1 }, -ERANGE, "the chunk after the last" },
		{ { .first = n - 1, .count = 2 }, -ERANGE, "the last chunk and one more" },
		{ { .first = 0, .count = n + 1 }, -ERANGE, "one more than all" },
		{ { .first = ~0ull, .count = 1 }, -ERANGE, "chunk 2^64 - 1" },
		{ { .first = ~0ull, .count = 2 }, -ERANGE, "a sum that wraps to 1" },
		{ { .first = 1, .count = ~0ull }, -ERANGE, "a sum that wraps to 0" },
		{ { .first = 2, .count = ~0ull }, -ERANGE, "a sum that wraps to 1 again" },
		{ { .first = 1ull << 32, .count = 1 }, -ERANGE, "chunk 2^32" },
		{ { .first = 0, .count = (1ull << 32) + 1 }, -ERANGE, "2^32 + 1 chunks" },
		{ { .first = 1ull << 63, .count = 1ull << 63 }, -ERANGE, "2^63 from 2^63" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmabackup_range range = cases[i].range;

		is(raw(fd, request, &range), cases[i].error, "%s: %s", what, cases[i].name);
	}
	is(raw(fd, request, BAD_POINTER), -EFAULT, "%s: a bad pointer", what);
}

static void test_ranges(const struct bed *bed)
{
	int fd = bed_session(bed, 2, 0, false, NULL), r = 0;
	uint64_t n = bed->disk[0].nr_chunks, forgotten;
	struct vmabackup_status st;
	unsigned int queued;

	bad_ranges(fd, bed, VMABACKUP_IOC_FORGET, "FORGET before arming");
	is(vb_forget(fd, 0, n - 1, 1, &forgotten), 0, "FORGET before arming");
	ok(forgotten == 1, "it tells one chunk");
	is(vb_forget(fd, 0, n - 2, 2, &forgotten), 0, "FORGET that overlaps it");
	ok(forgotten == 1, "it tells only the other chunk");
	r = bed_arm(bed, fd);
	if (r)
		bail("arming: %s", strerror(-r));
	bad_ranges(fd, bed, VMABACKUP_IOC_FORGET, "FORGET");
	bad_ranges(fd, bed, VMABACKUP_IOC_FETCH, "FETCH");
	vb_status(fd, &st);
	ok(st.chunks_forgotten == 2 && st.chunks_left == st.chunks_total - 2 &&
	   !st.chunks_fetched && !st.chunks_guest, "only the good ones were counted");

	/* Two slots are soon full; the queue is what is left to fill. */
	for (queued = 0; queued < VMABACKUP_MAX_RANGES + 16; queued++) {
		r = vb_fetch(fd, 0, 0, n);
		if (r)
			break;
	}
	is(r, -ENOBUFS, "FETCH of too many ranges");
	ok(queued == VMABACKUP_MAX_RANGES, "after %u of them (got %u)", VMABACKUP_MAX_RANGES,
	   queued);
	is(vb_fetch(fd, 0, 0, 1), -ENOBUFS, "and it stays full");
	is(vb_forget(fd, 0, 0, n, &forgotten), 0, "FORGET of all that is left");
	vb_status(fd, &st);
	ok(st.chunks_forgotten == forgotten + 2 &&
	   forgotten + 2 + st.chunks_fetched + st.chunks_left >= n &&
	   forgotten <= n - 2, "chunks that are copied or being copied are not forgotten");
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void test_reap(const struct bed *bed)
{
	int fd = bed_session(bed, 8, 0, true, NULL);
	struct vmabackup_completion c[VMABACKUP_MAX_BATCH + 1];
	uint32_t slots[VMABACKUP_MAX_BATCH + 1] = { 0 }, n, released;
	struct sigaction sa = { .sa_handler = on_alarm }, old;
	struct itimerval timer = {
		.it_value.tv_usec = 200000,
		/* Again and again: the first may come before REAP waits. */
		.it_interval.tv_usec = 200000,
	}, off = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct vmabackup_reap arg;
	struct vmabackup_status st;
	int nonblock;

	is(vb_reap(fd, NULL, 0, c, 1, VMABACKUP_REAP_NONBLOCK, &n, NULL), -EAGAIN,
	   "REAP with nothing there");
	ok(poll(&p, 1, 0) == 0, "poll says there is nothing");
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	is(vb_reap(fd, NULL, 0, c, 1, 0, &n, NULL), -EAGAIN, "REAP with O_NONBLOCK");
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);

	sigaction(SIGALRM, &sa, &old);
	alarm(0);
	setitimer(ITIMER_REAL, &timer, NULL);
	is(vb_reap(fd, NULL, 0, c, 1, 0, &n, NULL), -EINTR, "a signal ends a REAP that waits");
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	alarm(TEST_SECONDS);

	for (unsigned int bit = 1; bit < 32; bit += 15) {
		arg = (struct vmabackup_reap){ .flags = 1u << bit | VMABACKUP_REAP_NONBLOCK };
		is(raw(fd, VMABACKUP_IOC_REAP, &arg), -EINVAL, "REAP with flag %u", bit);
	}
	arg = (struct vmabackup_reap){ .reserved = 1 };
	is(raw(fd, VMABACKUP_IOC_REAP, &arg), -EINVAL, "REAP with the reserved field set");
	is(vb_reap(fd, slots, VMABACKUP_MAX_BATCH + 1, NULL, 0, 0, NULL, NULL), -EINVAL,
	   "REAP of too many releases");
	is(vb_reap(fd, NULL, 0, c, VMABACKUP_MAX_BATCH + 1, VMABACKUP_REAP_NONBLOCK, NULL, NULL),
	   -EINVAL, "REAP of too many completions");
	is(vb_reap(fd, NULL, ~0u, c, ~0u, VMABACKUP_REAP_NONBLOCK, NULL, NULL), -EINVAL,
	   "REAP of 2^32 - 1 of both");
	is(vb_reap(fd, BAD_POINTER, 1, NULL, 0, 0, NULL, NULL), -EFAULT,
	   "REAP with a bad pointer to releases");
	is(raw(fd, VMABACKUP_IOC_REAP, BAD_POINTER), -EFAULT, "REAP of a bad pointer");
	is(vb_reap(fd, NULL, 0, NULL, 0, 0, &n, &released), 0, "REAP of nothing at all");
	ok(!n && !released, "does nothing");

	slots[0] = 0;
	is(vb_reap(fd, slots, 1, NULL, 0, 0, NULL, &released), -EBADSLT,
	   "giving back a slot that was never delivered");
	ok(!released, "none was taken back");
	for (uint32_t foreign = 8; foreign; foreign = foreign == 8 ? 1u << 31 :
					      foreign == 1u << 31 ? ~0u : 0) {
		slots[0] = foreign;
		is(vb_reap(fd, slots, 1, NULL, 0, 0, NULL, &released), -EBADSLT,
		   "giving back slot %u of 8", foreign);
	}

	is(vb_fetch(fd, 0, 0, 4), 0, "FETCH of four");
	for (unsigned int got = 0; got < 4; got += n)
		if (vb_reap(fd, NULL, 0, c + got, 4 - got, 0, &n, NULL) || !n)
			bail("REAP of what was fetched");
	for (unsigned int i = 0; i < 4; i++)
		slots[i] = c[i].slot;
	vb_status(fd, &st);
	ok(st.slots_user == 4 && st.slots_free == 4, "four slots are ours");
	slots[4] = slots[2];
	is(vb_reap(fd, slots + 2, 3, c + 8, 8, VMABACKUP_REAP_NONBLOCK, &n, &released), -EBADSLT,
	   "giving back a slot twice in one call");
	ok(released == 2 && !n, "the two before it were taken back");
	is(vb_reap(fd, slots + 3, 1, NULL, 0, 0, NULL, &released), -EBADSLT,
	   "giving back a slot twice in two calls");
	is(vb_reap(fd, slots, 2, c + 8, 8, VMABACKUP_REAP_NONBLOCK, &n, &released), -EAGAIN,
	   "giving back the others, with nothing there");
	ok(released == 2, "they were taken back though");
	vb_status(fd, &st);
	ok(st.slots_user == 0 && st.slots_free == 8, "all slots are free");

	is(vb_fetch(fd, 0, 4, 1), 0, "FETCH of one");
	ok(poll(&p, 1, 10000) == 1 && p.revents == POLLIN, "poll says there is one");
	is(vb_reap(fd, NULL, 0, BAD_POINTER, 1, VMABACKUP_REAP_NONBLOCK, NULL, NULL), -EFAULT,
	   "REAP with a bad pointer to completions");
	vb_status(fd, &st);
	ok(st.state == VMABACKUP_STATE_BROKEN && st.reason == VMABACKUP_REASON_READER,
	   "that breaks the session");
	is(vb_reap(fd, NULL, 0, c, 1, 0, NULL, NULL), -ESTALE, "REAP of a broken session");
	is(vb_reap(fd, slots, 1, NULL, 0, 0, NULL, NULL), -ESTALE,
	   "giving back a slot to a broken session");
	is(vb_fetch(fd, 0, 0, 1), -ESTALE, "FETCH of a broken session");
	is(vb_forget(fd, 0, 0, 1, NULL), -ESTALE, "FORGET of a broken session");
	is(vb_arm(fd, NULL), -ESTALE, "ARM of a broken session");
	is(vb_setup(fd, 8, bed_slot_size(bed), 0, NULL), -ESTALE,
	   "SETUP_SLOTS of a broken session");
	is(vb_add(fd, bed->disk[0].fd, NULL), -ESTALE, "ADD_DISK to a broken session");
	nonblock = poll(&p, 1, 0);
	ok(nonblock == 1 && p.revents & POLLERR, "poll says it is broken");
	close(fd);
}

void test_protocol(const struct bed *bed)
{
	test_requests();
	test_new();
	test_add_disk(bed);
	test_setup(bed);
	test_good_choices(bed);
	test_arm(bed);
	test_ranges(bed);
	test_reap(bed);
}
