// SPDX-License-Identifier: GPL-2.0-or-later
#include "output/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"
#include "output/command.h"
#include "output/direct.h"
#include "output/temporary.h"

#define BATCH	256	/* iovecs per system call; a full extent seldom has more */

/*
 * With output_keep_disk_busy() but without O_DIRECT: so many bytes are worth a request, and
 * few enough that next to nothing is left to be written when the last of them comes.
 */
#define WRITE_OUT	(8u << 20)

struct output {
	char *path;		/* for messages; "standard output" for "-" */
	char *name;		/* last component of the path; NULL: a stream */
	char *temporary;	/* beside it */
	int dir;		/* their directory; -1: a stream */
	int fd;
	pid_t child;		/* the command that reads fd; 0: none */
	int stop_fd;		/* output_stop_at(); -1: none */
	uint64_t bytes;
	struct direct *direct;	/* output_keep_disk_busy(); NULL: none */
	bool busy;		/* the same where there is no O_DIRECT */
	uint64_t written_out;	/* bytes that the kernel was told to write to disk */
};

static void output_free(struct output *o)
{
	if (!o)
		return;
	direct_free(o->direct);
	if (o->fd > STDOUT_FILENO)
		close(o->fd);
	if (o->dir >= 0)
		close(o->dir);
	free(o->path);
	free(o->name);
	free(o->temporary);
	free(o);
}

/*
 * Whether messages would land among what is written. A character device keeps nothing, or knows
 * its users apart.
 */
static bool is_stderr(int fd)
{
	struct stat st, messages;

	return fstat(fd, &st) == 0 && fstat(STDERR_FILENO, &messages) == 0 &&
	       st.st_dev == messages.st_dev && st.st_ino == messages.st_ino &&
	       !S_ISCHR(st.st_mode);
}

static int open_stdout(struct output *o, struct vma_error *err)
{
	int flags;

	o->path = strdup("standard output");
	o->fd = STDOUT_FILENO;
	if (!o->path)
		return vma_fail(err, -ENOMEM, "out of memory");
	flags = fcntl(o->fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return vma_fail(err, -EBADF,
				"standard output is closed, or not open for writing: redirect it, or give a path");
	if (isatty(o->fd))
		return vma_fail(err, -EINVAL,
				"standard output is a terminal: redirect it, or give a path");
	if (is_stderr(o->fd))
		return vma_fail(err, -EINVAL,
				"standard error goes where standard output goes, messages would land in the archive: redirect one of them");
	return 0;
}

/* A name in /dev is meant to be a device's; one that is not there is a slip. */
static bool is_dev(int dir)
{
	struct stat here, dev;

	return fstat(dir, &here) == 0 && stat("/dev", &dev) == 0 && here.st_dev == dev.st_dev &&
	       stat("/", &here) == 0 && here.st_dev != dev.st_dev;
}

/* Splits the path into an open directory and a name, so that both stay what they are now. */
static int open_directory(struct output *o, struct vma_error *err)
{
	char *slash = strrchr(o->path, '/');
	const char *name = slash ? slash + 1 : o->path;
	char *dir;

	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return vma_fail(err, -EISDIR, "%s is a directory: give the path of a file",
				o->path);
	if (slash)
		dir = strndup(o->path, slash - o->path + 1);
	else
		dir = strdup(".");
	if (!dir)
		return vma_fail(err, -ENOMEM, "out of memory");
	o->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (o->dir < 0)
		return vma_fail(err, -errno, "cannot open the directory of %s: %s", o->path,
				strerror(errno));
	if (is_dev(o->dir))
		return vma_fail(err, -EINVAL,
				"%s: there is no such device, and a file in /dev would be in memory",
				o->path);
	o->name = strdup(name);
	o->temporary = temporary_name(name);
	if (!o->name || !o->temporary)
		return vma_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static int open_file(struct output *o, const char *path, struct vma_error *err)
{
	struct stat st;
	int ret;

	o->path = strdup(path);
	if (!o->path)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = open_directory(o, err);
	if (ret)
		return ret;
	if (fstatat(o->dir, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return vma_fail(err, -EEXIST, "%s exists: remove it, or give another path", path);
	if (errno != ENOENT)
		return vma_fail(err, -errno, "cannot create %s: %s", path, strerror(errno));
	o->fd = openat(o->dir, o->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (o->fd < 0 && errno == EEXIST)
		return vma_fail(err, -EEXIST,
				"%s, beside %s, is left over from a process that was killed: remove it",
				o->temporary, path);
	if (o->fd < 0)
		return vma_fail(err, -errno, "cannot create %s: %s", path, strerror(errno));
	temporary_lock(o->fd);
	return 0;
}

int output_open(struct output **out, const char *path, struct vma_error *err)
{
	struct output *o = calloc(1, sizeof(*o));
	int ret;

	if (!o)
		return vma_fail(err, -ENOMEM, "out of memory");
	o->dir = -1;
	o->fd = -1;
	o->stop_fd = -1;
	ret = strcmp(path, "-") == 0 ? open_stdout(o, err) : open_file(o, path, err);
	if (ret) {
		output_free(o);
		return ret;
	}
	*out = o;
	return 0;
}

int output_fd(const struct output *o)
{
	return o->fd;
}

unsigned int output_sweep(const char *path)
{
	struct output o = { .dir = -1, .fd = -1 };
	unsigned int n = 0;

	o.path = strcmp(path, "-") ? strdup(path) : NULL;
	if (o.path && open_directory(&o, NULL) == 0)
		n = temporary_sweep(o.dir);
	if (o.dir >= 0)
		close(o.dir);
	free(o.path);
	free(o.name);
	free(o.temporary);
	return n;
}

uint64_t output_bytes(const struct output *o)
{
	return o->bytes;
}

int output_keep_disk_busy(struct output *o, struct vma_error *err)
{
	int ret;

	if (!o->name)
		return 0;
	ret = direct_new(&o->direct, o->fd);
	o->busy = ret == -EOPNOTSUPP;
	if (!ret || o->busy)
		return 0;
	return vma_fail(err, ret, "cannot write %s: %s", o->path, strerror(-ret));
}

/* ---- writing ---------------------------------------------------------- */

static int write_failure(const struct output *o, int error, struct vma_error *err)
{
	switch (error) {
	case ENOSPC:
		return vma_fail(err, -error, "cannot write %s: no space left, after %" PRIu64 " bytes",
				o->path, o->bytes);
	case EDQUOT:
		return vma_fail(err, -error, "cannot write %s: disk quota exceeded, after %" PRIu64
				" bytes", o->path, o->bytes);
	case EFBIG:
		return vma_fail(err, -error,
				"cannot write %s: a file may not grow beyond %" PRIu64 " bytes here",
				o->path, o->bytes);
	case EINTR:
		return vma_fail(err, -error, "interrupted by a signal");
	case EPIPE:
		return vma_fail(err, -error,
				"cannot write %s: the reader went away after %" PRIu64 " bytes",
				o->path, o->bytes);
	default:
		return vma_fail(err, -error, "cannot write %s: %s", o->path, strerror(error));
	}
}

/*
 * A command's pipe is O_NONBLOCK; standard output may have been set so by whoever shares it.
 * -EINTR: told to stop.
 */
static int wait_writable(const struct output *o)
{
	struct pollfd p[] = {
		{ .fd = o->fd, .events = POLLOUT },
		{ .fd = o->stop_fd, .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return p[1].revents ? -EINTR : 0;
}

/* Drops the first bytes of the batch; returns how many iovecs are done. */
static int advance(struct iovec *iov, int iovcnt, size_t bytes)
{
	int done = 0;

	while (done < iovcnt && bytes >= iov[done].iov_len)
		bytes -= iov[done++].iov_len;
	if (bytes) {
		iov[done].iov_base = (char *)iov[done].iov_base + bytes;
		iov[done].iov_len -= bytes;
	}
	return done;
}

static int write_batch(struct output *o, struct iovec *iov, int iovcnt, struct vma_error *err)
{
	int done = 0;

	while (done < iovcnt) {
		ssize_t n = writev(o->fd, iov + done, iovcnt - done);
		int ret;

		if (n >= 0) {
			o->bytes += n;
			done += advance(iov + done, iovcnt - done, n);
			continue;
		}
		ret = -errno;
		if (ret == -EINTR)
			continue;
		if (ret == -EAGAIN)
			ret = wait_writable(o);
		if (ret)
			return write_failure(o, -ret, err);
	}
	return 0;
}

/* Starts, does not wait; what fails is told by fsync(). */
static void write_out(struct output *o)
{
	if (!o->busy || o->bytes - o->written_out < WRITE_OUT)
		return;
	sync_file_range(o->fd, o->written_out, o->bytes - o->written_out, SYNC_FILE_RANGE_WRITE);
	o->written_out = o->bytes;
}

static int write_direct(struct output *o, const struct iovec *iov, int iovcnt,
			struct vma_error *err)
{
	int ret = direct_write(o->direct, iov, iovcnt);

	if (ret)
		return write_failure(o, -ret, err);
	for (int i = 0; i < iovcnt; i++)
		o->bytes += iov[i].iov_len;
	return 0;
}

int output_write(void *output, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	struct output *o = output;
	struct iovec batch[BATCH];
	int ret = 0;

	if (o->direct)
		return write_direct(o, iov, iovcnt, err);
	while (iovcnt > 0 && !ret) {
		int n = iovcnt < BATCH ? iovcnt : BATCH;

		memcpy(batch, iov, n * sizeof(*iov));
		ret = write_batch(o, batch, n, err);
		iov += n;
		iovcnt -= n;
	}
	if (!ret)
		write_out(o);
	return ret;
}

/* ---- the end ---------------------------------------------------------- */

/*
 * Pipes and some file systems' directories can't be flushed, and say so with EINVAL
 * or EROFS. A file or a device that says so has failed to keep what was written.
 */
static int flush(int fd)
{
	int error;
	struct stat st;

	if (fsync(fd) == 0)
		return 0;
	error = errno;
	if ((error == EINVAL || error == EROFS) && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) &&
	    !S_ISBLK(st.st_mode))
		return 0;
	return -error;
}

/*
 * Gives the file its name unless something has that name by now. Some file systems (NFS) can't
 * rename so; a link never replaces anything either. Others (object stores, some servers behind
 * FUSE) know no links: there a name that is free is taken the plain way.
 */
static int give_name(struct output *o)
{
	struct stat st;

	if (renameat2(o->dir, o->temporary, o->dir, o->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(o->dir, o->temporary, o->dir, o->name, 0) == 0) {
		/* If it stays, it is a second name of what is good, for a sweep to remove. */
		unlinkat(o->dir, o->temporary, 0);
		return 0;
	}
	if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP && errno != EMLINK)
		return -errno;
	if (fstatat(o->dir, o->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (errno != ENOENT || renameat(o->dir, o->temporary, o->dir, o->name) != 0)
		return -errno;
	return 0;
}

/*
 * What is complete, and was hours of work perhaps, is not thrown away for want of a name: it
 * gets one that no sweep knows, or keeps the one it has and is made what no sweep takes.
 */
static int keep_unnamed(struct output *o, int error, struct vma_error *err)
{
	struct output other = *o;
	struct stat st;
	char *name;

	if (error == -ENOENT && fstatat(o->dir, o->temporary, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
	    errno == ENOENT)
		return vma_fail(err, error, "%s: somebody removed %s while it was written; it is lost",
				o->path, o->temporary);
	if (asprintf(&name, "%s.unnamed-%d", o->name, (int)getpid()) < 0)
		name = NULL;
	other.name = name;
	if (name && give_name(&other) == 0)
		vma_error_set(err, "%s: %s; it is complete, beside it as %s", o->path,
			      error == -EEXIST ? "was created by someone else meanwhile" :
			      strerror(-error), name);
	else
		vma_error_set(err, "cannot give %s its name: %s; it is complete, beside it as %s%s",
			      o->path, strerror(-error), o->temporary,
			      temporary_keep(o->dir, o->temporary) ? "" :
			      "; rename it, for the next backup there removes what has such a name");
	free(name);
	/* output_abort() must not remove it. */
	free(o->temporary);
	o->temporary = NULL;
	return error;
}

static int commit_file(struct output *o, struct vma_error *err)
{
	int ret = o->direct ? direct_finish(o->direct) : 0;
	/* Closing may tell of an error yet; the lock is kept until it has its name. */
	int lock = dup(o->fd);

	direct_free(o->direct);
	o->direct = NULL;
	if (!ret)
		ret = flush(o->fd);
	if (!ret && close(o->fd) != 0)
		ret = -errno;
	else if (ret)
		close(o->fd);
	o->fd = -1;
	if (ret) {
		if (lock >= 0)
			close(lock);
		return write_failure(o, -ret, err);
	}
	ret = give_name(o);
	if (lock >= 0)
		close(lock);
	return ret ? keep_unnamed(o, ret, err) : 0;
}

/* ---- streams ---------------------------------------------------------- */

#define EXEC_PREFIX	"exec:"

bool output_is_command(const char *path)
{
	return strncmp(path, EXEC_PREFIX, strlen(EXEC_PREFIX)) == 0;
}

static bool is_fifo(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

bool output_is_stream(const char *path)
{
	return strcmp(path, "-") == 0 || output_is_command(path) || is_fifo(path);
}

static int open_stream(struct output *o, const char *path, struct vma_error *err)
{
	struct stat st;

	o->path = strdup(path);
	if (!o->path)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (output_is_command(path)) {
		o->fd = command_start(path + strlen(EXEC_PREFIX), &o->child, err);
		return o->fd < 0 ? o->fd : 0;
	}
	o->fd = open(path, O_WRONLY | O_CLOEXEC);
	if (o->fd < 0)
		return vma_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	/* Whoever may write to the directory can have put something else there by now. */
	if (fstat(o->fd, &st) != 0 || !S_ISFIFO(st.st_mode))
		return vma_fail(err, -EINVAL, "%s is not a FIFO any more", path);
	return 0;
}

int output_open_stream(struct output **out, const char *path, struct vma_error *err)
{
	struct output *o;
	int ret;

	if (!output_is_command(path) && !is_fifo(path))
		return output_open(out, path, err);
	o = calloc(1, sizeof(*o));
	if (!o)
		return vma_fail(err, -ENOMEM, "out of memory");
	o->dir = -1;
	o->fd = -1;
	o->stop_fd = -1;
	ret = open_stream(o, path, err);
	if (ret) {
		output_free(o);
		return ret;
	}
	*out = o;
	return 0;
}

void output_stop_at(struct output *o, int stop_fd)
{
	if (o->child)
		o->stop_fd = stop_fd;
}

static int commit_stream(struct output *o, struct vma_error *err)
{
	int ret = flush(o->fd);

	if (ret) {
		vma_error_set(err, "cannot write %s: %s", o->path, strerror(-ret));
		output_abort(o);
		return ret;
	}
	if (o->child) {
		close(o->fd);
		o->fd = -1;
		ret = command_wait(o->child, o->path + strlen(EXEC_PREFIX), o->stop_fd,
				   err);
	}
	output_free(o);
	return ret;
}

/* ----------------------------------------------------------------------- */

int output_commit(struct output *o, struct vma_error *err)
{
	int ret;

	if (o->dir < 0)
		return commit_stream(o, err);
	ret = commit_file(o, err);
	if (ret) {
		output_abort(o);
		return ret;
	}
	ret = flush(o->dir);
	if (ret)
		vma_error_set(err, "%s is complete, but its directory cannot be flushed: %s",
			      o->path, strerror(-ret));
	output_free(o);
	return ret;
}

void output_abort(struct output *o)
{
	if (!o)
		return;
	if (o->temporary && o->dir >= 0)
		unlinkat(o->dir, o->temporary, 0);
	if (o->child) {
		command_end(o->child, o->fd);
		o->fd = -1;
	}
	output_free(o);
}
