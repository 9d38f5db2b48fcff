// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: what comes out for who goes on behind damage, and what that may cost. */
#include "codec-memory.h"

/* What comes out of a file in spite of its damage, read so much at a time. */
static struct memory salvage_by(struct memory *m, size_t step, unsigned int *losses)
{
	struct memory out = { .fail_read_at = -1 };
	struct vma_error err = { "" };
	static uint8_t buf[1 << 20];
	struct vma_loss loss;
	struct decoder *d;
	ssize_t n;

	assert_true(step <= sizeof(buf));
	*losses = 0;
	m->pos = 0;
	assert_int_equal(decoder_new(&d, memory_read, m, &err), 0);
	decoder_go_on(d);
	do {
		n = decoder_read(d, buf, step, &err);
		if (n > 0)
			append(&out, buf, n);
		while (decoder_loss(d, &loss))
			n = ++*losses;
	} while (n > 0);
	decoder_free(d);
	return out;
}

static struct memory salvage(struct memory *m, unsigned int *losses)
{
	return salvage_by(m, 65536, losses);
}

/* Frames that do not tell their size are decompressed one after another, the next one anew. */
static void behind_a_stream(void **state)
{
	enum { FRAMES = 6, BAD = 2 };
	size_t len = 500000;
	uint8_t *p = sample(len);
	struct memory frame = { .fail_read_at = -1 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();

	(void)state;
	frame.p = malloc(ZSTD_compressBound(len));
	assert_non_null(frame.p);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	frame.len = ZSTD_compress2(zstd, frame.p, ZSTD_compressBound(len), p, len);
	assert_false(ZSTD_isError(frame.len));
	/* In its header's block, in the middle, in the checksum. */
	for (int i = 0; i < 3; i++) {
		size_t at[] = { 8, frame.len / 2, frame.len - 2 };
		struct memory m = { .fail_read_at = -1 }, out, again;
		unsigned int losses;

		for (int k = 0; k < FRAMES; k++)
			append(&m, frame.p, frame.len);
		m.p[BAD * frame.len + at[i]] ^= 0x40;
		out = salvage(&m, &losses);
		assert_int_equal(losses, 1);
		assert_in_range(out.len, (FRAMES - 1) * len, FRAMES * len);
		for (int k = 0; k < FRAMES - 1 - BAD; k++)
			assert_memory_equal(out.p + out.len - (k + 1) * len, p, len);
		/* What came of the damaged one does not depend on how it is read. */
		again = salvage_by(&m, 777, &losses);
		assert_int_equal(again.len, out.len);
		assert_memory_equal(again.p, out.p, out.len);
		free(again.p);
		free(out.p);
		free(m.p);
	}
	ZSTD_freeCCtx(zstd);
	free(frame.p);
	free(p);
}

/* The header of a block, of all things: what the blocks before it hold is there. */
static void before_a_block_header(void **state)
{
	enum { BLOCK = 128 << 10, FRAME_HEADER = 6 };
	size_t len = 500000;
	uint8_t *p = sample(len);
	struct memory whole = { .fail_read_at = -1 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	size_t at = FRAME_HEADER;

	(void)state;
	whole.p = malloc(ZSTD_compressBound(len));
	assert_non_null(whole.p);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	whole.len = ZSTD_compress2(zstd, whole.p, ZSTD_compressBound(len), p, len);
	ZSTD_freeCCtx(zstd);
	for (size_t blocks = 0; blocks < len / BLOCK + 1; blocks++) {
		const uint8_t *h = whole.p + at;
		uint32_t block = h[0] | h[1] << 8 | h[2] << 16;
		struct memory m = memory_of(whole.p, whole.len), out;
		unsigned int losses;

		/* Of a kind that there is not. */
		m.p[at] |= 3 << 1;
		for (size_t step = BLOCK / 2; step <= 4 * BLOCK; step *= 2) {
			out = salvage_by(&m, step, &losses);
			assert_int_equal(losses, 1);
			assert_int_equal(out.len, blocks * BLOCK);
			assert_memory_equal(out.p, p, out.len);
			free(out.p);
		}
		free(m.p);
		at += 3 + ((block >> 1 & 3) == 1 ? 1 : block >> 3);
	}
	assert_int_equal(at, whole.len);
	free(whole.p);
	free(p);
}

/* Zeroes may follow the last member. Behind others they are damage, and end there. */
static void zeroed_members(void **state)
{
	enum { MEMBERS = 6, BAD = 2 };
	size_t len = 100000;
	uint8_t *p = sample(len);
	struct memory member = one_member(p, len);
	size_t zeroed[] = { 1, 512, member.len - 1, member.len, member.len + 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(zeroed) / sizeof(zeroed[0]); i++) {
		size_t left = MEMBERS - 1 - (zeroed[i] > member.len);
		struct memory m = { .fail_read_at = -1 }, out;
		unsigned int losses;

		for (int k = 0; k < MEMBERS; k++)
			append(&m, member.p, member.len);
		memset(m.p + BAD * member.len, 0, zeroed[i]);
		out = salvage(&m, &losses);
		assert_in_range(losses, 1, 2);
		assert_int_equal(out.len, left * len);
		for (size_t k = 0; k < left; k++)
			assert_memory_equal(out.p + k * len, p, len);
		free(out.p);
		free(m.p);
	}
	free(member.p);
	free(p);
}

/* The first seal, or what is left of it, takes nothing else with it. */
static void first_seal(void **state)
{
	enum { SEAL = 50, LEN = 300000 };
	struct codec_options o = { .kind = CODEC_GZIP };
	uint8_t *p = sample(LEN);
	struct memory whole = encode(&o, p, LEN);

	(void)state;
	for (size_t at = 2; at < SEAL; at++) {
		for (size_t bytes = 1; at + bytes <= SEAL; bytes++) {
			struct memory m = memory_of(whole.p, whole.len), out;
			unsigned int losses;

			memset(m.p + at, 0xff, bytes);
			out = salvage(&m, &losses);
			if (out.len != LEN || memcmp(out.p, p, LEN) != 0)
				fail_msg("%zu bytes at %zu: %zu are left", bytes, at, out.len);
			assert_true(memcmp(m.p, whole.p, m.len) == 0 || losses);
			free(out.p);
			free(m.p);
		}
	}
	free(whole.p);
	free(p);
}

static struct memory summed_frame(const uint8_t *p, size_t len)
{
	struct memory m = { .p = malloc(ZSTD_compressBound(len)), .fail_read_at = -1 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();

	assert_non_null(m.p);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	m.len = ZSTD_compress2(zstd, m.p, ZSTD_compressBound(len), p, len);
	ZSTD_freeCCtx(zstd);
	assert_false(ZSTD_isError(m.len));
	return m;
}

/* One that is all there is comes out for who goes on, and for nobody else. */
static void damaged_only_piece(void **state)
{
	enum { LEN = 300000 };
	uint8_t *p = sample(LEN);

	(void)state;
	for (int kind = CODEC_ZSTD; kind <= CODEC_GZIP; kind++) {
		struct memory m = kind == CODEC_ZSTD ? summed_frame(p, LEN) : one_member(p, LEN);
		struct vma_error err = { "" };
		unsigned int losses;
		struct memory out;
		ssize_t ret;

		/* Its checksum. */
		m.p[m.len - (kind == CODEC_ZSTD ? 1 : 5)] ^= 1;
		out = decode(&m, kind, &ret, &err);
		assert_int_equal(ret, -EBADMSG);
		assert_int_equal(out.len, 0);
		free(out.p);
		out = salvage(&m, &losses);
		assert_int_equal(losses, 1);
		assert_int_equal(out.len, LEN);
		assert_memory_equal(out.p, p, LEN);
		free(out.p);
		free(m.p);
	}
	free(p);
}

/* Without the bit that says its end it is read on into the next one, which is none of its own. */
static void first_of_members(void **state)
{
	enum { MEMBERS = 3, DEFLATE = 10, LENS = 400 };
	uint8_t *p = sample(2 * 0x10000);

	(void)state;
	for (size_t len = 1; len < LENS; len++) {
		/* Of noise, so that what is read on from is something else each time. */
		struct memory member = one_member(p + 0x10000, len);
		struct memory m = { .fail_read_at = -1 }, out;
		unsigned int losses;

		for (int k = 0; k < MEMBERS; k++)
			append(&m, member.p, member.len);
		assert_int_equal(m.p[DEFLATE] & 1, 1);
		m.p[DEFLATE] ^= 1;
		out = salvage(&m, &losses);
		assert_true(losses);
		assert_true(out.len >= (MEMBERS - 1) * len);
		for (size_t k = 1; k < MEMBERS; k++)
			assert_memory_equal(out.p + out.len - k * len, p + 0x10000, len);
		free(out.p);
		free(m.p);
		free(member.p);
	}
	free(p);
}

static void append_le32(struct memory *m, uint32_t v)
{
	uint8_t p[] = { v, v >> 8, v >> 16, v >> 24 };

	append(m, p, sizeof(p));
}

/* Of another seekable file, too, the table is compared: each byte, whoever reads. */
static void table_of_sums(void **state)
{
	enum { FRAMES = 3, LEN = 5000, TABLE = FRAMES * 12 + 9 };
	uint8_t *p = sample(LEN);
	struct memory frame = summed_frame(p, LEN), m = { .fail_read_at = -1 }, out;
	unsigned int losses;

	(void)state;
	for (unsigned int k = 0; k < FRAMES; k++)
		append(&m, frame.p, frame.len);
	append_le32(&m, 0x184d2a5e);
	append_le32(&m, TABLE);
	for (unsigned int k = 0; k < FRAMES; k++) {
		append_le32(&m, frame.len);
		append_le32(&m, LEN);
		append(&m, frame.p + frame.len - 4, 4);
	}
	append_le32(&m, FRAMES);
	append(&m, "\x80\xb1\xea\x92\x8f", 5);
	out = salvage(&m, &losses);
	assert_int_equal(losses, 0);
	assert_int_equal(out.len, FRAMES * LEN);
	free(out.p);
	/* Without its own magic number at the end it is no table. */
	for (size_t at = m.len - TABLE; at < m.len - 4; at++) {
		m.p[at] ^= 0x10;
		out = salvage(&m, &losses);
		if (losses != 1 || out.len != FRAMES * LEN)
			fail_msg("byte %zu: %u losses", at + TABLE - m.len, losses);
		free(out.p);
		m.p[at] ^= 0x10;
	}
	free(m.p);
	free(frame.p);
	free(p);
}

static uint8_t *noise(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t random = 7;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		random = random * 1664525 + 1013904223;
		p[i] = random >> 24;
	}
	return p;
}

/* Damage leads into the data, where a guest keeps such an archive: not the end of this one. */
static void archive_within(void **state)
{
	enum { INNER = 200000, AT = 1000000, LEN = 3 * CODEC_PIECE_MAX, TAIL = CODEC_PIECE_MAX };
	uint8_t *p = noise(LEN), *q = noise(INNER);

	(void)state;
	for (int kind = CODEC_ZSTD; kind <= CODEC_GZIP; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory inner = encode(&o, q, INNER), whole;

		memcpy(p + AT, inner.p, inner.len);
		/* What comes behind it may be empty. */
		memset(p + AT + inner.len, 0, AT);
		whole = encode(&o, p, LEN);
		for (size_t at = 1000; at < AT + inner.len; at += 200000) {
			struct memory m = memory_of(whole.p, whole.len), out;
			unsigned int losses;

			memmove(m.p + at, m.p + at + 1, m.len - at - 1);
			m.len--;
			out = salvage(&m, &losses);
			assert_true(losses);
			assert_true(out.len >= TAIL);
			assert_memory_equal(out.p + out.len - TAIL, p + LEN - TAIL, TAIL);
			free(out.p);
			free(m.p);
		}
		free(whole.p);
		free(inner.p);
	}
	free(q);
	free(p);
}

/* The same within a file without seals, which does not have them for that. */
static void sealed_within(void **state)
{
	enum { INNER = 20000, AT = 5000, LEN = 100000, PIECES = 6, BAD = 2 };
	uint8_t *p = noise(LEN), *q = noise(INNER);

	(void)state;
	for (int kind = CODEC_ZSTD; kind <= CODEC_GZIP; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory inner = encode(&o, q, INNER), piece, m = { .fail_read_at = -1 }, out;
		unsigned int losses;

		memcpy(p + AT, inner.p, inner.len);
		piece = kind == CODEC_ZSTD ? one_frame(p, LEN) : one_member(p, LEN);
		for (unsigned int k = 0; k < PIECES; k++)
			append(&m, piece.p, piece.len);
		/* A byte is gone. */
		memmove(m.p + BAD * piece.len + 1000, m.p + BAD * piece.len + 1001,
			m.len - BAD * piece.len - 1001);
		m.len--;
		out = salvage(&m, &losses);
		assert_true(losses);
		/* The next one may be taken for a part of it. */
		assert_true(out.len >= (PIECES - 1) * LEN - LEN);
		for (size_t k = 1; k < PIECES - 1 - BAD; k++)
			assert_memory_equal(out.p + out.len - k * LEN, p, LEN);
		free(out.p);
		free(m.p);
		free(piece.p);
		free(inner.p);
	}
	free(q);
	free(p);
}

/* The end of all blocks of lzop is a block of size 0, as zeroes anywhere may be, and one bit. */
static void lzo_zeroes(void **state)
{
	enum { BLOCK = 256 << 10, BLOCKS = 12 };
	static const uint8_t size[] = { 0, 4, 0, 0 };
	size_t len = BLOCKS * BLOCK;
	uint8_t *p = sample(len);
	struct memory whole = one_piece(CODEC_LZO, p, len);
	unsigned int found = 0;

	(void)state;
	for (size_t at = 0; at + 5000 < whole.len; at++) {
		if (memcmp(whole.p + at, size, sizeof(size)) != 0)
			continue;
		for (unsigned int what = 0; what < 3; what++) {
			struct memory m = memory_of(whole.p, whole.len), out;
			size_t before = (size_t)found * BLOCK;
			unsigned int losses;

			if (what)
				memset(m.p + at - (what == 2 && found ? 100 : 0), 0, 4096);
			else
				m.p[at + 1] ^= 4;
			out = salvage(&m, &losses);
			assert_true(losses);
			/* With its end, the block before the hole. */
			before -= what == 2 && found ? BLOCK : 0;
			assert_in_range(out.len, len - 2 * BLOCK, len - BLOCK);
			assert_memory_equal(out.p, p, before);
			assert_memory_equal(out.p + before, p + len - (out.len - before),
					    out.len - before);
			free(out.p);
			free(m.p);
		}
		found++;
	}
	assert_int_equal(found, BLOCKS);
	free(whole.p);
	free(p);
}

/* An lzop file of ours with other checksums: flags of them, as if another had written it. */
static struct memory with_sums(const struct memory *ours, uint32_t flags)
{
	enum { FLAGS = 17, HEADER = 38, DATA = 1, PACKED = 2 };
	struct memory m = memory_of(ours->p, HEADER);
	size_t at = HEADER;
	uint32_t sum;

	m.p[FLAGS + 3] = (m.p[FLAGS + 3] & ~(DATA | PACKED)) | flags;
	sum = adler32(1, m.p + 9, HEADER - 9 - 4);
	for (int i = 0; i < 4; i++)
		m.p[HEADER - 1 - i] = sum >> 8 * i;
	while (at + 4 < ours->len) {
		const uint8_t *p = ours->p + at;
		uint32_t size = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
		uint32_t packed = (uint32_t)p[4] << 24 | p[5] << 16 | p[6] << 8 | p[7];
		size_t sums = 4 + (packed < size ? 4 : 0);

		append(&m, p, 8);
		if (flags & DATA)
			append(&m, p + 8, 4);
		if (flags & PACKED && packed < size)
			append(&m, p + 12, 4);
		append(&m, p + 8 + sums, packed);
		at += 8 + sums + packed;
	}
	append(&m, ours->p + at, ours->len - at);
	return m;
}

/* With no checksum of what comes out, what was packed wrong is not given out, and lost once. */
static void lzo_packed_sums(void **state)
{
	enum { BLOCK = 256 << 10, LEN = 3 * BLOCK };
	uint8_t *p = sample(LEN);
	struct memory ours = one_piece(CODEC_LZO, p, LEN), whole = with_sums(&ours, 2), out;
	unsigned int losses;

	(void)state;
	out = salvage(&whole, &losses);
	assert_int_equal(losses, 0);
	assert_int_equal(out.len, LEN);
	free(out.p);
	for (size_t at = 60; at < whole.len / 4; at += 997) {
		struct memory m = memory_of(whole.p, whole.len);

		m.p[at] ^= 1;
		out = salvage(&m, &losses);
		assert_true(losses);
		assert_int_equal(out.len, LEN - BLOCK);
		assert_memory_equal(out.p, p + BLOCK, out.len);
		free(out.p);
		free(m.p);
	}
	free(whole.p);
	free(ours.p);
	free(p);
}

/* A flag about checksums is wrong: the blocks show it. */
static void lzo_flags(void **state)
{
	enum { FLAGS = 17, LEN = 600000 };
	uint8_t *p = sample(LEN);
	struct memory ours = one_piece(CODEC_LZO, p, LEN), out;
	unsigned int losses;

	(void)state;
	for (uint32_t sums = 1; sums < 4; sums++) {
		struct memory m = with_sums(&ours, sums);
		uint32_t flips[] = { 1, 2, 0x100, 0x200 };

		for (unsigned int i = 0; i < 4; i++) {
			m.p[FLAGS + 3] ^= flips[i];
			m.p[FLAGS + 2] ^= flips[i] >> 8;
			out = salvage(&m, &losses);
			assert_int_equal(losses, 1);
			assert_int_equal(out.len, LEN);
			assert_memory_equal(out.p, p, LEN);
			free(out.p);
			m.p[FLAGS + 3] ^= flips[i];
			m.p[FLAGS + 2] ^= flips[i] >> 8;
		}
		free(m.p);
	}
	free(ours.p);
	free(p);
}

/*
 * Forged: at every few bytes something begins that is looked through for megabytes, and is
 * nothing. All of it, each time, would take longer than any test may.
 */
static void many_beginnings(void **state)
{
	enum { LEN = 3 << 20 };
	static const uint8_t lzo[] = { 0, 4, 0, 0 };
	static const uint8_t zstd[] = { 0x30, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0 };
	static const uint8_t gzip[] = {
		0, 10, 0, 0xf5, 0xff, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3,
	};
	const struct {
		enum codec_kind kind;
		const uint8_t *unit;
		size_t len;
	} forged[] = {
		{ CODEC_LZO, lzo, sizeof(lzo) }, { CODEC_ZSTD, zstd, sizeof(zstd) },
		{ CODEC_GZIP, gzip, sizeof(gzip) },
	};
	uint8_t *p = sample(100000);

	(void)state;
	for (unsigned int i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		struct memory m, out;
		unsigned int losses;

		if (forged[i].kind == CODEC_LZO)
			m = one_piece(CODEC_LZO, p, 100000);
		else
			m = forged[i].kind == CODEC_ZSTD ? one_frame(p, 100000) :
							   one_member(p, 100000);
		if (forged[i].kind == CODEC_LZO)
			m.len -= 4;
		m.p = realloc(m.p, LEN + sizeof(gzip));
		assert_non_null(m.p);
		for (; m.len < LEN; m.len += forged[i].len)
			memcpy(m.p + m.len, forged[i].unit, forged[i].len);
		out = salvage(&m, &losses);
		assert_true(losses);
		assert_true(out.len >= 100000);
		assert_memory_equal(out.p, p, 100000);
		free(out.p);
		free(m.p);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behind_a_stream),
		cmocka_unit_test(before_a_block_header),
		cmocka_unit_test(zeroed_members),
		cmocka_unit_test(first_seal),
		cmocka_unit_test(damaged_only_piece),
		cmocka_unit_test(first_of_members),
		cmocka_unit_test(table_of_sums),
		cmocka_unit_test(archive_within),
		cmocka_unit_test(sealed_within),
		cmocka_unit_test(lzo_zeroes),
		cmocka_unit_test(lzo_packed_sums),
		cmocka_unit_test(lzo_flags),
		cmocka_unit_test(many_beginnings),
	};

	return cmocka_run_group_tests_name("codec-salvage", tests, NULL, NULL);
}
