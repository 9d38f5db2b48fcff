#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "list" prints the lines that scripts for "vma list" parse, and JSON for others.
. "$(dirname "$0")/lib.sh"
plan 32

make_good_archive good.vma
vmactl 0 "a good archive" list good.vma
stdout_is "its lines" <<-'END'
	CFG: size: 20 name: qemu-server.conf
	CFG: size: 10 name: qemu-server.fw
	DEV: dev_id=1 size: 200704 devname: drive-scsi0
	DEV: dev_id=7 size: 131584 devname: drive-virtio1
	CTIME: Tue Nov 14 22:13:20 2023
END
cp "$OUT" plain
vmactl 0 "standard input" list - <good.vma
stdout_is "the same lines" <plain
zstd -q good.vma -o good.vma.zst
vmactl 0 "compressed with zstd" list good.vma.zst
stdout_is "the same lines again" <plain
vmactl 0 "compressed, through a pipe" list - < <(cat good.vma.zst)
# Only the header is needed: what follows may be cut off.
head -c 13000 good.vma >head.vma
vmactl 0 "the header alone" list head.vma
stdout_is "has the same lines" <plain

vmactl 0 "JSON" list good.vma.zst --json
check "parses, and says the same" python3 - "$OUT" <<-'END'
	import json, sys
	j = json.load(open(sys.argv[1]))
	assert j == {
	    "uuid": "404142434445464748494a4b4c4d4e4f",
	    "ctime": 1700000000,
	    "compression": "zstd",
	    "configs": [{"name": "qemu-server.conf", "size": 20},
	                {"name": "qemu-server.fw", "size": 10}],
	    "devices": [{"dev_id": 1, "name": "drive-scsi0", "size": 200704},
	                {"dev_id": 7, "name": "drive-virtio1", "size": 131584}],
	}, j
END

make_archive state.vma <<-'END'
	device 2 65536 vmstate
	device 254 281474976710656 drive-scsi1
END
vmactl 0 "a VM's memory and the largest disk" list state.vma
stdout_is "have their lines" <<-'END'
	VMSTATE: dev_id=2 memory: 65536
	DEV: dev_id=254 size: 281474976710656 devname: drive-scsi1
	CTIME: Thu Jan  1 00:00:00 1970
END

make_archive evil.vma <<-'END'
	ctime 9223372036854775807
	config a\x1b[2J\x0ab\xff\x5c x
	device 1 512 d\x0aDEV:\x20e
END
vmactl 0 "hostile names and a date in no calendar" list evil.vma
stdout_is "are printed harmlessly" <<-'END'
	CFG: size: 1 name: a\x1b[2J\x0ab\xff\x5c
	DEV: dev_id=1 size: 512 devname: d\x0aDEV: e
	CTIME: @9223372036854775807
END
vmactl 0 "likewise as JSON" list --json evil.vma
check "which still parses" python3 -c 'import json, sys; json.load(open(sys.argv[1], encoding="ascii"))' "$OUT"

make_archive past.vma <<<"ctime -1"
vmactl 0 "nothing in it, made before the epoch" list past.vma
stdout_is "has a date only" <<<"CTIME: @-1"

vmactl 1 "an archive that is not there" list none.vma
stderr_has "is named" "none.vma: "
vmactl 1 "a directory" list .
gzip -c good.vma >good.vma.gz
vmactl 0 "compressed with gzip" list --json good.vma.gz
stdout_has "which it names" '"compression":"gzip"'
head -c 20000 /dev/zero >zero.vma
vmactl 3 "no archive at all" list zero.vma

# Nobody goes on behind damage, so nothing is looked for there.
"$VMACTL" create own.vma.zst x=zero.vma
"$VMACTL" create own.vma.gz x=zero.vma
"$VMACTL" create own.vma.lzo x=zero.vma
"$VMACTL" create own.vma x=zero.vma
lzop -q --filter=1 -o filter.lzo own.vma
endless() {
	local status=0

	{
		head -c "$2" "$1"
		cat /dev/zero
	} 2>/dev/null | timeout 20 "$VMACTL" list - >"$OUT" 2>"$ERR" || status=$?
	test "$status" -eq "$3"
}
for archive in own.vma.zst own.vma.gz own.vma.lzo good.vma.zst good.vma.gz; do
	check "damage at the beginning of what does not end: $archive" endless $archive 60 3
done
check "and what is refused: filter.lzo" endless filter.lzo 1000 1

status=0
"$VMACTL" list good.vma >/dev/full 2>"$ERR" || status=$?
check "a full standard output is a failure" test "$status" -eq 1
