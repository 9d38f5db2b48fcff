// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: damage is found, and told where it is. */
#include "codec-memory.h"

static void refuse(struct memory *m, int code, const char *words)
{
	refuse_kind(m, CODEC_ZSTD, code, words);
}

/* What stands before the damage comes out, and nothing after it. */
static void damage_in_threads(void **state)
{
	struct vma_error err = { "" };
	size_t len = 1 << 20;
	uint8_t *p = sample(len);
	struct memory frame = one_frame(p, len), m = { .fail_read_at = -1 }, out;
	ssize_t ret;

	(void)state;
	for (int i = 0; i < 9; i++)
		append(&m, frame.p, frame.len);
	m.p[5 * frame.len + frame.len / 2] ^= 4;
	decode_threads = 3;
	out = decode(&m, CODEC_ZSTD, &ret, &err);
	decode_threads = 0;
	assert_int_equal(ret, -EBADMSG);
	assert_in_range(out.len, 4 * len, 5 * len);
	for (size_t i = 0; i < out.len; i += len)
		assert_memory_equal(out.p + i, p, out.len - i < len ? out.len - i : len);
	free(out.p);
	free(m.p);
	free(frame.p);
	free(p);
}

/* Where its seek table begins. */
static size_t table_at(const struct memory *m)
{
	return m->len - 8 - 3 * 12 - 9;
}

static void truncated(void **state)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	uint8_t *p = sample(300000);
	struct memory whole = one_piece(CODEC_ZSTD, p, 300000), foreign = one_frame(p, 300000), m;

	(void)state;
	for (size_t cut = 4; cut < whole.len; cut += cut < 40 || cut > whole.len - 70 ? 1 : 997) {
		m = memory_of(whole.p, cut);
		refuse(&m, -EBADMSG, "truncated");
	}
	/* A second frame that has only begun. */
	for (size_t cut = 1; cut < 12; cut++) {
		m = memory_of(foreign.p, foreign.len);
		append(&m, foreign.p, cut);
		refuse(&m, -EBADMSG, "truncated");
	}
	for (size_t cut = 4; cut < sizeof(skippable); cut++) {
		m = memory_of(skippable, cut);
		refuse(&m, -EBADMSG, "truncated");
	}
	free(foreign.p);
	free(whole.p);
	free(p);
}

static void flip(struct memory *m, size_t at)
{
	assert_true(at < m->len);
	m->p[at] ^= 1;
}

static void damaged(void **state)
{
	uint8_t *p = sample(300000);
	struct memory whole = one_piece(CODEC_ZSTD, p, 300000), m;

	(void)state;
	m = memory_of(whole.p, whole.len);
	/* The frame's checksum; its seal. */
	flip(&m, table_at(&m) - 32 - 1);
	refuse(&m, -EBADMSG, "checksum");
	m = memory_of(whole.p, whole.len);
	flip(&m, table_at(&m) - 1);
	refuse(&m, -EBADMSG, "the data is intact");
	m = memory_of(whole.p, whole.len);
	append(&m, "garbage", 7);
	refuse(&m, -EBADMSG, "bytes behind the end");
	m = one_frame(p, 300000);
	append(&m, "garbage", 7);
	refuse(&m, -EBADMSG, "what follows");
	for (size_t at = 100; at < table_at(&whole); at += 4999) {
		m = memory_of(whole.p, whole.len);
		flip(&m, at);
		refuse(&m, -EBADMSG, "damaged");
	}
	/* All of the table but the kind of skippable frame that it is in. */
	for (size_t at = table_at(&whole) + 8; at < whole.len; at++) {
		m = memory_of(whole.p, whole.len);
		m.p[at] ^= 0x10;
		refuse(&m, -EBADMSG, "seek table");
	}
	free(whole.p);
	free(p);
}

static void append_le32(struct memory *m, uint32_t v)
{
	uint8_t p[4] = { v, v >> 8, v >> 16, v >> 24 };

	append(m, p, sizeof(p));
}

/* Pairs of a frame's sizes, compressed and not. */
static void append_table(struct memory *m, const uint32_t (*entries)[2], uint32_t nr)
{
	append_le32(m, 0x184d2a5e);
	append_le32(m, 8 * nr + 9);
	for (uint32_t i = 0; i < nr; i++) {
		append_le32(m, entries[i][0]);
		append_le32(m, entries[i][1]);
	}
	append_le32(m, nr);
	append(m, "", 1);
	append_le32(m, 0x8f92eab1);
}

/* A frame of others that is passed over, `len` bytes of p in it. */
static void append_skippable(struct memory *m, uint32_t magic, const void *p, size_t len)
{
	append_le32(m, magic);
	append_le32(m, len);
	append(m, p, len);
}

/*
 * A seek table that hides what is read from the beginning and shows a frame that is passed over
 * there: the number of its entries is another than that of the frames.
 */
static void table_of_others(void **state)
{
	static const uint8_t header[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0 };
	size_t len = 1000;
	uint8_t *p = sample(len);
	struct memory frame = one_frame(p, len), m, table = { .fail_read_at = -1 };
	uint32_t entries[][2] = {
		{ 8, 0 }, { frame.len, len }, { 16, 0 }, { frame.len - 16, 0 },
	};

	(void)state;
	for (uint32_t magic = 0x184d2a50; magic <= 0x184d2a5e; magic += 0xe) {
		m = memory_of(NULL, 0);
		append_skippable(&m, magic, frame.p, frame.len);
		append(&m, frame.p, frame.len);
		append_table(&m, entries, 4);
		refuse(&m, -EBADMSG, "seek table");
	}
	/* The same within another frame: what stands at the end of the file is what counts. */
	append_table(&table, entries, 2);
	m = memory_of(frame.p, frame.len);
	append_skippable(&m, 0x184d2a50, table.p, table.len);
	refuse(&m, -EBADMSG, "seek table");
	m = memory_of(frame.p, frame.len);
	append(&m, header, sizeof(header));
	append_le32(&m, table.len);
	append_le32(&m, table.len << 3 | 1);
	m.len--;
	append(&m, table.p, table.len);
	refuse(&m, -EBADMSG, "seek table");
	/* Not at the end it is believed by nobody, and may be listed itself. */
	m = memory_of(frame.p, frame.len);
	append(&m, table.p, table.len);
	append_skippable(&m, 0x184d2a5e, "anything", 8);
	append(&m, "\x28\xb5\x2f\xfd\x20\0\1\0\0", 9);
	take(&m, CODEC_ZSTD, p, len);
	m = memory_of(frame.p, frame.len);
	append(&m, table.p, table.len);
	append_table(&m, (const uint32_t[][2]){ { frame.len, len }, { table.len, 0 } }, 2);
	take(&m, CODEC_ZSTD, p, len);
	free(table.p);
	free(frame.p);
	free(p);
}

/* A frame's header says that it has no content: that is not how much is lost. */
static void no_content(void **state)
{
	uint8_t *p = sample(200);
	struct memory m = one_frame(p, 200), out;
	struct vma_error err = { "" };
	struct vma_loss loss;
	struct decoder *d;
	uint8_t byte;
	ssize_t ret;

	(void)state;
	assert_int_equal(m.p[5], 200);
	m.p[5] = 0;
	out = decode(&m, CODEC_ZSTD, &ret, &err);
	assert_int_equal(ret, -EBADMSG);
	assert_null(strstr(err.text, "intact"));
	m.pos = 0;
	assert_int_equal(decoder_new(&d, memory_read, &m, &err), 0);
	decoder_go_on(d);
	assert_int_equal(decoder_read(d, &byte, 1, &err), 0);
	assert_int_equal(decoder_loss(d, &loss), 1);
	assert_true(loss.bytes == VMA_LOSS_UNKNOWN);
	decoder_free(d);
	free(out.p);
	free(m.p);
	free(p);
}

/* It asks for more memory than zstd itself gives it. */
static void large_window(void **state)
{
	static const uint8_t frame[] = {
		0x28, 0xb5, 0x2f, 0xfd, 0x80, 21 << 3, 4, 0, 0, 0, 4 << 3 | 1, 0, 0,
		'V', 'M', 'A', 0,
	};
	struct memory m = memory_of(frame, sizeof(frame)), out;
	struct vma_error err = { "" };
	ssize_t ret;

	(void)state;
	out = decode(&m, CODEC_ZSTD, &ret, &err);
	assert_int_equal(ret, -EFBIG);
	free(out.p);
	/* 128 MiB */
	m.p[5] = 17 << 3;
	m.pos = 0;
	out = decode(&m, CODEC_ZSTD, &ret, &err);
	assert_true(ret >= 0);
	assert_int_equal(out.len, 4);
	free(out.p);
	free(m.p);
}

/* Every bit; without its magic number it is taken for an archive that is not compressed. */
static void every_bit(void **state)
{
	size_t len = 1000;
	uint8_t *p = sample(len);

	(void)state;
	for (int kind = CODEC_ZSTD; kind <= CODEC_LZO; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory whole = encode(&o, p, len);

		for (size_t bit = 0; bit < whole.len * 8; bit++) {
			struct memory m = memory_of(whole.p, whole.len), out;
			struct vma_error err = { "" };
			struct decoder *d = NULL;
			ssize_t ret;

			m.p[bit / 8] ^= 1 << bit % 8;
			ret = decoder_new(&d, memory_read, &m, &err);
			out = memory_of(NULL, 0);
			if (!ret && decoder_kind(d) != CODEC_NONE) {
				out.p = realloc(out.p, 4 * len);
				ret = decoder_read(d, out.p, 4 * len, &err);
				if (ret >= 0)
					fail_msg("%s: bit %zu", codec_name(kind), bit);
				if (!strstr(err.text, "damaged") && !strstr(err.text, "truncated"))
					fail_msg("bit %zu: %s", bit, err.text);
			} else {
				assert_in_range(bit, 0, 9 * 8);
			}
			decoder_free(d);
			free(out.p);
			free(m.p);
		}
		free(whole.p);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage_in_threads),
		cmocka_unit_test(every_bit),
		cmocka_unit_test(truncated),
		cmocka_unit_test(damaged),
		cmocka_unit_test(table_of_others),
		cmocka_unit_test(no_content),
		cmocka_unit_test(large_window),
	};

	return cmocka_run_group_tests_name("codec-damage", tests, NULL, NULL);
}
