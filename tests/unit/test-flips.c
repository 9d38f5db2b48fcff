// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Nothing goes undetected: an archive of each kind with one bit flipped, at random, and a small
 * one cut off at each byte, is refused, and what is damaged is told where it is.
 *
 * The truth is computed here, from the description of the formats, with the libraries'
 * own functions. VMAB_TEST_FLIPS and VMAB_TEST_SEED say how many bits, and which.
 */
#include <inttypes.h>
#include <lzo/lzo1x.h>
#include <time.h>
#include <unistd.h>

#include "codec-memory.h"

#define FLIPS		100u		/* of each kind: 3 s of processor time in all */
#define HANG_SECONDS	120u		/* one try takes milliseconds */

#define DEVICES		4u
#define MAX_CLUSTERS	24u
#define EXTENT_CLUSTERS	7u		/* so that a piece holds a few extents */
#define MAX_PIECES	64u

/* ---- an archive -------------------------------------------------------- */

static const uint64_t sizes[DEVICES + 1] = {
	0, 16 * 65536 + 512, 24 * 65536, 10 * 65536 + 3 * 4096, 512,
};
static uint8_t *disks[DEVICES + 1];	/* whole clusters */

static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static uint64_t clusters_of(unsigned int dev)
{
	return (sizes[dev] + 65535) / 65536;
}

/* Noise; text; little and zeroes; a disk of one sector. */
static void fill_disks(void)
{
	for (unsigned int d = 1; d <= DEVICES; d++) {
		disks[d] = calloc(clusters_of(d), 65536);
		assert_non_null(disks[d]);
		for (uint64_t i = 0; i < sizes[d]; i++) {
			if (d == 1)
				disks[d][i] = next_random();
			else if (d == 2)
				disks[d][i] = "what a disk of text is full of\n"[i * i / 7 % 31];
			else if (d == 4 || (i / 4096 % 16 == 5 && i / 65536 % 3 == 0))
				disks[d][i] = i + i / 256;
		}
	}
}

static struct vma_header *new_header(unsigned int devices)
{
	static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	struct vma_header *h = vma_header_new(uuid, 1700000000);
	char name[] = "disk0";

	assert_non_null(h);
	for (unsigned int d = DEVICES + 1 - devices; d <= DEVICES; d++) {
		name[4] = '0' + d;
		assert_int_equal(vma_header_add_device(h, name, sizes[d], NULL),
				 d - (DEVICES - devices));
	}
	assert_int_equal(vma_header_add_config(h, "qemu-server.conf", "cores: 4\n", 9, NULL), 0);
	return h;
}

/* devices: the last so many of all. */
static struct memory make_archive(enum codec_kind kind, unsigned int devices)
{
	struct codec_options o = { .kind = kind, .level = kind == CODEC_GZIP };
	struct memory m = { .fail_read_at = -1 };
	struct vma_header *h = new_header(devices);
	unsigned int first = DEVICES - devices;
	struct vma_writer *w;
	struct encoder *e;
	struct iovec *iov, head;
	size_t len;
	int n;

	assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
	assert_int_equal(vma_header_encode(h, (uint8_t **)&head.iov_base, &len, NULL), 0);
	head.iov_len = len;
	assert_int_equal(encoder_write(e, &head, 1, NULL), 0);
	free(head.iov_base);
	assert_int_equal(vma_writer_new(&w, h, NULL), 0);
	for (uint64_t c = 0; c < MAX_CLUSTERS; c++) {
		for (unsigned int d = first + 1; d <= DEVICES; d++) {
			if (c >= clusters_of(d))
				continue;
			assert_true(vma_writer_add(w, d - first, c, disks[d] + c * 65536,
						   NULL) >= 0);
			if (vma_writer_pending(w) < EXTENT_CLUSTERS)
				continue;
			assert_true(vma_writer_take(w, &iov, &n) > 0);
			assert_int_equal(encoder_write(e, iov, n, NULL), 0);
		}
	}
	if (vma_writer_take(w, &iov, &n) > 0)
		assert_int_equal(encoder_write(e, iov, n, NULL), 0);
	assert_int_equal(vma_writer_finish(w, NULL), 0);
	assert_int_equal(encoder_finish(e, NULL), 0);
	encoder_free(e);
	vma_writer_free(w);
	vma_header_free(h);
	return m;
}

/* ---- the truth --------------------------------------------------------- */

/* What is compressed alone, and the bytes of the archive that are in it. */
struct piece {
	size_t begin, end, plain_begin, plain_end;
};

static struct piece pieces[MAX_PIECES];
static unsigned int nr_pieces;

static void add_piece(size_t begin, size_t end, size_t content)
{
	size_t at = nr_pieces ? pieces[nr_pieces - 1].plain_end : 0;

	assert_in_range(nr_pieces, 0, MAX_PIECES - 1);
	pieces[nr_pieces++] = (struct piece){ begin, end, at, at + content };
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static size_t zstd_piece(const struct memory *m, size_t at, size_t *content)
{
	bool frame = memcmp(m->p + at, "\x28\xb5\x2f\xfd", 4) == 0;
	size_t size = ZSTD_findFrameCompressedSize(m->p + at, m->len - at);

	assert_false(ZSTD_isError(size));
	*content = frame ? ZSTD_getFrameContentSize(m->p + at, m->len - at) : 0;
	return size;
}

static size_t gzip_piece(const struct memory *m, size_t at, size_t *content)
{
	static uint8_t out[CODEC_PIECE_MAX];
	z_stream z = { .next_in = m->p + at, .avail_in = m->len - at };

	z.next_out = out;
	z.avail_out = sizeof(out);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	*content = z.total_out;
	return z.total_in;
}

/* The file's header has no name; blocks have a checksum, and another one if they are packed. */
static size_t lzo_piece(const struct memory *m, size_t at, size_t *content)
{
	uint32_t packed;

	*content = 0;
	if (!at)
		return 9 + 25 + 4;
	*content = be32(m->p + at);
	if (!*content)
		return 4;
	packed = be32(m->p + at + 4);
	return 12 + (packed < *content ? 4 : 0) + packed;
}

static void find_pieces(enum codec_kind kind, const struct memory *m)
{
	size_t (*const size_of[])(const struct memory *, size_t, size_t *) = {
		NULL, zstd_piece, gzip_piece, lzo_piece,
	};
	size_t content;

	nr_pieces = 0;
	for (size_t at = 0; kind && at < m->len;) {
		size_t size = size_of[kind](m, at, &content);

		add_piece(at, at + size, content);
		at += size;
	}
}

/* Bytes of the archive that may be gone if this byte of the file is damaged. */
static void may_lose(enum codec_kind kind, size_t byte, size_t *begin, size_t *end)
{
	unsigned int i = 0;

	*begin = byte;
	*end = byte + 1;
	if (kind == CODEC_NONE)
		return;
	while (pieces[i].end <= byte)
		i++;
	/* The seal belongs to the frame before it. */
	if (kind != CODEC_LZO && i && pieces[i].plain_begin == pieces[i].plain_end)
		i--;
	*begin = pieces[i].plain_begin;
	/* lzop's last block is small: it can't be found if the one before has no size. */
	if (kind == CODEC_LZO && i + 1 < nr_pieces)
		i++;
	*end = pieces[i].plain_end;
}

struct place {
	size_t begin;		/* of the cluster's blocks, in the archive */
	size_t extent, end;	/* of its extent */
	uint16_t mask;
};

static struct place places[DEVICES + 1][MAX_CLUSTERS];
static size_t header_size;

static void find_places(const struct memory *plain)
{
	size_t at = be32(plain->p + 56);

	header_size = at;
	while (at < plain->len) {
		const uint8_t *e = plain->p + at;
		size_t data = at + 512, end;

		end = data + (size_t)(e[6] << 8 | e[7]) * 4096;
		for (unsigned int i = 0; i < 59; i++) {
			const uint8_t *info = e + 40 + 8 * i;
			uint16_t mask = info[0] << 8 | info[1];

			if (!info[3])
				continue;
			places[info[3]][be32(info + 4)] = (struct place){ data, at, end, mask };
			data += (size_t)__builtin_popcount(mask) * 4096;
		}
		assert_int_equal(data, end);
		at = end;
	}
	assert_int_equal(at, plain->len);
}

/* ---- verifying --------------------------------------------------------- */

#define MAX_FAULTS	64u

struct found {
	struct vma_fault faults[MAX_FAULTS];
	unsigned int nr;
	int opened, read;	/* 0, or a negative errno */
	struct vma_error error;	/* of opening */
	bool given[DEVICES + 1][MAX_CLUSTERS];
	bool absent;
};

static void note(void *ctx, const struct vma_fault *f)
{
	struct found *found = ctx;

	if (found->nr < MAX_FAULTS)
		found->faults[found->nr++] = *f;
	assert_true(f->what.text[0]);
}

static bool strict_refuses(struct memory *m, unsigned int threads)
{
	struct vma_reader *r = NULL;
	struct decoder *d = NULL;
	struct vma_error err = { "" };
	struct vma_cluster c;
	int ret;

	m->pos = 0;
	ret = decoder_new(&d, memory_read, m, &err);
	if (!ret)
		ret = decoder_start_threads(d, threads, &err);
	if (!ret)
		ret = vma_reader_open(&r, decoder_read, d, &err);
	while (!ret) {
		ret = vma_reader_next(r, &c, &err);
		if (!ret) {
			ret = vma_reader_finish(r, &err);
			break;
		}
		ret = ret > 0 ? 0 : ret;
	}
	assert_true(!ret || err.text[0]);
	vma_reader_free(r);
	decoder_free(d);
	return ret < 0;
}

/* As "vmactl verify" reads. What is given out is compared with the disks: first is disk 1 less. */
static void verify(struct memory *m, unsigned int threads, unsigned int first, struct found *f)
{
	struct vma_tolerance t = {
		.loss = decoder_loss, .unproven = decoder_unproven, .fault = note, .ctx = f,
	};
	struct vma_error *err = &f->error;
	struct vma_reader *r = NULL;
	struct decoder *d = NULL;
	struct vma_cluster c;
	uint64_t offset = 0, length;
	int ret;

	*f = (struct found){ 0 };
	m->pos = 0;
	ret = decoder_new(&d, memory_read, m, err);
	if (!ret) {
		decoder_go_on(d);
		ret = decoder_start_threads(d, threads, err);
	}
	f->opened = ret ? ret : vma_reader_open_damaged(&r, decoder_read, d, &t, err);
	if (!f->opened) {
		while ((f->read = vma_reader_next(r, &c, err)) > 0) {
			assert_memory_equal(c.data, disks[c.dev_id + first] + c.offset, c.length);
			f->given[c.dev_id][c.cluster] = true;
		}
		for (unsigned int i = 1; i <= DEVICES - first; i++, offset = 0)
			f->absent |= vma_reader_run(r, VMA_CLUSTERS_ABSENT, i, &offset, &length);
	}
	vma_reader_free(r);
	decoder_free(d);
}

/* ---- one bit ----------------------------------------------------------- */

static bool told_in_file(const struct found *f, size_t byte)
{
	const char *bytes = strstr(f->error.text, "(bytes ");
	size_t begin, last;

	if (f->opened && bytes && sscanf(bytes, "(bytes %zu-%zu", &begin, &last) == 2 &&
	    begin <= byte && byte <= last)
		return true;
	for (unsigned int i = 0; i < f->nr; i++)
		if (f->faults[i].stored && f->faults[i].stored_begin <= byte &&
		    byte < f->faults[i].stored_end)
			return true;
	return false;
}

static bool told_in_archive(const struct found *f, size_t byte)
{
	for (unsigned int i = 0; i < f->nr; i++)
		if (f->faults[i].begin <= byte && byte < f->faults[i].end)
			return true;
	return false;
}

static bool told_of_disk(const struct found *f, unsigned int dev, uint64_t offset, uint64_t length)
{
	for (unsigned int i = 0; i < f->nr; i++)
		if (f->faults[i].dev_id == dev && f->faults[i].offset <= offset &&
		    f->faults[i].offset + f->faults[i].length >= offset + length)
			return true;
	return false;
}

/* Of an archive that is not compressed: the disk's block that a byte is in. */
static bool told_block(const struct found *f, size_t byte)
{
	for (unsigned int d = 1; d <= DEVICES; d++) {
		for (uint64_t c = 0; c < clusters_of(d); c++) {
			const struct place *p = &places[d][c];
			size_t at = p->begin;

			for (unsigned int b = 0; b < 16; b++) {
				uint64_t offset = c * 65536 + b * 4096;

				if (!(p->mask & 1 << b))
					continue;
				if (at <= byte && byte < at + 4096)
					return told_of_disk(f, d, offset,
							    sizes[d] - offset < 4096 ?
								    sizes[d] - offset : 4096);
				at += 4096;
			}
		}
	}
	return told_in_archive(f, byte);
}

/* How many bytes of a file's beginning tell what it is; without them nothing is said. */
static const size_t magic_sizes[] = { 0, 4, 2, 9 };

static const char *judge(enum codec_kind kind, size_t byte, const struct found *f)
{
	size_t begin, end;

	may_lose(kind, byte, &begin, &end);
	if (f->opened)
		return byte < magic_sizes[kind] ||
		       (begin < header_size && (!kind || told_in_file(f, byte))) ? NULL :
		       "it can't be opened";
	if (f->read)
		return "reading ends with an error";
	if (!f->nr)
		return "not detected";
	if (kind ? !told_in_file(f, byte) : !told_block(f, byte))
		return "not told where it is";
	/* With a wrong header anything may go wrong, as long as nobody takes it for right. */
	if (begin < header_size)
		return NULL;
	for (unsigned int d = 1; d <= DEVICES; d++) {
		for (uint64_t c = 0; c < clusters_of(d); c++) {
			const struct place *p = &places[d][c];

			if (f->given[d][c])
				continue;
			if (p->extent >= end || p->end <= begin)
				return "more is lost than was damaged";
			if (!f->absent && !told_of_disk(f, d, c * 65536, 1))
				return "a cluster is lost without a word";
		}
	}
	return NULL;
}

static unsigned int number(const char *name, unsigned int usual)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 10) : usual;
}

static void flips(enum codec_kind kind)
{
	unsigned int tries = number("VMAB_TEST_FLIPS", FLIPS), lossless = 0;
	struct memory m = make_archive(kind, DEVICES);
	struct found f;

	find_pieces(kind, &m);
	assert_false(strict_refuses(&m, 0));
	verify(&m, 2, 0, &f);
	assert_int_equal(f.nr + f.absent - f.opened - f.read, 0);
	for (unsigned int i = 0; i < tries; i++) {
		uint64_t r = (uint64_t)next_random() << 32 | next_random();
		size_t bit = r % (m.len * 8);
		unsigned int threads = i % 16 == 15 ? 2 : 0;
		const char *wrong;
		bool all = true;

		/* Every eighth one near the beginning, the end, or the end of a piece. */
		if (i % 8 == 7 && kind && i % 16 == 7)
			bit = pieces[r % nr_pieces].end * 8 - 1 - (r >> 32) % 256;
		else if (i % 8 == 7)
			bit = r & 1 ? r % (64 * 8) : m.len * 8 - 1 - r % (64 * 8);
		alarm(HANG_SECONDS);
		m.p[bit / 8] ^= 1 << bit % 8;
		verify(&m, threads, 0, &f);
		wrong = judge(kind, bit / 8, &f);
		if (!wrong && !strict_refuses(&m, threads))
			wrong = "not refused";
		m.p[bit / 8] ^= 1 << bit % 8;
		if (wrong) {
			for (unsigned int k = 0; k < f.nr && k < 4; k++)
				print_message("# bytes %" PRIu64 "-%" PRIu64 ", device %u: %s\n",
					      f.faults[k].stored_begin, f.faults[k].stored_end,
					      f.faults[k].dev_id, f.faults[k].what.text);
			fail_msg("%s, try %u, bit %zu of byte %zu of %zu: %s", codec_name(kind), i,
				 bit % 8, bit / 8, m.len, wrong);
		}
		for (unsigned int d = 1; d <= DEVICES; d++)
			for (uint64_t c = 0; c < clusters_of(d); c++)
				all = all && f.given[d][c];
		lossless += all;
	}
	alarm(0);
	print_message("# %s: %u bits of %zu bytes flipped, all found and told; %u of them cost no cluster\n",
		      codec_name(kind), tries, m.len, lossless);
	free(m.p);
}

static void flips_none(void **state)
{
	(void)state;
	flips(CODEC_NONE);
}

static void flips_zstd(void **state)
{
	(void)state;
	flips(CODEC_ZSTD);
}

static void flips_gzip(void **state)
{
	(void)state;
	flips(CODEC_GZIP);
}

static void flips_lzo(void **state)
{
	(void)state;
	flips(CODEC_LZO);
}

/* ---- cuts -------------------------------------------------------------- */

/* Each byte of the archive of the smallest disk. */
static void cuts(void **state)
{
	/* Under valgrind, or where few flips are wanted, some of them. */
	unsigned int step = number("VMAB_TEST_FLIPS", FLIPS) < FLIPS ? 97 : 1;

	(void)state;
	for (int kind = CODEC_NONE; kind <= CODEC_LZO; kind++) {
		struct memory m = make_archive(kind, 1);
		size_t len = m.len;
		struct found f;

		verify(&m, 0, DEVICES - 1, &f);
		assert_int_equal(f.nr + f.absent - f.opened - f.read, 0);
		for (size_t cut = 0; cut < len; cut += kind ? 1 : step) {
			alarm(HANG_SECONDS);
			m.len = cut;
			if (!strict_refuses(&m, 0))
				fail_msg("%s cut to %zu of %zu bytes", codec_name(kind), cut, len);
			verify(&m, 0, DEVICES - 1, &f);
			if (!f.opened && !f.nr && !f.absent)
				fail_msg("%s cut to %zu of %zu bytes: nothing is told",
					 codec_name(kind), cut, len);
		}
		print_message("# %s: cut at %s of %zu bytes, always refused\n", codec_name(kind),
			      kind || step == 1 ? "each" : "some", len);
		free(m.p);
	}
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flips_none),
		cmocka_unit_test(flips_zstd),
		cmocka_unit_test(flips_gzip),
		cmocka_unit_test(flips_lzo),
		cmocka_unit_test(cuts),
	};
	unsigned int seed = number("VMAB_TEST_SEED", time(NULL));
	struct memory plain;
	int failed;

	print_message("# seed %u\n", seed);
	random_state = seed * 2654435761u | 1;
	fill_disks();
	plain = make_archive(CODEC_NONE, DEVICES);
	find_places(&plain);
	free(plain.p);
	failed = cmocka_run_group_tests_name("flips", tests, NULL, NULL);
	for (unsigned int d = 1; d <= DEVICES; d++)
		free(disks[d]);
	return failed;
}
