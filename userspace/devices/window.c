// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Suspend, resume and the watchdog.
 *
 * A page shared with the watchdog says which disks are about to be, or are,
 * suspended by us and since when; the parent writes it, the child reads it once
 * the parent is gone (end of file on a socket) or late. Both may resume the
 * same disk: the second resume does nothing.
 *
 * Resumes carry no udev cookie. A cookie lets the caller wait for device nodes
 * and symlinks; a plain resume changes none, and the cookie, a System V
 * semaphore, would be left behind by a kill in the window. libdevmapper marks
 * the event as a primary one either way, so udev's rules see it as usual.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libdevmapper.h>

#include "devices/dmlog.h"
#include "devices/window.h"
#include "libvma/text.h"

/*
 * libdevmapper allocates an ioctl buffer of 16 KiB for each call; with its
 * small change, 32 KiB is more than one call takes.
 */
#define HEAP_PER_CALL	32768
#define HEAP_SPARE	262144

/* glibc's own M_MMAP_MAX. */
#define MMAP_MAX_DEFAULT	65536

/* How deep libdevmapper's and the C library's frames may get, with room. */
#define STACK_SPARE	131072

/* A resume fails for lack of memory only, and then a little later succeeds. */
#define RESUME_TRIES	3

/* How often the watchdog looks whether the window has lasted too long. */
#define WATCHDOG_LOOK_MS	500

struct shared {
	_Atomic uint64_t entered_ms;			/* 0: not in the window */
	_Atomic bool ran_out;				/* the watchdog has resumed all */
	_Atomic unsigned char suspended[WINDOW_MAX_DISKS];
};

struct window {
	unsigned int n;
	dev_t disks[WINDOW_MAX_DISKS];
	struct dm_task *suspend[WINDOW_MAX_DISKS];
	struct dm_task *resume[WINDOW_MAX_DISKS];
	struct shared *shared;
	pid_t watchdog;
	int socket;				/* the watchdog's life line */
	bool suspended;				/* by our caller's caller */
	struct timespec entered;
	uint64_t duration_us;
	uint64_t faults;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

static struct dm_task *new_task(int type, dev_t dev)
{
	struct dm_task *task = dm_task_create(type);

	if (task && (!dm_task_set_major_minor(task, (int)major(dev), (int)minor(dev), 0) ||
		     !dm_task_no_open_count(task))) {
		dm_task_destroy(task);
		task = NULL;
	}
	return task;
}

static int run_task(struct dm_task *task)
{
	int error;

	if (dm_task_run(task))
		return 0;
	error = dm_task_get_errno(task);
	return error ? -error : -EIO;
}

static int resume_disk(struct dm_task *task)
{
	int tries, r = -EIO;

	for (tries = 0; tries < RESUME_TRIES && r; tries++)
		r = run_task(task);
	return r;
}

/* Keeps the heap from going back to the system, and gets and touches enough of it. */
static int reserve_heap(unsigned int calls)
{
	size_t size = (size_t)calls * HEAP_PER_CALL + HEAP_SPARE;
	char *heap;

	if (!mallopt(M_TRIM_THRESHOLD, INT32_MAX))
		return -ENOMEM;
	/* From the heap, however much it is: a mapping of its own would go back at once. */
	if (!mallopt(M_MMAP_MAX, 0))
		return -ENOMEM;
	heap = malloc(size);
	mallopt(M_MMAP_MAX, MMAP_MAX_DEFAULT);
	if (!heap)
		return -ENOMEM;
	memset(heap, 1, size);
	/* Or the compiler may see that nobody reads it and leave the pair out. */
	__asm__ volatile("" : : "r"(heap) : "memory");
	free(heap);
	return 0;
}

static void __attribute__((noinline)) touch_stack(void)
{
	char stack[STACK_SPARE];

	memset(stack, 1, sizeof(stack));
	__asm__ volatile("" : : "r"(stack) : "memory");
}

/* ---- the child ------------------------------------------------------- */

static int watchdog_resume(struct window *w)
{
	unsigned int i;
	int failed = 0;

	for (i = w->n; i-- > 0;) {
		if (!atomic_load(&w->shared->suspended[i]))
			continue;
		if (resume_disk(w->resume[i]))
			failed = 1;
		/* Once: who suspends it later means something else.  Our parent may be about to. */
		else if (w->suspended)
			atomic_store(&w->shared->suspended[i], 0);
	}
	return failed;
}

static int watchdog_setup(struct window *w)
{
	unsigned int i;
	int fd;

	setsid();
	/* The last process that the host should be short of memory for. */
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		/* Not being root it fails, and the child lives with its ordinary score. */
		dprintf(fd, "-1000");
		close(fd);
	}
	/* Keeps neither a pipe's writing end nor a disk of the parent's. */
	dm_lib_release();
	if (w->socket != 3) {
		if (dup2(w->socket, 3) < 0)
			return -errno;
		w->socket = 3;
	}
	if (close_range(4, ~0u, 0) < 0)
		return -errno;
	fd = open("/dev/null", O_RDWR);
	if (fd < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return -errno;
	dm_hold_control_dev(1);
	for (i = 0; i < w->n; i++) {
		w->resume[i] = new_task(DM_DEVICE_RESUME, w->disks[i]);
		if (!w->resume[i])
			return -ENOMEM;
	}
	if (reserve_heap(w->n * RESUME_TRIES))
		return -ENOMEM;
	touch_stack();
	/* Fails without the privilege for it; the parent reports that for both. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0 && errno != EPERM && errno != ENOMEM)
		return -errno;
	return 0;
}

__attribute__((noreturn))
static void watchdog_main(struct window *w)
{
	struct pollfd pfd;
	uint64_t entered;
	char byte = 0;
	int r;

	r = watchdog_setup(w);
	if (r || write(w->socket, &byte, 1) != 1)
		_exit(1);
	pfd.fd = w->socket;
	pfd.events = POLLIN;
	for (;;) {
		r = poll(&pfd, 1, WATCHDOG_LOOK_MS);
		if (r > 0 && read(w->socket, &byte, 1) <= 0)
			_exit(watchdog_resume(w));
		entered = atomic_load(&w->shared->entered_ms);
		if (entered && now_ms() - entered > WINDOW_LIMIT_MS) {
			atomic_store(&w->shared->ran_out, true);
			watchdog_resume(w);
		}
	}
}

static int start_watchdog(struct window *w, struct vma_error *err)
{
	sigset_t all, old;
	int sockets[2];
	char byte;
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return vma_fail(err, -errno, "cannot make a socket pair: %s", strerror(errno));
	/* All signals stay blocked in the child: only the parent's end ends it. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	w->watchdog = fork();
	if (w->watchdog == 0) {
		w->socket = sockets[1];
		watchdog_main(w);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(sockets[1]);
	if (w->watchdog < 0) {
		close(sockets[0]);
		return vma_fail(err, -errno, "cannot start the watchdog: %s", strerror(errno));
	}
	w->socket = sockets[0];
	do {
		n = read(w->socket, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		return vma_fail(err, -ECHILD, "the watchdog of the suspended disks did not start");
	return 0;
}

/* ---- the parent ------------------------------------------------------ */

static void note_entered(struct window *w)
{
	clock_gettime(CLOCK_MONOTONIC, &w->entered);
	atomic_store(&w->shared->entered_ms, now_ms());
}

int window_new(struct window **out, const dev_t *disks, unsigned int n, bool suspended,
	       struct vma_error *err)
{
	struct window *w;
	unsigned int i;
	int r;

	if (!n || n > WINDOW_MAX_DISKS)
		return vma_fail(err, -EINVAL, "%u disks cannot be suspended together", n);
	w = calloc(1, sizeof(*w));
	if (!w)
		return vma_fail(err, -ENOMEM, "out of memory");
	w->n = n;
	w->socket = -1;
	memcpy(w->disks, disks, n * sizeof(*disks));
	w->shared = mmap(NULL, sizeof(*w->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w->shared == MAP_FAILED) {
		free(w);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	w->suspended = suspended;
	for (i = 0; suspended && i < n; i++)
		atomic_store(&w->shared->suspended[i], 1);
	if (suspended)
		note_entered(w);
	dmlog_capture();
	r = start_watchdog(w, err);
	if (r) {
		window_free(w);
		return r;
	}
	*out = w;
	return 0;
}

static void end_watchdog(struct window *w)
{
	if (w->socket >= 0)
		close(w->socket);
	w->socket = -1;
	if (w->watchdog > 0)
		while (waitpid(w->watchdog, NULL, 0) < 0 && errno == EINTR)
			;
	w->watchdog = 0;
}

void window_free(struct window *w)
{
	unsigned int i;

	if (!w)
		return;
	end_watchdog(w);
	for (i = 0; i < w->n; i++) {
		if (w->suspend[i])
			dm_task_destroy(w->suspend[i]);
		if (w->resume[i])
			dm_task_destroy(w->resume[i]);
	}
	munmap(w->shared, sizeof(*w->shared));
	free(w);
}

bool window_ran_out(const struct window *w)
{
	return atomic_load(&w->shared->ran_out);
}

static int check_disk(const struct window *w, dev_t dev, struct vma_error *err)
{
	struct dm_task *task = new_task(DM_DEVICE_INFO, dev);
	struct dm_info info = { 0 };
	const char *name;
	int r = 0;

	if (!task)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (!dm_task_run(task) || !dm_task_get_info(task, &info) || !info.exists) {
		dm_task_destroy(task);
		return vma_fail(err, -ENODEV, "device %u:%u is gone", major(dev), minor(dev));
	}
	name = dm_task_get_name(task);
	if (!info.suspended && w->suspended && window_ran_out(w))
		r = vma_fail(err, -ENOTCONN,
			     "/dev/mapper/%s was suspended for longer than %u s, and resumed for that; what comes before the instant has to be faster",
			     name, WINDOW_LIMIT_MS / 1000);
	else if (!info.suspended && w->suspended)
		r = vma_fail(err, -ENOTCONN,
			     "/dev/mapper/%s is not suspended, as --suspended says; suspend all of the disks first, or leave the option out",
			     name);
	else if (info.suspended && !w->suspended)
		r = vma_fail(err, -EBUSY,
			     "/dev/mapper/%s is suspended by somebody else; try again when that has ended, or: dmsetup resume %s",
			     name, name);
	else if (info.inactive_table)
		r = vma_fail(err, -EBUSY,
			     "/dev/mapper/%s has a table loaded that a resume would activate; try again when that has ended, or: dmsetup clear %s",
			     name, name);
	dm_task_destroy(task);
	return r;
}

/*
 * A file system keeps its device open exclusively in whatever mount namespace
 * it is mounted, and so do stacked devices, for which freezing does nothing.
 * QEMU does not.
 */
static bool may_be_mounted(int fd)
{
	char path[64];
	int exclusive;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	exclusive = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (exclusive < 0)
		return true;
	close(exclusive);
	return false;
}

int window_prepare(struct window *w, const int *fds, struct vma_error *err)
{
	unsigned int i;
	int r;

	for (i = 0; i < w->n; i++) {
		r = check_disk(w, w->disks[i], err);
		if (r)
			return r;
		w->suspend[i] = new_task(DM_DEVICE_SUSPEND, w->disks[i]);
		w->resume[i] = new_task(DM_DEVICE_RESUME, w->disks[i]);
		if (!w->suspend[i] || !w->resume[i] ||
		    (!may_be_mounted(fds[i]) && !dm_task_skip_lockfs(w->suspend[i])))
			return vma_fail(err, -ENOMEM, "out of memory");
	}
	if (reserve_heap(w->n * (1 + RESUME_TRIES)))
		return vma_fail(err, -ENOMEM, "out of memory");
	touch_stack();
	return 0;
}

static int leave(struct window *w, unsigned int *bad)
{
	struct timespec now;
	unsigned int i;
	int error, r = 0;

	for (i = w->n; i-- > 0;) {
		if (!atomic_load(&w->shared->suspended[i]))
			continue;
		error = resume_disk(w->resume[i]);
		if (!error) {
			atomic_store(&w->shared->suspended[i], 0);
		} else if (!r) {
			r = error;
			*bad = i;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	w->duration_us = (uint64_t)((now.tv_sec - w->entered.tv_sec) * 1000000 +
				    (now.tv_nsec - w->entered.tv_nsec) / 1000);
	w->faults = page_faults() - w->faults;
	atomic_store(&w->shared->entered_ms, 0);
	return r;
}

int window_enter(struct window *w, unsigned int *bad)
{
	unsigned int i, ignored;
	int r;

	w->faults = page_faults();
	/* One that was resumed meanwhile must not be suspended again: another instant. */
	if (w->suspended)
		return 0;
	note_entered(w);
	for (i = 0; i < w->n; i++) {
		atomic_store(&w->shared->suspended[i], 1);
		r = run_task(w->suspend[i]);
		if (r) {
			*bad = i;
			leave(w, &ignored);
			return r;
		}
	}
	return 0;
}

int window_leave(struct window *w, unsigned int *bad)
{
	int r = leave(w, bad);

	/* What could not be resumed is tried once more by the watchdog as it ends. */
	end_watchdog(w);
	return r;
}

uint64_t window_duration_us(const struct window *w)
{
	return w->duration_us;
}

uint64_t window_page_faults(const struct window *w)
{
	return w->faults;
}
