#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a view is for: a file system mounted from it while the disk's own is
# written, and what dd, cmp, qemu-img and fsck make of it.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 17

size=131072
load_target
modprobe ext4
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
at_exit "drop_view d0-view"
mkfs.ext4 -q /dev/mapper/d0
mkdir "$WORK/live" "$WORK/then"
mount /dev/mapper/d0 "$WORK/live"
at_exit "! mountpoint -q $WORK/live || umount $WORK/live"
at_exit "! mountpoint -q $WORK/then || umount $WORK/then"

sum_of() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 md5sum)
}
for n in 1 2 3 4; do
	head -c 4M /dev/urandom >"$WORK/live/file$n"
done
echo "as it was" >"$WORK/live/note"
sum_of "$WORK/live" >"$WORK/sums"

# Less for the freeze to write; and more time for it, the machine may be slow.
sync -f "$WORK/live"
check "frozen, with the file system mounted" "$FREEZE" --watchdog 100 d0
check "the file system runs" touch "$WORK/live/alive"
check_status 1 "it needs no recovery" grep needs_recovery <(dumpe2fs -h /dev/mapper/d0-view 2>/dev/null)
check "fsck finds nothing" e2fsck -fn /dev/mapper/d0-view
echo "as it is" >"$WORK/live/note"
rm "$WORK/live/file1"
head -c 6M /dev/urandom >"$WORK/live/file2"
head -c 12M /dev/urandom >"$WORK/live/file5"
sync -f "$WORK/live"
blockdev --flushbufs /dev/mapper/d0-view
check "the view can be mounted" mount -o ro,noload /dev/mapper/d0-view "$WORK/then"
check_eq "and has the old files" "$(sum_of "$WORK/then")" "$(<"$WORK/sums")"
check_eq "the live one has the new" "$(cat "$WORK/live/note") $(find "$WORK/live" -type f | wc -l)" "as it is 6"
check_status 32 "the mount can't be made writable" mount -o remount,rw "$WORK/then"
check_status 1 "it can't be released while it is mounted" "$FREEZE" --release d0
check_out "which says what to do" 'd0-view: is in use; unmount'
check "the session is armed" state_is d0 armed
check_eq "and the files are still the old ones" "$(sum_of "$WORK/then")" "$(<"$WORK/sums")"
umount "$WORK/then"

dd if=/dev/mapper/d0-view of="$WORK/dd" bs=1M status=none
check "qemu-img reads it" qemu-img convert -U -f raw -O raw /dev/mapper/d0-view "$WORK/qemu"
check "as dd does" cmp "$WORK/dd" "$WORK/qemu"
check "and cmp" cmp "$WORK/dd" /dev/mapper/d0-view
check "released" "$FREEZE" --release d0
check "the disk is idle" state_is d0 idle
