// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The session client. The kernel checks all that it is given; what comes back
 * is checked here once, so that callers can index with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session/session.h"
#include "libvma/text.h"

#define DEVICE_PATH "/dev/" VMABACKUP_DEVICE_NAME

struct session {
	int fd;
	unsigned int nr_disks;
	uint64_t nr_chunks[VMABACKUP_MAX_DISKS];
	uint32_t chunk_size[VMABACKUP_MAX_DISKS];
	uint64_t max_slot_memory;
	uint32_t slot_size;
	unsigned int nr_slots;
	uint8_t *slots;
	size_t length;
};

int session_open(struct session **out, struct vma_error *err)
{
	struct vmabackup_info info = { 0 };
	struct session *s;
	int error;

	s = calloc(1, sizeof(*s));
	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	s->fd = open(DEVICE_PATH, O_RDWR | O_CLOEXEC);
	if (s->fd < 0) {
		error = -errno;
		if (error == -ENOENT || error == -ENXIO || error == -ENODEV)
			vma_error_set(err, "%s is not there; load the module: modprobe dm-vmabackup",
				      DEVICE_PATH);
		else
			vma_error_set(err, "cannot open %s: %s", DEVICE_PATH, strerror(-error));
		goto out_free;
	}
	if (ioctl(s->fd, VMABACKUP_IOC_INFO, &info) < 0) {
		error = -errno;
		vma_error_set(err, "%s does not answer as dm-vmabackup does: %s", DEVICE_PATH,
			      strerror(-error));
		goto out_close;
	}
	if (info.abi_version != VMABACKUP_ABI_VERSION) {
		error = -EPROTONOSUPPORT;
		vma_error_set(err, "the loaded module speaks protocol version %u, this vmactl speaks %u; install the same release of both",
			      info.abi_version, VMABACKUP_ABI_VERSION);
		goto out_close;
	}
	s->max_slot_memory = info.max_slot_memory;
	*out = s;
	return 0;

out_close:
	close(s->fd);
out_free:
	free(s);
	return error;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	if (s->slots)
		munmap(s->slots, s->length);
	close(s->fd);
	free(s);
}

int session_add_disk(struct session *s, int fd, const char *name, struct session_disk *disk,
		     struct vma_error *err)
{
	struct vmabackup_add_disk add = { .fd = fd };
	int error;

	if (ioctl(s->fd, VMABACKUP_IOC_ADD_DISK, &add) < 0) {
		error = -errno;
		switch (error) {
		case -EBUSY:
			return vma_fail(err, error,
					"disk %s is in another backup session, or armed by a message, or one that has ended still writes to its fleece device; wait for that to end (dmsetup message DEVICE 0 disarm)",
					name);
		case -EEXIST:
			return vma_fail(err, error, "disk %s is in this backup already", name);
		case -ENODEV:
		case -ENOTBLK:
			return vma_fail(err, error,
					"disk %s has no vmabackup target as its whole table", name);
		case -ENOSPC:
			return vma_fail(err, error, "disk %s is one too many: at most %u in a backup",
					name, VMABACKUP_MAX_DISKS);
		case -ENOMEM:
			return vma_fail(err, error, "the kernel has no memory for disk %s", name);
		default:
			return vma_fail(err, error, "cannot add disk %s to the session: %s", name,
					strerror(-error));
		}
	}
	if (add.disk != s->nr_disks || add.disk >= VMABACKUP_MAX_DISKS ||
	    add.chunk_size < VMABACKUP_MIN_CHUNK || add.chunk_size > VMABACKUP_MAX_CHUNK ||
	    (add.chunk_size & (add.chunk_size - 1)) || !add.size ||
	    add.nr_chunks != (add.size - 1) / add.chunk_size + 1)
		return vma_fail(err, -EPROTO, "disk %s: the kernel gives an impossible geometry", name);
	s->chunk_size[add.disk] = add.chunk_size;
	s->nr_chunks[add.disk] = add.nr_chunks;
	s->nr_disks++;
	if (s->slot_size < add.chunk_size)
		s->slot_size = add.chunk_size;
	disk->number = add.disk;
	disk->chunk_size = add.chunk_size;
	disk->size = add.size;
	disk->nr_chunks = add.nr_chunks;
	return 0;
}

static int explain_setup(const struct session *s, unsigned int nr_slots, int error,
			 struct vma_error *err)
{
	switch (error) {
	case -E2BIG:
		return vma_fail(err, error,
				"%u slots of %u bytes are more than the module allows (%llu bytes); use fewer --slots or raise its max_slot_memory_mb",
				nr_slots, s->slot_size, (unsigned long long)s->max_slot_memory);
	case -ENOMEM:
		return vma_fail(err, error,
				"the kernel has no memory for %u slots of %u bytes; use fewer --slots",
				nr_slots, s->slot_size);
	case -ENODEV:
		return vma_fail(err, error,
				"a disk has no fleece device, which the policy fleece needs; use the policy auto");
	default:
		return vma_fail(err, error, "cannot set up %u slots: %s", nr_slots,
				strerror(-error));
	}
}

int session_setup(struct session *s, const struct session_setup *setup, struct vma_error *err)
{
	struct vmabackup_setup_slots arg = {
		.nr_slots = setup->nr_slots,
		.slot_size = s->slot_size,
		.reserve = setup->reserve,
		.flags = setup->drop_discards ? VMABACKUP_SETUP_DROP_DISCARDS : 0,
		.policy = setup->policy,
		.on_cbw_error = setup->on_cbw_error,
		.cbw_timeout_ms = setup->cbw_timeout_ms,
	};
	uint64_t wanted = (uint64_t)setup->nr_slots * s->slot_size;
	void *slots;
	int error;

	if (ioctl(s->fd, VMABACKUP_IOC_SETUP_SLOTS, &arg) < 0)
		return explain_setup(s, setup->nr_slots, -errno, err);
	if (arg.length < wanted || arg.length > SIZE_MAX)
		return vma_fail(err, -EPROTO, "the kernel gives %llu bytes for %llu of slots",
				(unsigned long long)arg.length, (unsigned long long)wanted);
	slots = mmap(NULL, arg.length, PROT_READ, MAP_SHARED, s->fd, 0);
	if (slots == MAP_FAILED) {
		error = -errno;
		return vma_fail(err, error, "cannot map the slots: %s", strerror(-error));
	}
	/* A child that kept the mapping would keep the session alive. */
	if (madvise(slots, arg.length, MADV_DONTFORK) < 0) {
		error = -errno;
		munmap(slots, arg.length);
		return vma_fail(err, error, "cannot keep the slots from children: %s",
				strerror(-error));
	}
	s->slots = slots;
	s->length = arg.length;
	s->nr_slots = setup->nr_slots;
	return 0;
}

uint32_t session_slot_size(const struct session *s)
{
	return s->slot_size;
}

int session_arm(struct session *s, unsigned int *bad_disk)
{
	struct vmabackup_arm arm = { 0 };

	*bad_disk = ~0u;
	if (ioctl(s->fd, VMABACKUP_IOC_ARM, &arm) == 0)
		return 0;
	if (errno == ENOTCONN && arm.bad_disk < s->nr_disks)
		*bad_disk = arm.bad_disk;
	return -errno;
}

int session_fetch(struct session *s, unsigned int disk, uint64_t first, uint64_t count,
		  struct vma_error *err)
{
	struct vmabackup_range range = { .disk = disk, .first = first, .count = count };
	int error;

	if (ioctl(s->fd, VMABACKUP_IOC_FETCH, &range) == 0)
		return 0;
	error = -errno;
	return vma_fail(err, error, "cannot fetch chunks %llu+%llu of disk %u: %s",
			(unsigned long long)first, (unsigned long long)count, disk,
			strerror(-error));
}

int session_forget(struct session *s, unsigned int disk, uint64_t first, uint64_t count,
		   uint64_t *forgotten, struct vma_error *err)
{
	struct vmabackup_range range = { .disk = disk, .first = first, .count = count };
	int error;

	if (ioctl(s->fd, VMABACKUP_IOC_FORGET, &range) == 0) {
		*forgotten = range.forgotten;
		return 0;
	}
	error = -errno;
	return vma_fail(err, error, "cannot forget chunks %llu+%llu of disk %u: %s",
			(unsigned long long)first, (unsigned long long)count, disk,
			strerror(-error));
}

static bool completion_is_sane(const struct session *s, const struct vmabackup_completion *c)
{
	return c->disk < s->nr_disks && c->slot < s->nr_slots &&
	       c->chunk < s->nr_chunks[c->disk] && c->length &&
	       c->length <= s->chunk_size[c->disk];
}

int session_reap(struct session *s, const uint32_t *releases, unsigned int *nr_releases,
		 struct vmabackup_completion *completions, unsigned int max,
		 struct vma_error *err)
{
	struct vmabackup_reap reap = {
		.releases = (uintptr_t)releases,
		.completions = (uintptr_t)completions,
		.nr_releases = *nr_releases,
		.max_completions = max,
		.flags = VMABACKUP_REAP_NONBLOCK,
	};
	unsigned int i;
	int error;

	if (ioctl(s->fd, VMABACKUP_IOC_REAP, &reap) < 0) {
		error = -errno;
		*nr_releases = reap.nr_released <= *nr_releases ? reap.nr_released : 0;
		return vma_fail(err, error, "cannot take chunks from the session: %s",
				strerror(-error));
	}
	*nr_releases = reap.nr_released;
	if (reap.nr_completions > max)
		return vma_fail(err, -EPROTO, "the kernel delivered %u chunks where %u were asked for",
				reap.nr_completions, max);
	for (i = 0; i < reap.nr_completions; i++)
		if (!completion_is_sane(s, &completions[i]))
			return vma_fail(err, -EPROTO, "the kernel delivered an impossible chunk");
	return (int)reap.nr_completions;
}

int session_wait(struct session *s, int timeout_ms)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	int n = poll(&pfd, 1, timeout_ms);

	return n < 0 ? -errno : n;
}

const uint8_t *session_slot(const struct session *s, unsigned int slot)
{
	return s->slots + (size_t)slot * s->slot_size;
}

int session_status(struct session *s, struct vmabackup_status *status, struct vma_error *err)
{
	int error;

	memset(status, 0, sizeof(*status));
	if (ioctl(s->fd, VMABACKUP_IOC_STATUS, status) == 0)
		return 0;
	error = -errno;
	return vma_fail(err, error, "cannot read the session's status: %s", strerror(-error));
}

const char *session_reason_word(unsigned int reason)
{
	static const char *const words[] = {
		[VMABACKUP_REASON_NONE] = "none",
		[VMABACKUP_REASON_TIMEOUT] = "timeout",
		[VMABACKUP_REASON_READ_ERROR] = "read-error",
		[VMABACKUP_REASON_SUSPEND] = "suspend",
		[VMABACKUP_REASON_REPLACED] = "replaced",
		[VMABACKUP_REASON_REMOVED] = "removed",
		[VMABACKUP_REASON_READER] = "reader",
		[VMABACKUP_REASON_FLEECE_ERROR] = "fleece-error",
		[VMABACKUP_REASON_RESIZED] = "resized",
	};

	return reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "unknown";
}
