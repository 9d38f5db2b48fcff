// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line of vmactl backup, and the config files that it names. These are read later:
 * with --suspended nothing may be looked at that could lie on one of the disks, before there is
 * a watchdog.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"
#include "vmactl/backup.h"
#include "vmactl/config-file.h"
#include "vmactl/vmactl.h"

/* More than any device can do, and far from where sums would overflow. */
#define MAX_RATE	(1ull << 50)

static int parse_disk(struct backup *b, const char *arg, struct vma_error *err)
{
	const char *path = strchr(arg, '=');
	struct backup_disk *d;

	if (!path || path == arg || !path[1])
		return vma_fail(err, -EINVAL, "--disk %s: NAME=DEVICE is wanted", arg);
	if (b->nr_disks == VMABACKUP_MAX_DISKS)
		return vma_fail(err, -EINVAL, "at most %u disks fit in an archive",
				VMABACKUP_MAX_DISKS);
	d = &b->disks[b->nr_disks];
	d->name = strndup(arg, (size_t)(path - arg));
	if (!d->name)
		return vma_fail(err, -ENOMEM, "out of memory");
	d->path = path + 1;
	d->fd = -1;
	b->nr_disks++;
	if (!strcmp(d->name, "vmstate"))
		return vma_fail(err, -EINVAL, "the disk name vmstate is reserved by the format");
	return 0;
}

static int parse_config(struct backup *b, const char *path, struct vma_error *err)
{
	struct backup_config *c = &b->configs[b->nr_configs];

	if (b->nr_configs == VMA_MAX_CONFIGS)
		return vma_fail(err, -EINVAL, "at most %u config files fit in an archive",
				VMA_MAX_CONFIGS);
	b->nr_configs++;
	c->path = path;
	c->name = strdup(config_file_name(path));
	return c->name ? 0 : vma_fail(err, -ENOMEM, "out of memory");
}

static int parse_rate(const char *text, uint64_t *rate, struct vma_error *err)
{
	unsigned int shift = 0;
	char *end;

	errno = 0;
	*rate = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
	if (!*rate || errno)
		goto bad;
	switch (*end) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		end++;
	if (*end || *rate > MAX_RATE >> shift)
		goto bad;
	*rate <<= shift;
	return 0;
bad:
	return vma_fail(err, -EINVAL,
			"--bwlimit %s: bytes per second are wanted, like 500K, 80M or 1G", text);
}

static int parse_slots(const char *text, unsigned int *slots, struct vma_error *err)
{
	unsigned long n = 0;
	char *end = NULL;

	errno = 0;
	if (isdigit((unsigned char)text[0]))
		n = strtoul(text, &end, 10);
	if (errno || !end || *end || n < VMABACKUP_MIN_SLOTS || n > VMABACKUP_MAX_SLOTS)
		return vma_fail(err, -EINVAL, "--slots %s: a number from %u to %u is wanted",
				text, VMABACKUP_MIN_SLOTS, VMABACKUP_MAX_SLOTS);
	*slots = (unsigned int)n;
	return 0;
}

static const char *const policy_words[] = {
	[VMABACKUP_POLICY_AUTO] = "auto",
	[VMABACKUP_POLICY_RING] = "ring",
	[VMABACKUP_POLICY_FLEECE] = "fleece",
};

static const char *const cbw_error_words[] = {
	[VMABACKUP_ON_CBW_ERROR_TABLE] = "table",
	[VMABACKUP_BREAK_SNAPSHOT] = "break-snapshot",
	[VMABACKUP_BREAK_GUEST_WRITE] = "break-guest-write",
};

const char *backup_policy_word(enum vmabackup_policy policy)
{
	return policy_words[policy];
}

const char *backup_cbw_error_word(enum vmabackup_on_cbw_error what)
{
	return cbw_error_words[what];
}

static int parse_policy(const char *text, enum vmabackup_policy *policy, struct vma_error *err)
{
	unsigned int i;

	for (i = VMABACKUP_POLICY_AUTO; i <= VMABACKUP_POLICY_FLEECE; i++) {
		if (!strcmp(text, policy_words[i])) {
			*policy = (enum vmabackup_policy)i;
			return 0;
		}
	}
	return vma_fail(err, -EINVAL, "--policy %s: auto, ring or fleece is wanted", text);
}

static int parse_on_cbw_error(const char *text, enum vmabackup_on_cbw_error *what,
			      struct vma_error *err)
{
	unsigned int i;

	for (i = VMABACKUP_BREAK_SNAPSHOT; i <= VMABACKUP_BREAK_GUEST_WRITE; i++) {
		if (!strcmp(text, cbw_error_words[i])) {
			*what = (enum vmabackup_on_cbw_error)i;
			return 0;
		}
	}
	return vma_fail(err, -EINVAL,
			"--on-cbw-error %s: break-snapshot or break-guest-write is wanted", text);
}

/* Seconds with at most three decimals. Not strtod(): it would ask the locale what a point is. */
static int parse_timeout(const char *text, uint32_t *ms, struct vma_error *err)
{
	const char *p = text;
	unsigned int unit;
	uint64_t n = 0;

	if (!isdigit((unsigned char)*p))
		goto bad;
	for (; isdigit((unsigned char)*p) && n <= VMABACKUP_MAX_TIMEOUT_MS; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	n *= 1000;
	if (*p == '.') {
		p++;
		if (!isdigit((unsigned char)*p))
			goto bad;
		for (unit = 100; unit && isdigit((unsigned char)*p); p++, unit /= 10)
			n += unit * (uint64_t)(*p - '0');
	}
	if (*p || n < VMABACKUP_MIN_TIMEOUT_MS || n > VMABACKUP_MAX_TIMEOUT_MS)
		goto bad;
	*ms = (uint32_t)n;
	return 0;
bad:
	return vma_fail(err, -EINVAL,
			"--cbw-timeout %s: seconds from 0.001 to 3600 are wanted, at most three decimals",
			text);
}

static int parse_option(struct backup *b, int c, struct vma_error *err)
{
	switch (c) {
	case 'd':
		return parse_disk(b, optarg, err);
	case 'c':
		return parse_config(b, optarg, err);
	case 'o':
		b->opt.output = optarg;
		return 0;
	case 'z':
		b->opt.compress = optarg;
		return codec_parse(optarg, &b->opt.codec, err);
	case 'b':
		return parse_rate(optarg, &b->opt.bwlimit, err);
	case 's':
		return parse_slots(optarg, &b->opt.slots, err);
	case 'P':
		return parse_policy(optarg, &b->opt.policy, err);
	case 'e':
		return parse_on_cbw_error(optarg, &b->opt.on_cbw_error, err);
	case 't':
		return parse_timeout(optarg, &b->opt.cbw_timeout_ms, err);
	case 'D':
		b->opt.drop_discards = true;
		return 0;
	case 'p':
		b->opt.progress = true;
		return 0;
	case 'i':
		b->opt.index = true;
		return 0;
	case 'S':
		b->opt.suspended = true;
		return 0;
	case 'j':
		b->opt.summary = optarg;
		return 0;
	default:
		return vma_fail(err, -EINVAL, "unknown option");
	}
}

/* libvma knows what names are good: a header that is thrown away asks it. */
static int check_names(const struct backup *b, struct vma_error *err)
{
	static const uint8_t uuid[16], nothing[1];
	struct vma_header *h = vma_header_new(uuid, 0);
	unsigned int i;
	int r = h ? 0 : vma_fail(err, -ENOMEM, "out of memory");

	for (i = 0; r >= 0 && i < b->nr_disks; i++)
		r = vma_header_add_device(h, b->disks[i].name, VMA_BLOCK_SIZE, err);
	for (i = 0; r >= 0 && i < b->nr_configs; i++)
		r = vma_header_add_config(h, b->configs[i].name, nothing, 0, err);
	vma_header_free(h);
	return r < 0 ? r : 0;
}

int backup_read_configs(struct backup *b, struct vma_error *err)
{
	struct backup_config *c;
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < b->nr_configs; i++) {
		c = &b->configs[i];
		r = config_file_read("--config", c->path, &c->data, &c->size, err);
	}
	return r;
}

int backup_parse(struct backup *b, int argc, char **argv)
{
	static const struct option options[] = {
		{ "disk", required_argument, NULL, 'd' },
		{ "config", required_argument, NULL, 'c' },
		{ "output", required_argument, NULL, 'o' },
		{ "compress", required_argument, NULL, 'z' },
		{ "bwlimit", required_argument, NULL, 'b' },
		{ "slots", required_argument, NULL, 's' },
		{ "policy", required_argument, NULL, 'P' },
		{ "on-cbw-error", required_argument, NULL, 'e' },
		{ "cbw-timeout", required_argument, NULL, 't' },
		{ "drop-discards", no_argument, NULL, 'D' },
		{ "progress", no_argument, NULL, 'p' },
		{ "suspended", no_argument, NULL, 'S' },
		{ "index", no_argument, NULL, 'i' },
		{ "json-summary", required_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	struct vma_error err;
	int c;

	while ((c = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
		if (c == '?' || c == ':')
			return option_error(&cmd_backup, c, argv);
		if (parse_option(b, c, &err))
			return usage_error(&cmd_backup, "%s", err.text);
	}
	if (optind < argc)
		return usage_error(&cmd_backup, "unexpected argument %s", argv[optind]);
	if (!b->nr_disks)
		return usage_error(&cmd_backup, "no --disk was given");
	if (!b->opt.output || !b->opt.output[0])
		return usage_error(&cmd_backup, "no --output was given");
	if (!b->opt.compress) {
		b->opt.codec.kind = codec_of_path(b->opt.output);
		b->opt.compress = codec_name(b->opt.codec.kind);
	}
	if (b->opt.summary && !b->opt.summary[0])
		return usage_error(&cmd_backup, "--json-summary: the path of a file is wanted");
	if (b->opt.summary && !strcmp(b->opt.summary, "-"))
		return usage_error(&cmd_backup, "--json-summary -: a summary goes into a file");
	if (b->opt.summary && !strcmp(b->opt.summary, b->opt.output))
		return usage_error(&cmd_backup, "the summary would replace the archive");
	if (check_names(b, &err))
		return usage_error(&cmd_backup, "%s", err.text);
	return EXIT_OK;
}
