#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmactl backup makes archives that hold exactly what the disks held: odd sizes, few
# slots, large chunks, pipes, compression, a limit; judged by the independent reader.
# needs: disks=1x64M+1x3M+1x1M,sector=4096
. "$BED_TOP/tests/vm/lib.sh"
plan 35

read_archive() {
	python3 "$BED_TOP/tests/oracle/vmaread.py" "$@"
}

json() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$WORK/$1" "$2"
}

load_target
disk_fill /dev/vda 1
dd if=/dev/zero of=/dev/vda bs=1M seek=10 count=10 oflag=direct status=none
disk_fill /dev/vdb 2
disk_fill /dev/vdc 3
vmabackup_on d0 /dev/vda
# Neither a multiple of 64 KiB nor of 4 KiB; and one smaller than a cluster.
dm_create d1 "0 5003 vmabackup /dev/vdb 2 chunk_size 2048"
dm_create d2 "0 8 vmabackup /dev/vdc"
head -c $((5003 * 512)) /dev/vdb >"$WORK/d1.raw"
head -c 4096 /dev/vdc >"$WORK/d2.raw"
echo 'name: test' >"$WORK/vm.conf"
three=(--disk drive-scsi0=/dev/mapper/d0 --disk b=/dev/mapper/d1 --disk c=/dev/mapper/d2)
same=(drive-scsi0=/dev/vda "b=$WORK/d1.raw" "c=$WORK/d2.raw")

# no_page_fault NAME FILE
no_page_fault() {
	case $KVER in
	# It tells by faults which pages are used: of some that are there all the same.
	*-vmabackup-um-*) skip "$1" "User-mode Linux has them for memory that is there" ;;
	*) check_eq "$1" "$(json "$2" suspended_page_faults)" 0 ;;
	esac
}

start=$SECONDS
check "three disks are backed up" "$VMACTL" backup "${three[@]}" --config "$WORK/vm.conf" \
	--output "$WORK/a.vma" --json-summary "$WORK/a.json"
alone=$((SECONDS - start))
check_out "the summary tells the size" '^backed up 66\.4 MiB of 3 disks in '
check "the archive is by the rules" read_archive check "$WORK/a.vma"
check "and holds what the disks hold" read_archive compare "$WORK/a.vma" "${same[@]}"
check_eq "the JSON says ok" "$(json a.json outcome)" ok
check_eq "of all bytes" "$(json a.json done_bytes)" $((65536 * 1024 + 5003 * 512 + 4096))
check_eq "and how large the archive is" "$(json a.json archive_bytes)" "$(stat -c %s "$WORK/a.vma")"
no_page_fault "no page fault while disks were suspended" a.json
check_eq "zeroes take no room" "$(json a.json zero_clusters)" 160
check "every chunk was read once" test "$(json a.json chunks_fetched)" = $((1024 + 3 + 1))
check "the config is in it" diff "$WORK/vm.conf" <("$VMACTL" config "$WORK/a.vma" -c vm.conf)
check "vmactl itself finds it complete" "$VMACTL" verify "$WORK/a.vma"
rm "$WORK/a.vma"

check "two slots are enough" "$VMACTL" backup "${three[@]}" --slots 2 --output "$WORK/two.vma"
check "to get everything" read_archive compare -q "$WORK/two.vma" "${same[@]}"
check "and no extent is nearly empty without need" \
	test "$(stat -c %s "$WORK/two.vma")" -lt $((59 << 20))
rm "$WORK/two.vma"

check "five slots are enough" "$VMACTL" backup "${three[@]}" --slots 5 --compress zstd:1 \
	--index --output "$WORK/z.vma.zst"
check "also compressed" read_archive compare -q <(zstd -qdc "$WORK/z.vma.zst") "${same[@]}"
check "vmactl reads it compressed" "$VMACTL" verify "$WORK/z.vma.zst"
check_eq "and the index made with it fits" "$("$VMACTL" info --json "$WORK/z.vma.zst" | jq -r .index)" \
	beside
rm "$WORK/z.vma.zst" "$WORK/z.vma.zst.idx"

to_pipe() {
	"$VMACTL" backup "${three[@]}" --output - --progress | cat >"$WORK/p.vma"
	return "${PIPESTATUS[0]}"
}
check "it goes into a pipe" to_pipe
check_out "progress does not go there" '^100% of 66\.4 MiB'
check "and comes out whole" read_archive compare -q "$WORK/p.vma" "${same[@]}"
rm "$WORK/p.vma"

start=$SECONDS
check "a limit is kept to" "$VMACTL" backup "${three[@]}" --bwlimit 10M --output "$WORK/l.vma"
took=$((SECONDS - start))
check "66 MiB at 10 MiB/s take over 5 s and not many more: $took, without a limit $alone" \
	test $((took > 5 && took < 14 + 2 * alone)) = 1
check "with all that is wanted" read_archive compare -q "$WORK/l.vma" "${same[@]}"

# One disk on another, the lower one given first: the upper one must be suspended first.
dm_create d3 "0 8 vmabackup /dev/mapper/d2"
check "a disk and one on top of it" "$VMACTL" backup --disk low=/dev/mapper/d2 \
	--disk up=/dev/mapper/d3 --output "$WORK/s.vma" --json-summary "$WORK/./s.json"
check "both are right" read_archive compare -q "$WORK/s.vma" low="$WORK/d2.raw" up="$WORK/d2.raw"
check "suspended for less than 5 s" test "$(json s.json suspended_us)" -lt 5000000

status_json() {
	"$VMACTL" status --json d0 /dev/mapper/d1 | python3 -c 'import json, sys
a, b = json.load(sys.stdin)
assert a["name"] == "d0" and a["state"] == "idle" and a["size_bytes"] == 1 << 26, a
assert a["chunks"] == a["chunks_fetched"] == 1024 and a["broken_reason"] == "none", a
assert b["chunk_bytes"] == 1 << 20 and b["chunks"] == 3 and not b["suspended"], b'
}
check "status tells it as JSON" status_json
check_status 1 "status of another device" "$VMACTL" status /dev/vda

check_eq "the disks are idle again" "$(dm_status d0 | cut -d' ' -f4)" idle
check_eq "no temporary file is left" "$(find "$WORK" -name '*.tmp-*')" ""

# As many disks as there may be: what the suspended time needs of memory was got before.
MOST=254
tables='' many=() upper=() lower=()
for ((i = 0; i < MOST; i++)); do
	many+=(--disk "m$i=/dev/mapper/m$i")
	upper+=("m$i") lower+=("z$i")
	tables="z$i,,,,0 128 zero;$tables;m$i,,,,0 128 vmabackup /dev/mapper/z$i"
done
modprobe dm-zero
dmsetup create --concise "${tables/;;/;}"
at_exit "dmsetup remove --retry ${upper[*]} ${lower[*]}"
check "$MOST disks" "$VMACTL" backup "${many[@]}" --output "$WORK/m.vma" \
	--json-summary "$WORK/m.json"
no_page_fault "no page fault while they were suspended" m.json
check "vmactl itself finds it complete" "$VMACTL" verify "$WORK/m.vma"
