#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that fails before it has touched a disk says so in its summary, and replaces
# nothing that is not a summary.
. "$(dirname "$0")/lib.sh"
plan 18

echo '{"outcome":"ok"}' >summary
vmactl 1 "a device that is not there" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary summary
check "yesterday's summary is replaced" grep -q '"outcome":"failed"' summary
check "nothing else was made" test "$(ls)" = summary

echo precious >archive.vma
vmactl 2 "an archive that is there" backup --disk a=/dev/no-such-disk --output archive.vma \
	--json-summary archive.vma
check "the summary did not overwrite it" test "$(cat archive.vma)" = precious

# What the summary's path names and is no file stays what it is.
mkfifo fifo
ln -s summary link
ln -s /dev/null null
mkdir directory
for path in fifo link null directory; do
	was=$(stat -c '%F %i' $path)
	vmactl 1 "a summary in the place of a $path" backup --disk a=/dev/no-such-disk \
		--output x.vma --json-summary $path
	stderr_has "$path: it is named" "$path"
	check "$path: is what it was" test "$(stat -c '%F %i' $path)" = "$was"
done
vmactl 2 "a summary on standard output" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary -
