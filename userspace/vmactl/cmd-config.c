// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl config: one configuration file of an archive, to standard output. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "vmactl/archive-in.h"
#include "vmactl/vmactl.h"

#define DEFAULT_NAME	"qemu-server.conf"

static int print_config(const struct vma_header *h, const char *name, const char *archive)
{
	for (unsigned int i = 0; i < h->nr_configs; i++) {
		if (strcmp(h->configs[i].name, name) != 0)
			continue;
		fwrite(h->configs[i].data, 1, h->configs[i].size, stdout);
		return EXIT_OK;
	}
	complain("%s: has no configuration file called \"%s\"; the command list shows what it has",
		 archive, name);
	return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
	const char *name = DEFAULT_NAME, *path;
	struct archive_in *in;
	struct vma_error err;
	int ret, c;

	opterr = 0;
	while ((c = getopt(argc, argv, ":c:")) != -1) {
		if (c != 'c')
			return option_error(&cmd_config, c, argv);
		name = optarg;
	}
	if (argc - optind != 1)
		return usage_error(&cmd_config, "give exactly one archive");
	path = argv[optind];
	ret = archive_in_open(&in, path, -1, &err);
	if (ret) {
		complain("%s: %s", archive_in_name(path), err.text);
		return archive_in_exit_code(ret);
	}
	ret = print_config(archive_in_header(in), name, archive_in_name(path));
	archive_in_close(in);
	return ret;
}

const struct command cmd_config = {
	.name = "config",
	.usage = "ARCHIVE [-c NAME]",
	.help = "Prints a configuration file of an archive, " DEFAULT_NAME " unless named.",
	.run = run,
};
