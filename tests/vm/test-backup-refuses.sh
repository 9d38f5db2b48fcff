#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What vmactl backup refuses before it touches a disk, and how it says so.
# needs: disks=3x64M
. "$BED_TOP/tests/vm/lib.sh"
plan 54

# refused STATUS NAME REGEX ARGUMENT...: and nothing was written or armed.
refused() {
	local wanted=$1 name=$2 regex=$3

	shift 3
	check_status "$wanted" "$name" "$VMACTL" backup "$@"
	check_out "$name: says why" "$regex"
	[ ! -e "$WORK/x.vma" ] && [ -z "$(find "$WORK" -name 'x.vma*')" ] || not_ok "left a file behind"
}

load_target max_slot_memory_mb=256
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb
d0=(--disk a=/dev/mapper/d0)
out=(--output "$WORK/x.vma")
head -c 65536 /dev/zero >"$WORK/large.conf"
echo x >"$WORK/good.conf"
mkdir "$WORK/other"
cp "$WORK/good.conf" "$WORK/other/"

refused 2 "no disk" 'no --disk' "${out[@]}"
refused 2 "no output" 'no --output' "${d0[@]}"
refused 2 "a name with a blank" 'white space' --disk 'a b=/dev/mapper/d0' "${out[@]}"
refused 2 "the reserved name" 'reserved' --disk 'vmstate=/dev/mapper/d0' "${out[@]}"
refused 2 "a name twice" '"?a"?' "${d0[@]}" --disk a=/dev/mapper/d1 "${out[@]}"
refused 2 "a device twice" 'same device' "${d0[@]}" --disk b=/dev/dm-0 "${out[@]}"
refused 2 "a config that is too large" 'large\.conf: larger' "${d0[@]}" "${out[@]}" --config "$WORK/large.conf"
refused 2 "a config that is not there" 'No such file' "${d0[@]}" "${out[@]}" --config "$WORK/none.conf"
refused 2 "a config name twice" 'good\.conf' "${d0[@]}" "${out[@]}" --config "$WORK/good.conf" \
	--config "$WORK/other/good.conf"
refused 2 "a summary in place of the archive" 'replace the archive' "${d0[@]}" "${out[@]}" \
	--json-summary "$WORK/x.vma"
many=()
for ((i = 0; i < 255; i++)); do
	many+=(--disk "n$i=/dev/mapper/d0")
done
refused 2 "255 disks" 'at most 254' "${many[@]}" "${out[@]}"
refused 1 "a device that is not there" 'No such file' --disk a=/dev/none "${out[@]}"
refused 1 "a file" 'not a block device' --disk "a=$WORK/good.conf" "${out[@]}"
refused 1 "a device without the target" 'dmsetup create' --disk a=/dev/vdc "${out[@]}"
refused 1 "the origin" 'origin of /dev/mapper/d0' --disk a=/dev/vda "${out[@]}"
refused 1 "the policy fleece without a fleece device" 'disk a: .*d0 has no fleece device.* 2 fleece' \
	"${d0[@]}" "${out[@]}" --policy fleece
refused 1 "too much slot memory" 'slots' "${d0[@]}" "${out[@]}" --slots 16384

echo precious >"$WORK/there.vma"
check_status 1 "an archive that is there" "$VMACTL" backup "${d0[@]}" --output "$WORK/there.vma"
check_out "an archive that is there: says why" 'there\.vma exists'
check_eq "and it is left alone" "$(cat "$WORK/there.vma")" precious

check_status 1 "a summary with the archive's name, spelled differently" "$VMACTL" backup "${d0[@]}" \
	--output "$WORK/same.vma" --json-summary "$WORK/./same.vma"
check_out "says that the archive is good" 'the archive itself is good'
check "which is true" "$VMACTL" verify "$WORK/same.vma"

dmsetup suspend d1
refused 1 "a disk that is suspended by somebody" 'suspended by somebody' "${d0[@]}" --disk b=/dev/mapper/d1 "${out[@]}"
check_eq "stays so" "$(dmsetup info -c --noheadings -o suspended d1)" Suspended
dmsetup resume d1
dmsetup load d1 --table "0 $(blockdev --getsz /dev/vdb) linear /dev/vdb 0"
refused 1 "a disk with a loaded table" 'table loaded' "${d0[@]}" --disk b=/dev/mapper/d1 "${out[@]}"
dmsetup clear d1

# Places for the archive: a file system on the disk; in a loop device on it; above a
# linear device on it; and, for contrast, one on a disk that is not backed up.
modprobe ext4
modprobe loop
make_fs() {
	mkfs.ext4 -q "$1"
	mkdir "$WORK/$2"
	mount "$1" "$WORK/$2"
	at_exit "umount $WORK/$2"
}
make_fs /dev/mapper/d0 direct
refused 1 "a file system on the disk" 'lies on disk a' "${d0[@]}" --output "$WORK/direct/x.vma"
truncate -s 16M "$WORK/direct/image"
loop=$(losetup -f --show "$WORK/direct/image")
at_exit "losetup -d $loop"
make_fs "$loop" looped
refused 1 "a loop device on it" 'lies on disk a' "${d0[@]}" --output "$WORK/looped/x.vma"
dm_create above "0 65536 linear /dev/mapper/d1 2048"
make_fs /dev/mapper/above linear
refused 1 "a device above it" 'lies on disk b' "${d0[@]}" --disk b=/dev/mapper/d1 --output "$WORK/linear/x.vma"
to_device() {
	"$VMACTL" backup --disk b=/dev/mapper/d1 --output - >/dev/mapper/above
}
check_status 1 "standard output into a device above it" to_device
check_out "standard output into a device above it: says why" 'lies on disk b'
check "but not a file system beside it" "$VMACTL" backup --disk b=/dev/mapper/d1 \
	--output "$WORK/direct/x.vma"
