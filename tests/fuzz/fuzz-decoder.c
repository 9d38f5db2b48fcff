// SPDX-License-Identifier: GPL-2.0-or-later
/* Whatever decompresses, in the caller's thread and in others. */
#include "codec/codec.h"
#include "fuzz.h"

#define PIECE	(64u << 10)

static void decode(const uint8_t *data, size_t size, unsigned int threads, int go_on)
{
	static uint8_t buf[PIECE];
	struct bytes b = { data, size };
	struct decoder *d;
	struct vma_loss loss;
	struct vma_error err;
	uint64_t losses = 0, lost_to = 0, total = 0;
	ssize_t got;

	if (decoder_new(&d, bytes_read, &b, &err) != 0)
		return;
	if (go_on)
		decoder_go_on(d);
	if (!threads || decoder_start_threads(d, threads, &err) == 0) {
		do {
			got = decoder_read(d, buf, sizeof(buf), &err);
			must(got <= (ssize_t)sizeof(buf));
			total += got > 0 ? got : 0;
			while (got >= 0 && got < (ssize_t)sizeof(buf) && decoder_loss(d, &loss)) {
				/* Forward, within the input: so there is an end. */
				must(go_on && loss.what.text[0] && loss.begin >= lost_to);
				must(loss.begin <= loss.end && loss.end <= size);
				must(losses++ <= size);
				lost_to = loss.begin;
				got = sizeof(buf);
			}
		} while (got > 0 && total < FUZZ_STREAM_MAX);
	}
	decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode(data, size, 0, 0);
	decode(data, size, 0, 1);
	/* Threads cost more than all of the rest: now and then. */
	if (size && data[size - 1] % 16 == 0)
		decode(data, size, 2, 1);
	return 0;
}
