#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that fails before it has touched a disk says so in its summary, and replaces
# no archive.
. "$(dirname "$0")/lib.sh"
plan 5

echo '{"outcome":"ok"}' >summary
vmactl 1 "a device that is not there" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary summary
check "yesterday's summary is replaced" grep -q '"outcome":"failed"' summary
check "nothing else was made" test "$(ls)" = summary

echo precious >archive.vma
vmactl 2 "an archive that is there" backup --disk a=/dev/no-such-disk --output archive.vma \
	--json-summary archive.vma
check "the summary did not overwrite it" test "$(cat archive.vma)" = precious
