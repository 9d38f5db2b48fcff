// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"

int file_size(int fd, uint64_t *size, struct vma_error *err)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st) != 0)
		return vma_fail(err, -EIO, "cannot look at it: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return vma_fail(err, -EISDIR, "is a directory, not an archive");
	end = S_ISREG(st.st_mode) ? st.st_size : lseek(fd, 0, SEEK_END);
	if (end < 0)
		return vma_fail(err, -ESPIPE,
				"is not a file: only in a file can it be read at any place");
	*size = end;
	return 0;
}

int file_read(int fd, uint64_t at, void *buf, size_t len, struct vma_error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, at + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vma_fail(err, -EIO, "cannot read at byte %" PRIu64 ": %s", at + done,
					strerror(errno));
		if (!n)
			return vma_fail(err, -EBADMSG, "truncated: it ends at byte %" PRIu64,
					at + done);
		done += n;
	}
	return 0;
}

int file_write(void *fd, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	for (int i = 0; i < iovcnt; i++) {
		size_t done = 0;

		while (done < iov[i].iov_len) {
			ssize_t n = write(*(int *)fd, (char *)iov[i].iov_base + done,
					  iov[i].iov_len - done);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return vma_fail(err, -EIO, "cannot write: %s", strerror(errno));
			done += n;
		}
	}
	return 0;
}
