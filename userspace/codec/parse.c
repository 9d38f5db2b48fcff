// SPDX-License-Identifier: GPL-2.0-or-later
/* What compressions there are: names, suffixes, levels. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "codec/codec.h"
#include "libvma/text.h"

/* Threads at most: more than this outruns any disk. */
#define MAX_THREADS	16

/*
 * From this level on each of zstd's threads takes up to 70 MiB for its tables, though a
 * piece is small (level 9: 13 MiB, 12: 50, 15: 66, 19: 54, 22: 71). A backup has all of
 * it locked, and it is guests that the kernel would kill for it.
 */
#define HEAVY_LEVEL	10
#define HEAVY_THREADS	4

static const struct format {
	const char *name;
	int max_level;			/* 0: it has no levels */
	const char *suffixes[2];
} formats[] = {
	[CODEC_NONE] = { "none", 0, { NULL } },
	[CODEC_ZSTD] = { "zstd", 22, { ".zst", ".zstd" } },
	[CODEC_GZIP] = { "gzip", 9, { ".gz" } },
	[CODEC_LZO] = { "lzo", 9, { ".lzo" } },
};

#define NR_FORMATS	(sizeof(formats) / sizeof(formats[0]))

static int parse_level(const struct format *f, const char *text, int *level, struct vma_error *err)
{
	long value;
	char *end;

	errno = 0;
	value = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < 1 || value > f->max_level)
		return vma_fail(err, -EINVAL, "%s level \"%s\" is not a number from 1 to %d",
				f->name, vma_quote(text), f->max_level);
	*level = value;
	return 0;
}

int codec_parse(const char *text, struct codec_options *o, struct vma_error *err)
{
	for (size_t i = 0; i < NR_FORMATS; i++) {
		const struct format *f = &formats[i];
		size_t len = strlen(f->name);
		int level = 0, ret = 0;

		if (strncmp(text, f->name, len) != 0 ||
		    (text[len] && (text[len] != ':' || !f->max_level)))
			continue;
		if (text[len])
			ret = parse_level(f, text + len + 1, &level, err);
		if (ret)
			return ret;
		o->kind = i;
		o->level = level;
		return 0;
	}
	return vma_fail(err, -EINVAL,
			"unknown compression \"%s\": use none, zstd, gzip or lzo, or one of these with a level, like zstd:6",
			vma_quote(text));
}

enum codec_kind codec_of_path(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < NR_FORMATS; i++) {
		for (int j = 0; j < 2; j++) {
			const char *suffix = formats[i].suffixes[j];

			if (suffix && len > strlen(suffix) &&
			    strcmp(path + len - strlen(suffix), suffix) == 0)
				return i;
		}
	}
	return CODEC_NONE;
}

const char *codec_name(enum codec_kind kind)
{
	return formats[kind].name;
}

unsigned int codec_threads(const struct codec_options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus > MAX_THREADS)
		cpus = MAX_THREADS;
	if (o->kind == CODEC_ZSTD && o->level >= HEAVY_LEVEL && cpus > HEAVY_THREADS)
		cpus = HEAVY_THREADS;
	return cpus > 0 ? (unsigned int)cpus : 1;
}
