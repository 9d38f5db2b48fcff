// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl create: an archive of disks that nobody uses, as "vma create" makes it.
 *
 * Threads read ahead, an extent's worth of clusters at a time; this one puts them into
 * extents in order, and hands these to the encoder, which has threads of its own. What
 * lies in a hole does not wait for its turn: archives have clusters in any order.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "codec/codec.h"
#include "codec/pipeline.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "output/output.h"
#include "vmactl/config-file.h"
#include "vmactl/index-out.h"
#include "vmactl/source.h"
#include "vmactl/stop.h"
#include "vmactl/vmactl.h"

/* Reads under way: enough for fast disks, few enough for those with heads. */
#define READERS		4

/* Ranges in memory, SOURCE_RANGE each: one is written while others wait for their turn. */
#define RANGES		(READERS + 2)

struct disk {
	char *name;
	const char *path;
	bool raw;
	struct source *source;
	unsigned int dev_id;
	uint64_t data;		/* bytes that are not in holes */
};

struct config {
	const char *path;
	uint8_t *data;
	size_t size;
};

struct range {
	struct disk *disk;
	uint64_t offset;
	size_t len;
	uint8_t *buf;
	bool there[VMA_EXTENT_FILL];
};

struct create {
	const char *archive;
	bool verbose;
	struct codec_options codec;
	bool codec_given;
	bool with_index;
	struct disk *disks;
	unsigned int nr_disks;
	struct config *configs;
	unsigned int nr_configs;

	struct vma_header *names;	/* those alone, since libvma knows which are good */
	struct vma_header *header;
	struct vma_writer *writer;
	struct output *output;
	struct encoder *encoder;
	struct index_out *index;	/* NULL: none */
	struct pipeline *pipeline;
	struct range ranges[RANGES];	/* by job */
	int stop_fd;

	uint64_t total, done;
	unsigned int shown;		/* percent */
};

/* ---- progress, as vma prints it --------------------------------------- */

/*
 * On standard error, whatever the archive is: a command has our standard output, and what it
 * writes there may be the archive.
 */
static void show_progress(struct create *c)
{
	unsigned int percent = (double)c->done * 100 / (double)c->total;
	struct vma_writer_stats stats;

	if (!c->verbose || percent == c->shown)
		return;
	c->shown = percent;
	vma_writer_stats(c->writer, &stats);
	fprintf(stderr, "progress %u%% %" PRIu64 "/%" PRIu64 " %" PRIu64 "\n", percent, c->done,
		c->total, c->done > stats.data_bytes ? c->done - stats.data_bytes : 0);
}

/* ---- the header ------------------------------------------------------- */

static int make_header(struct create *c, struct vma_error *err)
{
	uint8_t uuid[16];
	int ret = 0;

	if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return vma_fail(err, -EIO, "the kernel gives no random numbers");
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	c->header = vma_header_new(uuid, time(NULL));
	if (!c->header)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < c->nr_disks && ret >= 0; i++) {
		ret = vma_header_add_device(c->header, c->disks[i].name,
					    source_size(c->disks[i].source), err);
		c->disks[i].dev_id = ret;
		c->total += source_size(c->disks[i].source);
	}
	for (unsigned int i = 0; i < c->nr_configs && ret >= 0; i++)
		ret = vma_header_add_config(c->header, config_file_name(c->configs[i].path),
					    c->configs[i].data, c->configs[i].size, err);
	return ret < 0 ? ret : vma_writer_new(&c->writer, c->header, err);
}

static int write_header(struct create *c, struct vma_error *err)
{
	struct iovec iov;
	uint8_t *buf;
	int ret = vma_header_encode(c->header, &buf, &iov.iov_len, err);

	if (ret)
		return ret;
	iov.iov_base = buf;
	ret = encoder_write(c->encoder, &iov, 1, err);
	free(buf);
	if (!ret && c->with_index)
		c->index = index_out_open(c->archive, c->header, iov.iov_len);
	return ret;
}

/* ---- reading ahead ---------------------------------------------------- */

/* In a thread of the pipeline's. */
static int read_range(void *ctx, unsigned int worker, unsigned int job, struct vma_error *err)
{
	struct create *c = ctx;
	struct range *r = &c->ranges[job];

	(void)worker;
	return source_read(r->disk->source, r->offset, r->len, r->buf, r->there, err);
}

/* Where the next range is. */
struct cursor {
	unsigned int disk;
	uint64_t offset;
};

/* One extent of one range, also when that is not full. */
static int put_range(struct create *c, const struct range *r, struct vma_error *err)
{
	struct vma_writer_stats before, after;
	unsigned int n = (r->len + VMA_CLUSTER_SIZE - 1) / VMA_CLUSTER_SIZE;
	struct iovec *iov;
	int iovcnt, ret;

	vma_writer_stats(c->writer, &before);
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *data = NULL;

		if (r->there[i])
			data = r->buf + (size_t)i * VMA_CLUSTER_SIZE;
		ret = vma_writer_add(c->writer, r->disk->dev_id, r->offset / VMA_CLUSTER_SIZE + i,
				     data, err);
		if (ret < 0)
			return ret;
	}
	vma_writer_take(c->writer, &iov, &iovcnt);
	index_out_extent(c->index, iov, iovcnt);
	ret = encoder_write(c->encoder, iov, iovcnt, err);
	if (ret)
		return ret;
	vma_writer_stats(c->writer, &after);
	r->disk->data += after.data_bytes - before.data_bytes;
	c->done += r->len;
	show_progress(c);
	return 0;
}

static bool is_hole(const struct range *r)
{
	/* A machine's memory has to be in order. */
	return strcmp(r->disk->name, VMA_VMSTATE) != 0 &&
	       source_is_hole(r->disk->source, r->offset, r->len);
}

static struct range next_range(const struct create *c, struct cursor *at)
{
	struct disk *d = &c->disks[at->disk];
	uint64_t left = source_size(d->source) - at->offset;
	struct range r = { .disk = d, .offset = at->offset };

	r.len = left < SOURCE_RANGE ? left : SOURCE_RANGE;
	at->offset += r.len;
	if (at->offset == source_size(d->source)) {
		at->disk++;
		at->offset = 0;
	}
	return r;
}

static int read_ahead(struct create *c, struct cursor *at, struct vma_error *err)
{
	while (at->disk < c->nr_disks && pipeline_next(c->pipeline) >= 0) {
		struct range *job = &c->ranges[pipeline_next(c->pipeline)];
		struct range r = next_range(c, at);
		int ret;

		if (is_hole(&r)) {
			ret = put_range(c, &r, err);
			if (ret)
				return ret;
			if (stop_requested(c->stop_fd))
				return 0;
			continue;
		}
		r.buf = job->buf;
		*job = r;
		pipeline_submit(c->pipeline);
	}
	return 0;
}

static int copy(struct create *c, struct vma_error *err)
{
	struct cursor at = { 0 };
	int ret;

	for (unsigned int i = 0; i < RANGES; i++) {
		c->ranges[i].buf = aligned_alloc(SOURCE_ALIGN, SOURCE_RANGE);
		if (!c->ranges[i].buf)
			return vma_fail(err, -ENOMEM, "out of memory");
	}
	ret = pipeline_new(&c->pipeline, READERS, RANGES, read_range, c, err);
	while (!ret) {
		int job;

		if (stop_requested(c->stop_fd))
			return vma_fail(err, -EINTR, "interrupted by a signal");
		ret = read_ahead(c, &at, err);
		if (ret)
			break;
		job = pipeline_oldest(c->pipeline, true);
		if (job < 0 && at.disk == c->nr_disks)
			break;
		if (job < 0)
			continue;
		ret = pipeline_result(c->pipeline, err);
		if (!ret)
			ret = put_range(c, &c->ranges[job], err);
		pipeline_retire(c->pipeline);
	}
	return ret ? ret : vma_writer_finish(c->writer, err);
}

/* ---- the order of things ---------------------------------------------- */

static int open_all(struct create *c, struct vma_error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < c->nr_configs && !ret; i++)
		ret = config_file_read("-c", c->configs[i].path, &c->configs[i].data,
				       &c->configs[i].size, err);
	for (unsigned int i = 0; i < c->nr_disks && !ret; i++)
		ret = source_open(&c->disks[i].source, c->disks[i].path, c->disks[i].raw, err);
	return ret ? ret : make_header(c, err);
}

static int open_output(struct create *c, struct vma_error *err)
{
	bool command = output_is_command(c->archive);
	int ret = 0;

	/*
	 * Other streams leave nothing to be tidied up: signals may just end the program. A
	 * command would take that for the archive's end.
	 */
	if (command || !output_is_stream(c->archive)) {
		c->stop_fd = stop_open(command, err);
		if (c->stop_fd < 0)
			return c->stop_fd;
	}
	ret = output_open_stream(&c->output, c->archive, err);
	if (!ret) {
		output_stop_at(c->output, c->stop_fd);
		ret = output_keep_disk_busy(c->output, err);
	}
	for (unsigned int i = 0; i < c->nr_disks && !ret; i++)
		ret = source_check_apart(c->disks[i].source, output_fd(c->output), err);
	return ret;
}

static int commit(struct create *c, struct vma_error *err)
{
	uint64_t bytes = output_bytes(c->output);
	int ret = output_commit(c->output, err);

	c->output = NULL;
	if (!ret) {
		index_out_commit(c->index, bytes);
		c->index = NULL;
	}
	return ret;
}

static int write_archive(struct create *c, struct vma_error *err)
{
	int ret = open_all(c, err);

	if (!ret)
		ret = open_output(c, err);
	c->codec.threads = codec_threads(&c->codec);
	if (!ret)
		ret = encoder_new(&c->encoder, &c->codec, output_write, c->output, err);
	if (!ret)
		ret = write_header(c, err);
	if (!ret)
		ret = copy(c, err);
	if (!ret)
		ret = encoder_finish(c->encoder, err);
	if (!ret && stop_requested(c->stop_fd))
		ret = vma_fail(err, -EINTR, "interrupted by a signal");
	return ret ? ret : commit(c, err);
}

static void print_summary(const struct create *c)
{
	char name[VMA_ESCAPED_SIZE];

	for (unsigned int i = 0; i < c->nr_disks; i++) {
		uint64_t size = source_size(c->disks[i].source);
		uint64_t data = c->disks[i].data < size ? c->disks[i].data : size;

		fprintf(stderr, "image %s: size=%" PRIu64 " zeros=%" PRIu64 " saved=%" PRIu64 "\n",
			vma_escape(name, sizeof(name), c->disks[i].name), size, size - data, data);
	}
}

static void clean_up(struct create *c)
{
	pipeline_free(c->pipeline);
	encoder_free(c->encoder);
	index_out_abort(c->index);
	output_abort(c->output);
	vma_writer_free(c->writer);
	vma_header_free(c->header);
	vma_header_free(c->names);
	for (unsigned int i = 0; i < RANGES; i++)
		free(c->ranges[i].buf);
	for (unsigned int i = 0; i < c->nr_disks; i++) {
		source_close(c->disks[i].source);
		free(c->disks[i].name);
	}
	for (unsigned int i = 0; i < c->nr_configs; i++)
		free(c->configs[i].data);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
}

static int create(struct create *c)
{
	struct vma_error err;
	int ret = write_archive(c, &err);

	if (!ret && c->verbose)
		print_summary(c);
	if (ret)
		complain("%s: %s", strcmp(c->archive, "-") ? c->archive : "standard output",
			 err.text);
	if (!ret)
		return EXIT_OK;
	return ret == -EINTR ? EXIT_INTERRUPTED : EXIT_FAILED;
}

/* ---- the command line ------------------------------------------------- */

/* "[format=raw:][NAME=]PATH"; without a name it is disk0, disk1, ... as with vma. */
static int add_disk(struct create *c, const char *arg)
{
	struct disk *d = &c->disks[c->nr_disks];
	const char *equals;
	struct vma_error err;

	if (strncmp(arg, "format=", 7) == 0) {
		if (strncmp(arg + 7, "raw:", 4) != 0)
			return usage_error(&cmd_create,
					   "%s: only format=raw is read, convert other images to it",
					   arg);
		d->raw = true;
		arg += 11;
	}
	if (c->nr_disks == VMA_MAX_DEVICES)
		return usage_error(&cmd_create, "at most %u disks fit in an archive",
				   VMA_MAX_DEVICES);
	equals = strchr(arg, '=');
	if (!equals) {
		if (asprintf(&d->name, "disk%u", c->nr_disks) < 0)
			d->name = NULL;
		d->path = arg;
	} else {
		d->name = strndup(arg, equals - arg);
		d->path = equals + 1;
	}
	if (!d->name) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	c->nr_disks++;
	if (!*d->path || !*d->name)
		return usage_error(&cmd_create, "%s: write NAME=PATH", arg);
	if (vma_header_add_device(c->names, d->name, VMA_BLOCK_SIZE, &err) < 0)
		return usage_error(&cmd_create, "%s", err.text);
	return EXIT_OK;
}

static int add_config(struct create *c, const char *path)
{
	struct vma_error err;

	c->configs[c->nr_configs++].path = path;
	if (vma_header_add_config(c->names, config_file_name(path), "", 0, &err))
		return usage_error(&cmd_create, "%s", err.text);
	return EXIT_OK;
}

static int parse(struct create *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "compress", required_argument, NULL, 'z' },
		{ "index", no_argument, NULL, 'i' },
		{ 0 },
	};
	struct vma_error err;
	char **drives = calloc(argc, sizeof(*drives));
	int nr_drives = 0, o, code = EXIT_OK;

	if (!drives) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	opterr = 0;
	while (code == EXIT_OK && (o = getopt_long(argc, argv, ":vc:d:", options, NULL)) != -1) {
		switch (o) {
		case 'v':
			c->verbose = true;
			break;
		case 'c':
			code = add_config(c, optarg);
			break;
		case 'd':
			drives[nr_drives++] = optarg;
			break;
		case 'z':
			c->codec_given = true;
			if (codec_parse(optarg, &c->codec, &err))
				code = usage_error(&cmd_create, "%s", err.text);
			break;
		case 'i':
			c->with_index = true;
			break;
		default:
			code = option_error(&cmd_create, o, argv);
		}
	}
	if (code == EXIT_OK && argc == optind)
		code = usage_error(&cmd_create, "give an archive");
	if (code == EXIT_OK)
		c->archive = argv[optind++];
	for (int i = 0; i < nr_drives && code == EXIT_OK; i++)
		code = add_disk(c, drives[i]);
	while (optind < argc && code == EXIT_OK)
		code = add_disk(c, argv[optind++]);
	free(drives);
	if (code == EXIT_OK && !c->nr_disks && !c->nr_configs)
		code = usage_error(&cmd_create, "give what to put in: NAME=PATH or -c FILE");
	/* A command's words are no name: one that ends in .gz may well compress itself. */
	if (code == EXIT_OK && !c->codec_given && !output_is_command(c->archive))
		c->codec.kind = codec_of_path(c->archive);
	if (code == EXIT_OK && c->with_index && index_out_allowed(c->archive, c->codec.kind, &err))
		code = usage_error(&cmd_create, "%s", err.text);
	return code;
}

static int run(int argc, char **argv)
{
	static const uint8_t uuid[16];
	struct create c = { .stop_fd = -1 };
	int code;

	c.disks = calloc(argc, sizeof(*c.disks));
	c.configs = calloc(argc, sizeof(*c.configs));
	c.names = vma_header_new(uuid, 0);
	if (c.disks && c.configs && c.names) {
		code = parse(&c, argc, argv);
		if (code == EXIT_OK)
			code = create(&c);
	} else {
		complain("out of memory");
		code = EXIT_FAILED;
	}
	clean_up(&c);
	free(c.disks);
	free(c.configs);
	return code;
}

const struct command cmd_create = {
	.name = "create",
	.usage = "ARCHIVE [-v] [--compress CODEC] [--index] [-c FILE]... [-d [format=raw:]NAME=PATH]... [NAME=PATH]...",
	.help = "Makes an archive of image files or block devices that are not in use.",
	.run = run,
};
