#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each chunk once, as it was, whatever the policy: one reader and several, guests that overwrite
# everything, threads that give back slots that they do not own.  Prints the points of ioctl-abuse.
# needs: disks=1x24M+1x40M+1x16M mem=1G timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"

load_target
# 24 MiB, and 40 MiB in chunks of 256 KiB, the last of which is not whole.
in_memory f0 24M
in_memory f1 48M --sector-size 4096
piece o1 /dev/vdb 0 79203
# shellcheck disable=SC2154 # in_memory sets them
disk d0 /dev/vda 2 fleece "$f0"
# shellcheck disable=SC2154
disk d1 /dev/mapper/o1 4 fleece "$f1" chunk_size 512
"$ABUSE" test --only delivery --policy ring --policy fleece --policy auto \
	/dev/mapper/d0 /dev/mapper/d1
for name in f0 f1; do
	takes_nothing $name || echo "Bail out! $name still takes $(memory_taken $name) bytes"
done
