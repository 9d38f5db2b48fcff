// SPDX-License-Identifier: GPL-2.0-or-later
/* ioctl-abuse: games with the mapping of the slots. */
#include "abuse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_SLOTS	8
#define RELEASE_MS	5000	/* for the last reference to go; it is normally at once */

/* The protocol names EACCES and EINVAL; past the end, ENXIO is what the kernel's helpers say. */
static void refused(void *p, size_t len, bool past_end, const char *what)
{
	int err = p == MAP_FAILED ? errno : 0;
	bool good = err == EACCES || err == EINVAL || (past_end && err == ENXIO);

	ok(good, "%s is refused", what);
	if (!err)
		munmap(p, len);
	else if (!good)
		diag("errno %s", strerrorname_np(err));
}

/* Run in a child; its exit status, or minus the signal that killed it. */
static int in_child(int (*fn)(char *p, size_t len, int fd), char *p, size_t len, int fd)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(fn(p, len, fd));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		bail("fork: %s", strerror(errno));
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Whether the kernel can read the byte for us. */
static int readable(char *p, size_t len, int fd)
{
	int pipe_fd[2];

	(void)len;
	(void)fd;
	if (pipe2(pipe_fd, O_CLOEXEC))
		return 2;
	return write(pipe_fd[1], p, 1) == 1 ? 0 : errno == EFAULT ? 1 : 2;
}

static int store(char *p, size_t len, int fd)
{
	(void)len;
	(void)fd;
	*(volatile char *)p = 1;
	return 0;
}

static int load(char *p, size_t len, int fd)
{
	(void)len;
	(void)fd;
	return *(volatile char *)p & 0;
}

/* 0 if the disk is free again within a while. */
static int wait_free(const struct bed *bed)
{
	int fd = vb_open(0), r = 0;

	for (int ms = 0; ms < RELEASE_MS; ms += 10) {
		r = vb_add(fd, bed->disk[0].fd, NULL);
		if (r != -EBUSY)
			break;
		usleep(10000);
	}
	close(fd);
	return r;
}

static int busy(const struct bed *bed)
{
	int fd = vb_open(0), r = vb_add(fd, bed->disk[0].fd, NULL);

	close(fd);
	return r;
}

/*
 * User-mode Linux takes what is not to be inherited out of a child's tables, but not out
 * of the process of the host that the child is: it can go on reading there.
 */
static bool is_user_mode_linux(void)
{
	char text[256] = "";
	int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		bail("/proc/cpuinfo: %s", strerror(errno));
	close(fd);
	return strstr(text, "User Mode Linux");
}

static void test_mapping(const struct bed *bed)
{
	uint64_t length;
	int fd = bed_session(bed, NR_SLOTS, 0, false, &length), file, r;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p, *q;
	bool zero = true;

	refused(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), length, false,
		"a writable mapping");
	refused(mmap(NULL, length, PROT_WRITE, MAP_SHARED, fd, 0), length, false,
		"a write-only mapping");
	refused(mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0), length, false,
		"a private mapping");
	refused(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), length, false,
		"a private writable mapping");
	refused(mmap(NULL, length + page, PROT_READ, MAP_SHARED, fd, 0), length + page, true,
		"a mapping that is a page too long");
	refused(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)length), page, true,
		"a mapping behind the end");
	refused(mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)page), length, true,
		"a mapping that begins later and runs past the end");
	refused(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)(INT64_MAX - (long)page + 1)),
		page, true, "a mapping at the highest offset");

	p = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	if (!ok(p != MAP_FAILED, "the mapping"))
		bail("mmap: %s", strerror(errno));
	for (uint64_t i = 0; i < length; i++)
		zero &= !p[i];
	ok(zero, "all of it reads, as zeroes at first");
	ok(mprotect(p, length, PROT_READ | PROT_WRITE) && errno == EACCES,
	   "it can't be made writable");
	ok(mprotect(p, page, PROT_WRITE) && errno == EACCES, "nor can one page of it");
	q = mremap(p, length, 2 * length, MREMAP_MAYMOVE);
	ok(q == MAP_FAILED, "it can't be grown");
	if (q != MAP_FAILED)
		p = q;
	q = mremap(p + length - page, page, 2 * page, MREMAP_MAYMOVE);
	ok(q == MAP_FAILED, "nor can its last page");
	if (is_user_mode_linux())
		skip("User-mode Linux does not take it away", "a child did not inherit it");
	else
		is(in_child(load, p, length, fd), -SIGSEGV, "a child did not inherit it");
	is(in_child(readable, p, length, fd), 1, "nor can a child have the kernel read it");
	is(readable(p, length, fd), 0, "while the kernel reads it for us");
	/* Whether that is refused or not: a child never gets more than its parent has. */
	madvise(p, length, MADV_DOFORK);
	is(in_child(store, p, length, fd), -SIGSEGV, "a store in a child faults");

	file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ok(read(file, p, page) < 0 && errno == EFAULT, "read() into it is refused");
	close(file);
	file = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ok(file >= 0 && pwrite(file, "x", 1, (off_t)(uintptr_t)p) < 0,
	   "writing it by /proc/self/mem is refused");
	close(file);
	zero = true;
	for (uint64_t i = 0; i < length; i++)
		zero &= !p[i];
	ok(zero, "after all that it is unchanged");
	/* Only a store that faults can be told from one that is lost. */
	struct sigaction sa = { .sa_handler = SIG_DFL };

	sigaction(SIGSEGV, &sa, NULL);
	r = in_child(store, p, length, fd);
	is(r, -SIGSEGV, "a store faults");

	q = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	ok(q != MAP_FAILED && q != p, "a second mapping");
	if (q != MAP_FAILED)
		munmap(q, length);
	munmap(p + page, page);
	ok(munmap(p, page) == 0 && munmap(p + 2 * page, length - 2 * page) == 0,
	   "it can be unmapped piece by piece");
	close(fd);
	is(wait_free(bed), 0, "the session is gone");
}

static void test_references(const struct bed *bed)
{
	uint64_t length;
	int fd, copy, pipe_fd[2];
	struct vmabackup_status st;
	char *p, byte;
	pid_t pid;

	fd = bed_session(bed, NR_SLOTS, 0, false, &length);
	copy = dup(fd);
	close(fd);
	is(vb_status(copy, &st), 0, "a duplicate goes on when the first fd is closed");
	is(busy(bed), -EBUSY, "the session still has its disk");
	close(copy);
	is(wait_free(bed), 0, "the session ends with the last fd");

	fd = bed_session(bed, NR_SLOTS, 0, false, &length);
	p = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	close(fd);
	is(busy(bed), -EBUSY, "a mapping keeps a closed session");
	is(readable(p, length, -1), 0, "and can be read");
	munmap(p, length - 4096);
	is(busy(bed), -EBUSY, "its last page keeps it too");
	munmap(p + length - 4096, 4096);
	is(wait_free(bed), 0, "the session ends with the last page");

	/* O_CLOEXEC does nothing for fork: the child has the open file, not the mapping. */
	fd = bed_session(bed, NR_SLOTS, 0, true, &length);
	if (pipe2(pipe_fd, O_CLOEXEC))
		bail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		close(pipe_fd[1]);
		_exit(read(pipe_fd[0], &byte, 1) == 0 && !vb_status(fd, &st) &&
		      st.state == VMABACKUP_STATE_ARMED ? 0 : 1);
	}
	close(pipe_fd[0]);
	close(fd);
	is(busy(bed), -EBUSY, "a child's copy keeps the session");
	close(pipe_fd[1]);
	int status = 0;

	waitpid(pid, &status, 0);
	is(status, 0, "and the session goes on there");
	is(wait_free(bed), 0, "it ends when the child exits");
}

/* The pages are ordinary ones: devices can take them as they are. */
static void test_direct_io(const struct bed *bed)
{
	struct bed one = *bed;
	struct vmabackup_completion c;
	uint64_t length;
	uint32_t n;
	char *p, *back;
	int fd;

	if (bed->nr < 2) {
		skip("one disk", "O_DIRECT from a slot");
		return;
	}
	one.nr = 1;
	fd = bed_session(&one, NR_SLOTS, 0, true, &length);
	p = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	if (vb_fetch(fd, 0, 1, 1) || vb_reap(fd, NULL, 0, &c, 1, 0, &n, NULL) || n != 1)
		bail("fetching one chunk");
	p += (size_t)c.slot * bed_slot_size(&one);
	back = aligned_alloc(4096, c.length);
	if (!back)
		bail("out of memory");
	ok(pwrite(bed->disk[1].fd, p, c.length, 0) == (ssize_t)c.length, "O_DIRECT from a slot");
	ok(pread(bed->disk[1].fd, back, c.length, 0) == (ssize_t)c.length &&
	   !memcmp(back, p, c.length), "writes what is in the slot");
	free(back);
	p -= (size_t)c.slot * bed_slot_size(&one);
	munmap(p, length);
	close(fd);
}

void test_memory(const struct bed *bed)
{
	test_mapping(bed);
	test_references(bed);
	test_direct_io(bed);
}
