// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the mount table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "devices/mounts.h"
#include "libvma/text.h"

/* Undoes the kernel's \040 for white space and backslashes, in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* Fields before " - ": id, parent, major:minor, root, mount point, options, tags. */
static struct mount *parse_line(const char *line)
{
	unsigned int major_number, minor_number;
	struct mount *m;
	char *fields, *type, *source, *options, *state = NULL;

	m = malloc(sizeof(*m) + strlen(line) + 1);
	if (!m)
		return NULL;
	strcpy(m->text, line);
	fields = strstr(m->text, " - ");
	if (!fields || sscanf(m->text, "%lld %*d %u:%u ", &m->id, &major_number,
			      &minor_number) != 3) {
		free(m);
		errno = EPROTO;
		return NULL;
	}
	m->dev = makedev(major_number, minor_number);
	type = strtok_r(fields + 3, " \n", &state);
	source = strtok_r(NULL, " \n", &state);
	options = strtok_r(NULL, " \n", &state);
	if (!type || !source) {
		free(m);
		errno = EPROTO;
		return NULL;
	}
	unescape(source);
	if (options)
		unescape(options);
	m->type = type;
	m->source = source;
	m->options = options ? options : "";
	return m;
}

int mount_find(const char *mountinfo, long long id, dev_t dev, struct mount **found,
	       struct vma_error *err)
{
	FILE *f = fopen(mountinfo, "re");
	struct mount *m;
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	*found = NULL;
	if (!f)
		return vma_fail(err, -errno, "cannot open %s: %s", mountinfo, strerror(errno));
	while (!*found && !r && getline(&line, &size, f) >= 0) {
		m = parse_line(line);
		if (!m)
			r = vma_fail(err, -errno, "cannot read %s: %s", mountinfo, strerror(errno));
		else if (id >= 0 ? m->id == id : m->dev == dev)
			*found = m;
		else
			free(m);
	}
	if (!r && !*found && ferror(f))
		r = vma_fail(err, -EIO, "cannot read %s", mountinfo);
	free(line);
	fclose(f);
	return r;
}

bool mount_option(const struct mount *m, const char *name, char *value, size_t size)
{
	const char *p = m->options, *end;
	size_t n = strlen(name);

	while (*p) {
		end = p + strcspn(p, ",");
		if ((size_t)(end - p) > n && !strncmp(p, name, n) && p[n] == '=') {
			if ((size_t)(end - p) - n - 1 >= size)
				return false;
			memcpy(value, p + n + 1, (size_t)(end - p) - n - 1);
			value[(size_t)(end - p) - n - 1] = '\0';
			return true;
		}
		p = *end ? end + 1 : end;
	}
	return false;
}
