// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/index-page.h"

#include <errno.h>

#include "archive/file.h"
#include "archive/index-wire.h"
#include "libvma/text.h"

int index_damaged(const char *what, struct vma_error *err)
{
	return vma_fail(err, -EUCLEAN, "damaged index: %s", what);
}

bool index_place_ok(uint64_t place, uint64_t end)
{
	uint64_t at = place >> 16, size = place & 0xffff;

	return size && at >= IDX_BEGIN_SIZE && at <= end && size <= end - at;
}

int index_page_read(int fd, ZSTD_DCtx *zstd, uint64_t place, void *to, size_t len,
		    struct vma_error *err)
{
	uint8_t packed[UINT16_MAX];
	size_t size = place & 0xffff, got;
	int ret;

	ret = file_read(fd, place >> 16, packed, size, err);
	if (ret == -EBADMSG)
		return index_damaged("it is shorter than it was", err);
	if (ret)
		return ret;
	got = ZSTD_decompressDCtx(zstd, to, len, packed, size);
	if (ZSTD_isError(got) || got != len)
		return index_damaged("a page cannot be decompressed", err);
	return 0;
}
