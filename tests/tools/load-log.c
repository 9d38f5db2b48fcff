// SPDX-License-Identifier: GPL-2.0-or-later
/* guestload: the log of all writes of a run, as a file. */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAGIC	0x31474f4c54534755ull

struct log_header {
	uint64_t magic;
	uint64_t seed;
	uint32_t threads;
	uint32_t nr_disks;
	uint64_t nr_ops;
	uint64_t size[MAX_DISKS];
};

void log_write(const char *path, const struct disks *ds, const struct log *log)
{
	struct log_header h = {
		.magic = LOG_MAGIC, .seed = log->seed, .threads = log->threads,
		.nr_disks = ds->nr, .nr_ops = log->nr_ops,
	};
	FILE *f = fopen(path, "we");

	for (unsigned int i = 0; i < ds->nr; i++)
		h.size[i] = ds->disk[i].size;
	if (!f || fwrite(&h, sizeof(h), 1, f) != 1 ||
	    fwrite(log->initial, sizeof(*log->initial), ds->sectors, f) != ds->sectors ||
	    fwrite(log->ops, sizeof(*log->ops), log->nr_ops, f) != log->nr_ops || fclose(f))
		die("%s: write: %s", path, strerror(errno));
}

uint64_t log_disk_size(const char *path, unsigned int disk)
{
	struct log_header h;
	FILE *f = fopen(path, "re");

	if (!f)
		die("%s: %s", path, strerror(errno));
	if (fread(&h, sizeof(h), 1, f) != 1 || h.magic != LOG_MAGIC || disk >= h.nr_disks ||
	    disk >= MAX_DISKS)
		die("%s: is not the log of a load on so many disks", path);
	fclose(f);
	return h.size[disk];
}

void log_read(const char *path, const struct disks *ds, struct log *log)
{
	struct log_header h;
	FILE *f = fopen(path, "re");
	struct stat st;

	if (!f || fstat(fileno(f), &st))
		die("%s: %s", path, strerror(errno));
	if (fread(&h, sizeof(h), 1, f) != 1 || h.magic != LOG_MAGIC || !h.threads ||
	    h.threads > MAX_THREADS || h.nr_disks != ds->nr)
		die("%s: is not the log of a load on %u disks", path, ds->nr);
	for (unsigned int i = 0; i < ds->nr; i++)
		if (h.size[i] != ds->disk[i].size)
			die("%s: disk %u had %llu bytes, %s has %llu", path, i,
			    (unsigned long long)h.size[i], ds->disk[i].path,
			    (unsigned long long)ds->disk[i].size);
	log->seed = h.seed;
	log->threads = h.threads;
	log->nr_ops = h.nr_ops;
	if ((uint64_t)st.st_size != sizeof(h) + ds->sectors * sizeof(*log->initial) +
				    h.nr_ops * sizeof(*log->ops))
		die("%s: has a wrong length", path);
	log->initial = calloc(ds->sectors, sizeof(*log->initial));
	log->ops = calloc(h.nr_ops + 1, sizeof(*log->ops));
	if (!log->initial || !log->ops)
		die("out of memory");
	if (fread(log->initial, sizeof(*log->initial), ds->sectors, f) != ds->sectors ||
	    fread(log->ops, sizeof(*log->ops), h.nr_ops, f) != h.nr_ops)
		die("%s: read: %s", path, strerror(errno));
	fclose(f);
}
