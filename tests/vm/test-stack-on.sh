#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The target on linear, striped, thin, crypt and raid1 devices, with a fleece
# device: what a session delivers, or a view shows, is of one instant, judged by
# the log of a load that goes on meanwhile.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 25

load_target
memory_disk fleece 16M
size=32768

linear="0 $size linear /dev/vda 2048"
striped="0 $size striped 2 128 /dev/vda 0 /dev/vdb 0"
thin="0 $size thin /dev/mapper/pool 0"
printf -v key '%064x' 7
crypt="0 $size crypt aes-xts-plain64 $key 0 /dev/vda 0"
raid1="0 $size raid raid1 4 0 nosync region_size 1024 2 - /dev/vda - /dev/vdb"

before_thin() {
	dd if=/dev/zero of=/dev/vdb bs=4k count=1 oflag=direct status=none
	dm_create pool "0 65536 thin-pool /dev/vdb /dev/vda 128 0"
	dmsetup message pool 0 "create_thin 0"
}

some_pushed() {
	[ "$(status_number d0 guest)" -gt 20 ]
}

modprobe -a dm-thin-pool dm-crypt dm-raid
# For one that gives up in the midst of it.
remove_all() {
	local name status=0

	[ -z "${load:-}" ] || kill -KILL "$load" 2>/dev/null
	for name in v0 d0 below pool; do
		[ ! -e /dev/mapper/$name ] || dmsetup remove --retry $name || status=1
	done
	return $status
}
at_exit remove_all
for kind in linear striped thin crypt raid1; do
	[ $kind != thin ] || before_thin
	dmsetup create below --table "${!kind}"
	dmsetup create d0 --table "0 $size vmabackup /dev/mapper/below 2 fleece ${fleece:?}"
	rm -f "$WORK/stop" "$WORK/ready"
	"$TOOLS/guestload" --seed 6 --fill-percent 70 --threads 4 --stop-file "$WORK/stop" \
		--ready-file "$WORK/ready" --deadline 100 --verify --log "$WORK/log" --discard-percent 2 \
		/dev/mapper/d0 >"$WORK/load" 2>&1 &
	load=$!
	wait_for_file 100 "$load" "$WORK/ready"
	case $kind in
	striped | crypt)
		arm d0
		dmsetup create v0 --readonly --table "0 $size vmabackup-view /dev/mapper/d0"
		wait_for 30 some_pushed
		check "$kind: a view" cp /dev/mapper/v0 "$WORK/image"
		pushed=$(status_number d0 guest)
		dmsetup remove --retry v0
		disarm d0
		;;
	*)
		check "$kind: a session" "$TOOLS/ioctl-abuse" drain --slots 16 --reserve 4 --delay-us 3000 \
			--out "$WORK/image" /dev/mapper/d0
		pushed=$(status_number d0 guest)
		;;
	esac
	check "$kind: guest writes pushed $pushed chunks" test "$pushed" -gt 0
	touch "$WORK/stop"
	check_wait "$kind: the guest lost nothing" "$load"
	load=
	check "$kind: it shows one instant" "$TOOLS/guestload" check --log "$WORK/log" "$WORK/image"
	dmsetup remove --retry d0
	check "$kind: nothing stays behind" dmsetup remove --retry below
done
