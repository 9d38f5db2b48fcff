#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A wrong table line is refused when it is loaded, with the reason in the log;
# a good one is printed back so that it can be loaded again.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
plan 26

load_target
size=$(blockdev --getsz /dev/vda)

# refused NAME REASON TABLE
refused() {
	dmesg -C
	try dmsetup create bad --table "$3"
	if [ "$status" -eq 0 ]; then
		dmsetup remove bad
		not_ok "$1" "was accepted: $3"
	elif dmesg | grep -q "vmabackup: $2\|ioctl: $2\|table: $2"; then
		ok "$1"
	else
		not_ok "$1" "log does not say: $2" "$(dmesg)"
	fi
}

refused "no origin" "No origin device" "0 $size vmabackup"
refused "an origin that is not there" "Origin device can't be opened" \
	"0 $size vmabackup /dev/nonesuch"
refused "a chunk size that is no power of two" "chunk_size must be" \
	"0 $size vmabackup /dev/vda 2 chunk_size 200"
refused "a chunk size that is too small" "chunk_size must be" \
	"0 $size vmabackup /dev/vda 2 chunk_size 64"
refused "a chunk size that is too large" "chunk_size must be" \
	"0 $size vmabackup /dev/vda 2 chunk_size 4096"
refused "a chunk size that is no number" "A feature has no number" \
	"0 $size vmabackup /dev/vda 2 chunk_size large"
refused "a negative timeout" "A feature has no number" \
	"0 $size vmabackup /dev/vda 2 cbw_timeout -1"
refused "a timeout of 0" "cbw_timeout must be" \
	"0 $size vmabackup /dev/vda 2 cbw_timeout 0"
refused "a timeout beyond an hour" "cbw_timeout must be" \
	"0 $size vmabackup /dev/vda 2 cbw_timeout 3600001"
refused "an unknown feature" "Unknown feature" "0 $size vmabackup /dev/vda 2 chunksize 128"
refused "a feature twice" "Unknown feature, or one given twice" \
	"0 $size vmabackup /dev/vda 4 chunk_size 128 chunk_size 128"
refused "a feature without its number" "A feature has no number" \
	"0 $size vmabackup /dev/vda 1 chunk_size"
refused "fewer words than announced" "not enough\|Invalid number\|The number of feature" \
	"0 $size vmabackup /dev/vda 4 chunk_size 128"
refused "more words than announced" "The number of feature" \
	"0 $size vmabackup /dev/vda 2 chunk_size 128 cbw_timeout 5"
refused "too many words" "Invalid number of feature" \
	"0 $size vmabackup /dev/vda 10 chunk_size 128 cbw_timeout 5 fleece /dev/vdb on_cbw_error break-snapshot x y"
refused "a part of a table that does not start it" ".*must appear alone in table" \
	"0 8 linear /dev/vda 0
8 $((size - 8)) vmabackup /dev/vdb"

refused "a part of a table that does not end it" ".*must appear alone in table" \
	"0 8 vmabackup /dev/vda
8 $((size - 8)) linear /dev/vdb 8"
check_status 1 "longer than its origin" dmsetup create bad --table "0 $((size + 8)) vmabackup /dev/vda"
dmsetup remove bad 2>/dev/null || true

origin=$(printf '%d:%d' "0x$(stat -c %t /dev/vda)" "0x$(stat -c %T /dev/vda)")
dm_create d0 "0 $size vmabackup /dev/vda"
check_eq "the plain table line" "$(dm_table d0)" "0 $size vmabackup $origin"
check_eq "the status of a disk that was never backed up" "$(dm_status d0)" \
	"0 $size vmabackup idle 128 0/$((size / 128)) guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 copying 0 policy - spilled 0 refetched 0 fleece_used 0 fleece_error 0 failed 0 dropped 0 reason none 0 -"
dm_create d1 "0 $size vmabackup /dev/vdb 4 cbw_timeout 2000 chunk_size 2048"
line=$(dm_table d1)
check_eq "a line with features" "${line#* vmabackup }" \
	"$(printf '%d:%d' "0x$(stat -c %t /dev/vdb)" "0x$(stat -c %T /dev/vdb)") 4 chunk_size 2048 cbw_timeout 2000"
check "it can be loaded again" dmsetup reload d1 --table "$line"
check "and resumed" dmsetup resume d1
check_eq "and is the same then" "$(dm_table d1)" "$line"
check_status 1 "on itself" dmsetup reload d1 --table "0 $size vmabackup /dev/mapper/d1"
check_status 1 "with itself as its fleece device" dmsetup reload d1 --table \
	"0 $size vmabackup /dev/vdb 2 fleece /dev/mapper/d1"
