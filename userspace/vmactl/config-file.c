// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/config-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"

const char *config_file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int read_all(int fd, const char *option, const char *path, uint8_t *data, size_t *size,
		    struct vma_error *err)
{
	/* One byte more than fits tells that it is too large. */
	while (*size <= VMA_MAX_BLOB) {
		ssize_t n = read(fd, data + *size, VMA_MAX_BLOB + 1 - *size);

		if (n < 0)
			return vma_fail(err, -errno, "%s %s: %s", option, path, strerror(errno));
		if (!n)
			return 0;
		*size += n;
	}
	return vma_fail(err, -E2BIG, "%s %s: larger than %u bytes, which is what the format takes",
			option, path, VMA_MAX_BLOB);
}

int config_file_read(const char *option, const char *path, uint8_t **data, size_t *size,
		     struct vma_error *err)
{
	struct stat st;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return vma_fail(err, -errno, "%s %s: %s", option, path, strerror(errno));
	*size = 0;
	*data = malloc(VMA_MAX_BLOB + 1);
	if (!*data)
		ret = vma_fail(err, -ENOMEM, "out of memory");
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		ret = vma_fail(err, -EINVAL, "%s %s: not a regular file", option, path);
	else
		ret = read_all(fd, option, path, *data, size, err);
	close(fd);
	if (ret) {
		free(*data);
		*data = NULL;
	}
	return ret;
}
