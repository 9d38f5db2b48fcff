// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/map-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libvma/text.h"
#include "vmactl/stop.h"

/* A line: a path, a name, and options. */
#define LINE_MAX_SIZE	8192u

/* More than any disk can do, and far from where sums would overflow. */
#define MAX_BPS		(1ull << 50)

static int bad(const char *text, const char *why, struct vma_error *err)
{
	return vma_fail(err, -EINVAL, "the map line \"%s\" is wrong: %s", vma_quote(text), why);
}

static int parse_option(struct map_line *l, const char *line, const char *key, const char *value,
			struct vma_error *err)
{
	char *end;

	if (strcmp(key, "format") == 0) {
		if (strcmp(value, "raw") != 0)
			return bad(line, "only format=raw is written", err);
		l->raw = true;
	} else if (strcmp(key, "throttling.bps") == 0) {
		errno = 0;
		l->bps = strtoull(value, &end, 10);
		if (*value < '0' || *value > '9' || *end || errno || l->bps > MAX_BPS)
			return bad(line, "throttling.bps is no number of bytes per second", err);
	} else if (strcmp(key, "throttling.group") == 0) {
		l->group = value;
	} else if (strcmp(key, "cache") == 0) {
		l->use_cache = strcmp(value, "writeback") == 0 || strcmp(value, "unsafe") == 0 ||
			       strcmp(value, "writethrough") == 0;
		if (!l->use_cache && strcmp(value, "none") != 0 &&
		    strcmp(value, "off") != 0 && strcmp(value, "directsync") != 0)
			return bad(line, "there is no such cache mode", err);
	} else {
		return bad(line, "it has an option that is not known", err);
	}
	return 0;
}

static int parse_line(struct map_line *l, const char *line, struct vma_error *err)
{
	char *at;
	int ret;

	l->text = strdup(line);
	if (!l->text)
		return vma_fail(err, -ENOMEM, "out of memory");
	at = l->text;
	if (strncmp(at, "skip=", 5) == 0) {
		l->skip = true;
		l->target = at + 5;
		return *l->target ? 0 : bad(line, "it names no disk", err);
	}
	while ((at[0] != '0' && at[0] != '1') || at[1] != ':') {
		char *equals = strchr(at, '='), *colon = strchr(at, ':');

		if (!equals || !colon || colon < equals)
			return bad(line, "0: or 1: is missing", err);
		*equals = '\0';
		*colon = '\0';
		ret = parse_option(l, line, at, equals + 1, err);
		if (ret)
			return ret;
		at = colon + 1;
	}
	l->write_zeroes = at[0] == '1';
	l->target = at + 2;
	at = strchr(l->target, '=');
	if (!at || at == l->target || !at[1])
		return bad(line, "NAME=PATH is missing", err);
	return 0;
}

/* 1: the end. */
static int take_line(struct map_file *m, const char *line, struct vma_error *err)
{
	if (!*line || strcmp(line, "done") == 0)
		return 1;
	if (m->nr == VMA_MAX_DEVICES)
		return vma_fail(err, -EINVAL, "the map has more lines than an archive has disks");
	return parse_line(&m->lines[m->nr++], line, err);
}

/* Takes the whole lines in buf; what is left of the last one moves to its beginning. */
static int take_lines(struct map_file *m, char *buf, size_t *used, struct vma_error *err)
{
	char *start = buf, *end;
	int ret = 0;

	while (!ret && (end = memchr(start, '\n', buf + *used - start))) {
		*end = '\0';
		ret = take_line(m, start, err);
		start = end + 1;
	}
	*used -= start - buf;
	memmove(buf, start, *used);
	return ret;
}

static int read_lines(struct map_file *m, int fd, int stop_fd, struct vma_error *err)
{
	char buf[LINE_MAX_SIZE];
	size_t used = 0;
	ssize_t n;
	int ret = 0;

	while (!ret) {
		ret = stop_wait_readable(stop_fd, fd, err);
		if (ret)
			return ret;
		n = read(fd, buf + used, sizeof(buf) - 1 - used);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return vma_fail(err, -EIO, "cannot read the map: %s", strerror(errno));
		if (!n) {
			buf[used] = '\0';
			ret = used ? take_line(m, buf, err) : 0;
			break;
		}
		used += n;
		ret = take_lines(m, buf, &used, err);
		if (!ret && used == sizeof(buf) - 1)
			return vma_fail(err, -EINVAL, "a line of the map is too long");
	}
	return ret < 0 ? ret : 0;
}

int map_file_read(struct map_file *m, const char *path, int stop_fd, struct vma_error *err)
{
	/* The writer of a FIFO is waited for in poll(), which signals end. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), ret;

	if (fd < 0)
		return vma_fail(err, -errno, "cannot open the map %s: %s", path, strerror(errno));
	fcntl(fd, F_SETFL, O_RDONLY);
	ret = read_lines(m, fd, stop_fd, err);
	close(fd);
	return ret;
}

void map_file_free(struct map_file *m)
{
	for (unsigned int i = 0; i < m->nr; i++)
		free(m->lines[i].text);
	m->nr = 0;
}
