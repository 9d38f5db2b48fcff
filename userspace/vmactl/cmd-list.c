// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl list: what the header says, in the lines that scripts for "vma list" expect. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/header-json.h"
#include "vmactl/vmactl.h"

void print_listing(const struct vma_header *h)
{
	char name[VMA_ESCAPED_SIZE], date[26];
	time_t ctime = h->ctime;

	for (unsigned int i = 0; i < h->nr_configs; i++)
		printf("CFG: size: %zu name: %s\n", h->configs[i].size,
		       vma_escape(name, sizeof(name), h->configs[i].name));
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &h->devices[i];

		if (!dev->name)
			continue;
		if (strcmp(dev->name, "vmstate") == 0)
			printf("VMSTATE: dev_id=%u memory: %" PRIu64 "\n", i, dev->size);
		else
			printf("DEV: dev_id=%u size: %" PRIu64 " devname: %s\n", i, dev->size,
			       vma_escape(name, sizeof(name), dev->name));
	}
	/* A year of more than four digits has no such text; the header may hold any number. */
	if (h->ctime >= 0 && h->ctime < INT64_C(253402214400) && ctime_r(&ctime, date))
		printf("CTIME: %s", date);
	else
		printf("CTIME: @%" PRId64 "\n", h->ctime);
}

static bool json_header(struct json_object *root, const struct vma_header *h, enum codec_kind codec)
{
	struct json_object *configs = json_object_new_array();
	struct json_object *devices = json_object_new_array();
	bool ok;

	ok = header_json_put_uuid(root, h) &&
	     json_put(root, "ctime", json_object_new_int64(h->ctime)) &&
	     json_put_text(root, "compression", codec_name(codec)) &&
	     json_put(root, "configs", configs) && json_put(root, "devices", devices);
	for (unsigned int i = 0; i < h->nr_configs && ok; i++)
		ok = header_json_add_config(configs, &h->configs[i]);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && ok; i++) {
		struct json_object *o;

		if (!h->devices[i].name)
			continue;
		o = json_object_new_object();
		ok = o && json_object_array_add(devices, o) == 0 &&
		     json_put_u64(o, "dev_id", i) &&
		     json_put_name(o, "name", h->devices[i].name) &&
		     json_put_u64(o, "size", h->devices[i].size);
	}
	return ok;
}

static int print_json(const struct vma_header *h, enum codec_kind codec)
{
	struct json_object *root = json_object_new_object();
	int code = EXIT_OK;

	if (root && json_header(root, h, codec)) {
		json_print(root);
	} else {
		complain("out of memory");
		code = EXIT_FAILED;
	}
	json_object_put(root);
	return code;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	struct archive_in *in;
	struct vma_error err;
	bool json = false;
	int ret, c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'j')
			return option_error(&cmd_list, c, argv);
		json = true;
	}
	if (argc - optind != 1)
		return usage_error(&cmd_list, "give exactly one archive");
	ret = archive_in_open(&in, argv[optind], -1, &err);
	if (ret) {
		complain("%s: %s", archive_in_name(argv[optind]), err.text);
		return archive_in_exit_code(ret);
	}
	if (json)
		ret = print_json(archive_in_header(in), archive_in_codec(in));
	else
		print_listing(archive_in_header(in));
	archive_in_close(in);
	return ret;
}

const struct command cmd_list = {
	.name = "list",
	.usage = "ARCHIVE [--json]",
	.help = "Lists the configuration files and devices in an archive; \"-\" is standard input.",
	.run = run,
};
