# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks armed by message, and their views.  Sourced after lib.sh.

TOOLS=$BED_BUILD/tests
FREEZE=$BED_TOP/Documentation/examples/vmabackup-freeze
export TOOLS FREEZE

# memory_disk NAME SIZE: a loop device in memory that can discard; its path is in $NAME.
memory_disk() {
	local file=/dev/shm/vmab-$1 loop

	modprobe loop
	rm -f "$file"
	truncate -s "$2" "$file"
	loop=$(losetup --find --show --direct-io=off "$file")
	at_exit "losetup --detach $loop && rm $file"
	printf -v "$1" %s "$loop"
}

# arm DISK...: by message, all at one instant.
arm() {
	local disk

	for disk in "$@"; do
		dmsetup suspend "$disk"
	done
	for disk in "$@"; do
		dmsetup message "$disk" 0 arm
	done
	for disk in "$@"; do
		dmsetup resume "$disk"
	done
}

# disarm DISK...: and waits until they are idle.
disarm() {
	local disk

	for disk in "$@"; do
		dmsetup message "$disk" 0 disarm
	done
	for disk in "$@"; do
		wait_for 30 state_is "$disk" idle
	done
}

# view_of DISK NAME: gone at exit if it is still there.
view_of() {
	dmsetup create "$2" --readonly \
		--table "0 $(blockdev --getsz "/dev/mapper/$1") vmabackup-view /dev/mapper/$1"
	at_exit "drop_view $2"
}

drop_view() {
	[ ! -e "/dev/mapper/$1" ] || dmsetup remove --retry "$1"
}

# status_number DISK KEY: the number after that word.
status_number() {
	[[ $(dm_status "$1") =~ \ $2\ ([0-9]+) ]] || return
	echo "${BASH_REMATCH[1]}"
}

state_is() {
	[[ $(dm_status "$1") == *" vmabackup $2 "* ]]
}

reason_is() {
	[[ $(dm_status "$1") == *" reason $2 "* ]]
}

# noise DEVICE|FILE SECTORS: random data from the start of it.
noise() {
	head -c $(($2 * 512)) /dev/urandom | dd of="$1" bs=1M iflag=fullblock status=none \
		"$([ -b "$1" ] && echo oflag=direct || echo conv=notrunc)"
}
