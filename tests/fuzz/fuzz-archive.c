// SPDX-License-Identifier: GPL-2.0-or-later
/* An archive that is entered in the middle: seek table, frames, header, making an index. */
#include "archive/archive.h"
#include "fuzz.h"

#define PIECE	100000u

static void use(struct archive *a)
{
	const struct vma_header *h = archive_header(a);
	static uint8_t buf[PIECE];
	struct vma_error err;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		uint64_t size = h->devices[i].size, run;
		size_t len = size < PIECE ? size : PIECE;
		bool data;

		if (!h->devices[i].name)
			continue;
		archive_read(a, i, 0, buf, len, &err);
		archive_read(a, i, size - len, buf, len, &err);
		if (archive_map(a, i, size / 2, size - size / 2, &data, &run, &err) == 0)
			must(run && run <= size - size / 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct archive_options options = { .cache = ARCHIVE_CACHE_MIN };
	struct archive *a;
	struct vma_error err;
	char path[32];
	int fd = memory_file(data, size, path);

	if (archive_open_bare(&a, path, &err) == 0) {
		uint64_t stream = archive_facts(a).stream_size;

		archive_close(a);
		if (stream <= FUZZ_STREAM_MAX && archive_open(&a, path, &options, &err) == 0) {
			use(a);
			archive_close(a);
		}
	}
	close(fd);
	return 0;
}
