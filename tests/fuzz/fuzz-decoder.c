// SPDX-License-Identifier: GPL-2.0-or-later
/* Whatever decompresses, in the caller's thread and in others. */
#include "codec/codec.h"
#include "fuzz.h"

#define PIECE	(64u << 10)

static void decode(const uint8_t *data, size_t size, unsigned int threads)
{
	static uint8_t buf[PIECE];
	struct bytes b = { data, size };
	struct decoder *d;
	struct vma_error err;
	uint64_t total = 0;
	ssize_t got;

	if (decoder_new(&d, bytes_read, &b, &err) != 0)
		return;
	if (!threads || decoder_start_threads(d, threads, &err) == 0) {
		do {
			got = decoder_read(d, buf, sizeof(buf), &err);
			must(got <= (ssize_t)sizeof(buf));
			total += got > 0 ? got : 0;
		} while (got > 0 && total < FUZZ_STREAM_MAX);
	}
	decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode(data, size, 0);
	/* Threads cost more than all of the rest: now and then. */
	if (size && data[size - 1] % 16 == 0)
		decode(data, size, 2);
	return 0;
}
