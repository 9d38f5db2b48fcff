// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/info.h"
#include "vmactl/progress.h"

const char *info_index_name(enum archive_index state)
{
	switch (state) {
	case ARCHIVE_INDEX_READ:
		return "beside";
	case ARCHIVE_INDEX_REFUSED:
		return "refused";
	case ARCHIVE_INDEX_MADE:
	case ARCHIVE_INDEX_NONE:
		break;
	}
	return "none";
}

static void print_time(int64_t ctime)
{
	struct tm tm;
	time_t t = ctime;
	char text[64];

	/* The header may hold any number. */
	if (ctime >= 0 && gmtime_r(&t, &tm) && tm.tm_year < 8100 &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		printf("created:     %s\n", text);
	else
		printf("created:     @%" PRId64 "\n", ctime);
}

static void print_archive(const struct info *info)
{
	const struct archive_facts *f = &info->facts;
	char size[32];

	fputs("uuid:        ", stdout);
	for (unsigned int i = 0; i < sizeof(info->header->uuid); i++)
		printf("%02x", info->header->uuid[i]);
	putchar('\n');
	print_time(info->header->ctime);
	if (info->is_file)
		printf("size:        %" PRIu64 " bytes (%s)\n", f->file_size,
		       format_bytes(f->file_size, size, sizeof(size)));
	printf("compression: %s", codec_name(info->codec));
	if (info->codec != CODEC_NONE)
		printf(", of %s", format_bytes(f->stream_size, size, sizeof(size)));
	if (f->frames)
		printf(", in %" PRIu32 " frames of up to %s", f->frames,
		       format_bytes(f->frame_largest, size, sizeof(size)));
	printf("\nextents:     %" PRIu64 "\n", f->extents);
	if (!info->random_access)
		puts("index:       not possible: it can only be read from its beginning");
	else if (info->index == ARCHIVE_INDEX_REFUSED)
		printf("index:       refused: %s\n", info->index_fault);
	else
		printf("index:       %s\n", info_index_name(info->index));
}

void info_print_text(const struct info *info)
{
	char name[VMA_ESCAPED_SIZE], size[32], data[32];

	print_archive(info);
	for (unsigned int i = 0; i < info->header->nr_configs; i++)
		printf("config:      %s: %zu bytes\n",
		       vma_escape(name, sizeof(name), info->header->configs[i].name),
		       info->header->configs[i].size);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &info->header->devices[i];

		if (!dev->name)
			continue;
		printf("%s %s: %" PRIu64 " bytes (%s), of which %s are data\n",
		       strcmp(dev->name, VMA_VMSTATE) ? "disk:       " : "memory:     ",
		       vma_escape(name, sizeof(name), dev->name), dev->size,
		       format_bytes(dev->size, size, sizeof(size)),
		       format_bytes(info->devices[i].data_bytes, data, sizeof(data)));
	}
}
