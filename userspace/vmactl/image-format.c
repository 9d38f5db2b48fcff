// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/image-format.h"

#include <string.h>

const char *image_format(const char *head)
{
	static const struct {
		const char *magic, *name;
	} formats[] = {
		{ "QFI\xfb", "qcow2" }, { "KDMV", "vmdk" }, { "COWD", "vmdk" },
		{ "# Disk D", "vmdk" }, { "vhdxfile", "vhdx" }, { "conectix", "vhd" },
		{ "QED", "qed" }, { "<<< ", "vdi" },
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (memcmp(head, formats[i].magic, strlen(formats[i].magic)) == 0)
			return formats[i].name;
	return NULL;
}
