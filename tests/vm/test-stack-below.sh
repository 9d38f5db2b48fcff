#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What lies on the target: another device-mapper device, a volume group, a loop
# device, QEMU's block layer with each of its ways to do I/O.  All of them write
# during a session, see their own writes, and the session delivers the instant.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 25

size=65536
load_target
noise /dev/vda $size
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/vdb"

begin() {
	dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
	rm -f "$WORK/go" "$WORK/armed"
	"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 8 --go-file "$WORK/go" --ready-file "$WORK/armed" \
		--out "$WORK/image" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
	drain=$!
	at_exit "kill $drain 2>/dev/null || true"
	wait_for_file 30 "$drain" "$WORK/armed"
}
finish() {
	touch "$WORK/go"
	check_wait "$1: the session gets everything" "$drain"
	check "$1: as it was" cmp "$WORK/image" "$WORK/before"
	check "$1: guest writes pushed chunks" test "$(status_number d0 guest)" -gt 0
}

# --- device-mapper ---
dmsetup create upper --table "0 $((size - 4096)) linear /dev/mapper/d0 4096"
begin
check "linear: a load" "$TOOLS/guestload" --seed 3 --writes 150 --max-size 65536 --verify --deadline 60 /dev/mapper/upper
check "linear: the upper device is suspended and resumed" \
	bash -c 'timeout 20 dmsetup suspend upper && dmsetup resume upper'
check "linear: the lower one" bash -c 'timeout 20 dmsetup suspend d0 && dmsetup resume d0'
finish linear
dmsetup remove upper

# --- LVM ---
# The same volume group would be seen on the disk below.
only="devices { filter = [ \"a|^/dev/mapper/d0\$|\", \"r|.*|\" ] }"
lvm pvcreate --config "$only" -q -ff -y /dev/mapper/d0 >/dev/null
lvm vgcreate --config "$only" -q inner /dev/mapper/d0 >/dev/null
at_exit "[ ! -e /dev/inner ] || lvm vgremove --config '$only' -q -ff -y inner"
begin
check "LVM: a volume is made" lvm lvcreate --config "$only" -q -y -W n -Z n -n lv -L 12M inner
check "LVM: a load on it" "$TOOLS/guestload" --seed 4 --writes 150 --max-size 65536 --verify --deadline 60 /dev/inner/lv
check "LVM: it is made larger" lvm lvextend --config "$only" -q -L 16M inner/lv
finish LVM
check "LVM: the group goes" lvm vgremove --config "$only" -q -ff -y inner

# --- loop ---
modprobe loop
loop=$(losetup --find --show --direct-io=on /dev/mapper/d0)
begin
check "loop: a load" "$TOOLS/guestload" --seed 5 --writes 150 --max-size 65536 --verify --deadline 60 "$loop"
losetup --detach "$loop"
finish loop

# --- QEMU ---
begin
check "QEMU: io_uring" qemu-io -n -f raw -t none -i io_uring -c "write -P 17 1M 300k" \
	-c "read -P 17 1M 300k" -c "write -z 3M 200k" -c "read -P 0 3M 200k" -c flush /dev/mapper/d0
check "QEMU: native" qemu-io -n -f raw -t none -i native -c "aio_write -P 18 5M 1M" \
	-c "aio_write -P 19 7M 64k" -c "aio_flush" -c "read -P 18 5M 1M" -c "read -P 19 7M 64k" /dev/mapper/d0
check "QEMU: threads" qemu-io -f raw -t directsync -d unmap -c "write -P 20 9M 100k" \
	-c "discard 11M 1M" -c "write -zu 13M 1M" -c "read -P 20 9M 100k" -c "read -P 0 13M 1M" /dev/mapper/d0
check "QEMU: zeroes and discards beyond a few chunks" qemu-io -f raw -t none -d unmap \
	-c "write -z 16M 8M" -c "read -P 0 16M 8M" /dev/mapper/d0
finish QEMU
check "the disk is idle" state_is d0 idle
