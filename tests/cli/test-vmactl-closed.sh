#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Without standard input, output or error nothing seems to go well that does not.
. "$(dirname "$0")/lib.sh"
plan 13

head -c 200000 /dev/urandom >image
"$VMACTL" create a.vma a=image

# closed STATUS NAME ARGUMENT...: with standard output closed.
closed() {
	local wanted=$1 name=$2 status=0

	shift 2
	"$VMACTL" "$@" >&- 2>"$ERR" || status=$?
	check "$name" test $status -eq "$wanted"
}
closed 1 "an archive on standard output: none" create - a=image
stderr_has "is told" "standard output is closed"
closed 1 "a compressed one" create - --compress zstd a=image
closed 1 "a disk" cat a.vma --disk a
closed 1 "a list" list a.vma
stderr_has "is told" "standard output"
closed 1 "what verify says as JSON" verify --json a.vma
closed 0 "nothing is said: an archive in a file" create b.vma a=image
vmactl 0 "it is good" verify b.vma

status=0
"$VMACTL" verify - <&- >"$OUT" 2>"$ERR" || status=$?
check "an archive on standard input: none" test $status -eq 1
stderr_has "is told" "standard input"

# The disk must not be opened in their place, and be written to as that.
status=0
"$VMACTL" create c.vma a=image <&- >&- 2>&- || status=$?
check "all three closed: an archive in a file" test $status -eq 0
vmactl 0 "is good" verify c.vma
