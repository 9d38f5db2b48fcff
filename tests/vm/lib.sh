# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What tests inside the virtual machine are written with.  Sourced first thing:
#
#	. "$BED_TOP/tests/vm/lib.sh"
#	plan 2
#	load_target
#	check "the size is kept" test "$(blockdev --getsz /dev/vda)" = 524288
#
# Sourcing it turns on "set -Eeuo pipefail": a command that fails outside of
# check ends the test, with its line.  tests/README.md lists the rest.

[ -n "${BED_TOP:-}" ] && [ -n "${BED_KO:-}" ] || {
	echo "Bail out! runs only in the virtual machine: tests/vm/run -- $0"
	exit 2
}
set -Eeuo pipefail

VMACTL=$BED_BUILD/userspace/vmactl/vmactl
WORK=$(mktemp -d "${TMPDIR:-/tmp}/vmab-test.XXXXXX")
export VMACTL WORK

_tap_seen=0 _tap_bad=0 _tap_skipped=0 _tap_calm=0
_tap_cleanups=()

_tap_on_err() {
	[ "$_tap_calm" -eq 0 ] || return 0
	printf '# line %s: exit status %s from: %s\n' "$2" "$1" "$3"
}
trap '_tap_on_err $? "$LINENO" "$BASH_COMMAND"' ERR

# What a test that gave up has left running would keep its devices in use. The group is the
# test's own when the runner started it.
_tap_end_children() {
	local group

	read -r _ _ _ _ group _ </proc/$$/stat
	[ "$group" -eq $$ ] || return 0
	trap '' TERM
	kill -TERM -- -$$
}

_tap_on_exit() {
	local status=$1 i

	trap - ERR EXIT
	set +e
	! declare -F faults_off >/dev/null || faults_off
	[ "$status" -eq 0 ] || _tap_end_children
	for ((i = ${#_tap_cleanups[@]} - 1; i >= 0; i--)); do
		if ! eval "${_tap_cleanups[i]}" >"$WORK/cleanup" 2>&1; then
			printf '# cleanup failed: %s\n' "${_tap_cleanups[i]}"
			sed 's/^/# /' "$WORK/cleanup"
			[ "$status" -ne 0 ] || status=1
		fi
	done
	rm -rf "$WORK"
	if [ "$status" -eq 0 ] && [ "$_tap_bad" -gt 0 ]; then
		status=1
	fi
	exit "$status"
}
trap '_tap_on_exit $?' EXIT
trap 'exit 143' TERM INT HUP

# --- results ---

plan() {
	printf 'TAP version 13\n1..%d\n' "$1"
}

diag() {
	printf '%s\n' "$@" | sed 's/^/# /'
}

ok() {
	_tap_seen=$((_tap_seen + 1))
	printf 'ok %d - %s\n' "$_tap_seen" "$1"
}

# not_ok NAME [DIAGNOSTIC...]
not_ok() {
	_tap_seen=$((_tap_seen + 1))
	_tap_bad=$((_tap_bad + 1))
	printf 'not ok %d - %s\n' "$_tap_seen" "$1"
	shift
	[ $# -eq 0 ] || diag "$@"
}

# skip NAME WHY: one result that could not be had here.
skip() {
	_tap_seen=$((_tap_seen + 1))
	_tap_skipped=$((_tap_skipped + 1))
	printf 'ok %d - %s # SKIP %s\n' "$_tap_seen" "$1" "$2"
}

# skip_all WHY: instead of plan.
skip_all() {
	printf 'TAP version 13\n1..0 # SKIP %s\n' "$1"
	exit 4
}

# try COMMAND...: runs it in a subshell under set -e, even if it is a function;
# its status is in $status, its output (both) in the file $WORK/out.
try() {
	_tap_calm=1
	set +e
	(
		_tap_calm=0
		# The cleanups are the test's, not this subshell's.
		trap - EXIT
		set -e
		"$@"
	) >"$WORK/out" 2>&1
	status=$?
	set -e
	_tap_calm=0
}

# check NAME COMMAND...
check() {
	local name=$1

	shift
	try "$@"
	if [ "$status" -eq 0 ]; then
		ok "$name"
	else
		not_ok "$name" "exit status $status from: $*"
		sed 's/^/# | /' "$WORK/out"
	fi
}

# check_status WANTED NAME COMMAND...: for commands that must fail in one way.
check_status() {
	local wanted=$1 name=$2

	shift 2
	try "$@"
	if [ "$status" -eq "$wanted" ]; then
		ok "$name"
	else
		not_ok "$name" "exit status $status, not $wanted, from: $*"
		sed 's/^/# | /' "$WORK/out"
	fi
}

# check_eq NAME GOT WANTED
check_eq() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got    $2" "wanted $3"
	fi
}

# check_wait NAME PID [WANTED]: a background process ends with that status (0).
# By itself, because check's subshell can't wait for this shell's children.
check_wait() {
	local status=0

	wait "$2" || status=$?
	check_eq "$1" "$status" "${3:-0}"
}

# check_out NAME REGEX: what the last check or try printed matches.
check_out() {
	if grep -qE -- "$2" "$WORK/out"; then
		ok "$1"
	else
		not_ok "$1" "no match for: $2"
		sed 's/^/# | /' "$WORK/out"
	fi
}

# sleeps PID: it waits for I/O or a lock in the kernel.
sleeps() {
	[[ $(<"/proc/$1/stat") == *") D "* ]]
}

# freeze_held FILE DEVICE...: "gate" is a device that is suspended; until it is resumed, a process
# in the midst of a write to the file, which it takes from the gate and the devices, holds off
# every freeze of the file's system. Its pid is in $freeze_holder.
freeze_held() {
	local file=$1

	shift
	[ -e /dev/mapper/gate ] || dm_create gate "0 8 zero"
	at_exit "dmsetup resume gate"
	blockdev --flushbufs /dev/mapper/gate
	dmsetup suspend --noflush --nolockfs gate
	"$BED_BUILD/tests/write-mapped" "$file" /dev/mapper/gate "$@" >"$WORK/freeze-holder" &
	freeze_holder=$!
	wait_for 20 grep -q ready "$WORK/freeze-holder"
	wait_for 20 sleeps $freeze_holder
}

# at_exit COMMAND: evaluated when the test ends, the last one first.
at_exit() {
	_tap_cleanups+=("$*")
}

# Seconds for one program that has nothing to wait for, for "timeout": more is a hang.
AT_ONCE=$((30 * ${BED_SLOWNESS:-1}))
export AT_ONCE

# wait_for SECONDS COMMAND...: until it succeeds; fails when time is up. A kernel
# that watches itself is given more.
wait_for() {
	local end=$((SECONDS + $1 * ${BED_SLOWNESS:-1}))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# wait_for_file SECONDS PID FILE: until it is there; fails also when the process that
# is to make it has ended without.
wait_for_file() {
	local end=$((SECONDS + $1 * ${BED_SLOWNESS:-1})) alive

	while :; do
		alive=no
		! kill -0 "$2" 2>/dev/null || alive=yes
		[ ! -e "$3" ] || return 0
		[ $alive = yes ] && [ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# --- what the kernel records ---

# use_tracing [EVENT]: sets TRACING to a tracefs, mounted for as long as this test runs; the
# event, by its place in there, what was recorded and its memory are gone at the end, however
# that comes.  For machines with cpus=1: an event that is turned on patches the kernel's code, and
# QEMU 7.2, with a thread for each CPU, may go on for ever in what it translated meanwhile.
TRACING_KB=1408
use_tracing() {
	TRACING=/sys/kernel/tracing
	if ! [ -e $TRACING/events ]; then
		mount -t tracefs tracefs $TRACING
		at_exit "umount $TRACING"
	fi
	# For each processor, what a kernel takes by itself; another test may have left less.
	echo $TRACING_KB >$TRACING/buffer_size_kb
	at_exit "echo >$TRACING/trace; echo 1 >$TRACING/buffer_size_kb"
	[ $# -eq 0 ] || at_exit "echo 0 >$TRACING/events/$1/enable"
}

# --- the target ---

# load_target [PARAMETER=VALUE...]
load_target() {
	[ -e "$BED_KO" ] || {
		echo "Bail out! $BED_KO is not built; run make modules"
		exit 1
	}
	modprobe dm-mod
	insmod "$BED_KO" "$@"
	at_exit rmmod dm_vmabackup
	if [ -n "${VMAB_TEST_FAULTS:-}" ]; then
		. "$BED_TOP/tests/vm/lib-faults.sh"
		faults_on "$VMAB_TEST_FAULTS"
	fi
}

# --- disks ---

# Sectors of a block device that stands in /dev or /dev/mapper.
_disk_stat() {
	local name=${1##*/} dir field=$2 stat

	if [ "${1%/*}" = /dev/mapper ]; then
		for dir in /sys/block/dm-*/dm; do
			[ "$(<"$dir/name")" = "$name" ] && break
		done
		dir=${dir%/dm}
	else
		dir=/sys/class/block/$name
	fi
	read -ra stat <"$dir/stat"
	echo "${stat[field]}"
}

disk_sectors_read() {
	_disk_stat "$1" 2
}

disk_sectors_written() {
	_disk_stat "$1" 6
}

# disk_fill DEVICE [SEED]: every byte of it becomes pseudo-random, repeatably.
disk_fill() {
	local size key

	size=$(blockdev --getsize64 "$1")
	printf -v key '%032x' "${2:-1}"
	head -c "$size" /dev/zero |
		openssl enc -aes-128-ctr -nosalt -K "$key" -iv "$key" |
		dd of="$1" bs=1M oflag=direct iflag=fullblock status=none
}

# --- device-mapper ---

# dm_create NAME TABLE
dm_create() {
	dmsetup create "$1" --table "$2"
	at_exit "dmsetup remove --retry $1"
}

# vmabackup_on NAME DEVICE [FEATURES...]: /dev/mapper/NAME on all of DEVICE.
vmabackup_on() {
	local name=$1 device=$2

	shift 2
	dm_create "$name" "0 $(blockdev --getsz "$device") vmabackup $device${*:+ $*}"
}

dm_table() {
	dmsetup table "$1"
}

dm_status() {
	dmsetup status "$1"
}

# --- LVM ---

# make_vg NAME DISK...
make_vg() {
	local name=$1

	shift
	lvm pvcreate -q -ff -y "$@" >/dev/null
	lvm vgcreate -q "$name" "$@" >/dev/null
	at_exit "lvm vgremove -q -ff -y $name"
}

# make_lv VG NAME SIZE [LVCREATE-ARGUMENT...]: /dev/VG/NAME
make_lv() {
	local vg=$1 name=$2 size=$3

	shift 3
	lvm lvcreate -q -y -W n -Z n -n "$name" -L "$size" "$@" "$vg" >/dev/null
}
