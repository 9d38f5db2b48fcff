// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/archive-in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"
#include "vmactl/stop.h"
#include "vmactl/vmactl.h"

/* An archive is read once: so many bytes of it stay in the page cache, which is others'. */
#define DROP_BEHIND	(8u << 20)

struct archive_in {
	int fd;
	bool drop;		/* a file of ours: its pages are dropped behind us */
	uint64_t at, dropped;	/* read, dropped up to there */
	int stop_fd;
	struct decoder *decoder;
	struct vma_reader *reader;
};

static void drop_behind(struct archive_in *in, size_t len)
{
	in->at += len;
	if (!in->drop || in->at - in->dropped < DROP_BEHIND)
		return;
	posix_fadvise(in->fd, in->dropped, in->at - in->dropped, POSIX_FADV_DONTNEED);
	in->dropped = in->at;
}

static ssize_t read_fd(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct archive_in *in = ctx;
	size_t done = 0;

	while (done < len) {
		ssize_t n;
		int ret = stop_wait_readable(in->stop_fd, in->fd, err);

		if (ret)
			return ret;
		n = read(in->fd, (char *)buf + done, len - done);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		/* Not errno itself: some that devices fail with means "damaged" to the caller. */
		if (n < 0)
			return vma_fail(err, -EIO, "cannot read: %s", strerror(errno));
		if (!n)
			break;
		done += n;
	}
	drop_behind(in, done);
	return done;
}

static int open_fd(const char *path, struct vma_error *err)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0) {
		if (isatty(STDIN_FILENO))
			return vma_fail(err, -EINVAL,
					"is a terminal: redirect it, or give the path of an archive");
		return STDIN_FILENO;
	}
	/* A FIFO's writer is waited for in poll(), which signals end; open() would go on. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return vma_fail(err, -errno, "cannot open: %s", strerror(errno));
	fcntl(fd, F_SETFL, O_RDONLY);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return vma_fail(err, -EISDIR, "is a directory, not an archive");
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}

static int open_any(struct archive_in **out, const char *path, int stop_fd,
		    struct vma_tolerance *t, struct vma_error *err)
{
	struct archive_in *in = calloc(1, sizeof(*in));
	int ret;

	if (!in)
		return vma_fail(err, -ENOMEM, "out of memory");
	in->stop_fd = stop_fd;
	in->fd = open_fd(path, err);
	in->drop = in->fd > STDIN_FILENO;
	ret = in->fd < 0 ? in->fd : decoder_new(&in->decoder, read_fd, in, err);
	if (!ret) {
		struct codec_options all = { .kind = decoder_kind(in->decoder) };

		if (t)
			decoder_go_on(in->decoder);
		ret = decoder_start_threads(in->decoder, codec_threads(&all), err);
	}
	if (!ret && t) {
		t->loss = decoder_loss;
		t->unproven = decoder_unproven;
	}
	if (!ret)
		ret = t ? vma_reader_open_damaged(&in->reader, decoder_read, in->decoder, t, err) :
			  vma_reader_open(&in->reader, decoder_read, in->decoder, err);
	if (ret) {
		archive_in_close(in);
		return ret;
	}
	*out = in;
	return 0;
}

int archive_in_open(struct archive_in **in, const char *path, int stop_fd, struct vma_error *err)
{
	return open_any(in, path, stop_fd, NULL, err);
}

int archive_in_open_damaged(struct archive_in **in, const char *path, int stop_fd,
			    const struct vma_tolerance *t, struct vma_error *err)
{
	struct vma_tolerance tolerance = *t;

	return open_any(in, path, stop_fd, &tolerance, err);
}

void archive_in_close(struct archive_in *in)
{
	if (!in)
		return;
	vma_reader_free(in->reader);
	decoder_free(in->decoder);
	if (in->fd > STDIN_FILENO)
		close(in->fd);
	free(in);
}

struct vma_reader *archive_in_reader(struct archive_in *in)
{
	return in->reader;
}

const struct vma_header *archive_in_header(const struct archive_in *in)
{
	return vma_reader_header(in->reader);
}

enum codec_kind archive_in_codec(const struct archive_in *in)
{
	return decoder_kind(in->decoder);
}

int archive_in_fd(const struct archive_in *in)
{
	return in->fd;
}

const char *archive_in_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* -EFBIG is what this program does not do: the archive may be good. */
int archive_in_exit_code(int error)
{
	switch (error) {
	case -EBADMSG:
	case -ENODATA:
	case -EPROTONOSUPPORT:
		return EXIT_BAD_ARCHIVE;
	case -EINTR:
		return EXIT_INTERRUPTED;
	default:
		return EXIT_FAILED;
	}
}
