#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# tap-judge, tap-total, dmesg-scan and check-includes catch what they are there to catch.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 bad=0

# same NAME GOT WANTED
same() {
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		printf 'ok %d - %s\n' $n "$1"
	else
		bad=$((bad + 1))
		printf 'not ok %d - %s\n# got    %s\n# wanted %s\n' $n "$1" "$2" "$3"
	fi
}

# judged NAME STATUS OUTPUT WANTED
judged() {
	# shellcheck disable=SC2059
	same "judge: $1" "$(printf "$3" | "$top/tests/tap-judge" "$2" | head -n 1)" "$4"
}

# totalled NAME LINES WANTED-LAST-LINE-AND-STATUS
totalled() {
	local out status=0

	# shellcheck disable=SC2059
	printf "$2" >"$work/totals"
	out=$("$top/tests/tap-total" "$work/totals") || status=$?
	same "total: $1" "$(tail -n 1 <<<"$out"), $status" "$3"
}

# scanned NAME LINE WANTED-STATUS
scanned() {
	local status=0

	printf '[    1.0] usual: line\n[    2.0] %s\n' "$2" >"$work/log"
	"$top/tests/vm/dmesg-scan" "$work/log" >/dev/null || status=$?
	same "dmesg: $1" $status "$3"
}

# included NAME FILE LINE WANTED-STATUS: in a tree with just that line.
included() {
	local status=0

	rm -rf "$work/tree"
	mkdir -p "$work/tree/userspace" "$work/tree/kernel" "$work/tree/$(dirname "$2")"
	printf '%s\n' "$3" >"$work/tree/$2"
	"$top/scripts/check-includes" "$work/tree" >/dev/null || status=$?
	same "includes: $1" $status "$4"
}

printf 'TAP version 13\n1..41\n'

judged "all pass" 0 '1..2\nok 1 - a\nok 2 - b\n' '2 0 0'
judged "one fails" 1 '1..2\nok 1 - a\nnot ok 2 - b\n' '1 1 0'
judged "one fails, exit status 0" 0 '1..2\nok 1\nnot ok 2 - b\n' '1 1 0'
judged "crash after the last result" 139 '1..1\nok 1 - a\n' '1 1 0'
judged "crash half way" 139 '1..3\nok 1 - a\n' '1 2 0'
judged "fewer results than planned" 0 '1..3\nok 1 - a\n' '1 2 0'
judged "more results than planned" 0 '1..1\nok 1 - a\nok 2 - b\n' '2 1 0'
judged "no plan" 0 'ok 1 - a\n' '1 1 0'
judged "no output" 0 '' '0 1 0'
judged "no output, exit status 1" 1 '' '0 1 0'
judged "skipped as a whole" 4 '1..0 # SKIP no such thing\n' '0 0 1'
judged "skipped by exit status alone" 4 '' '0 0 1'
judged "one skipped" 0 '1..2\nok 1 - a\nok 2 - b # SKIP why\n' '1 0 1'
judged "skipped in the words of cmocka" 0 '1..1\nnot ok 1 # SKIP a\n' '0 0 1'
judged "skip status, but all passed" 4 '1..1\nok 1 - a\n' '1 1 0'
judged "skip status, but one failed" 4 '1..1\nnot ok 1 - a\n' '0 2 0'
judged "empty plan without a reason" 0 '1..0\n' '0 1 0'
judged "two groups of cmocka" 0 '1..1\nok 1 - a\n1..1\nok 1 - b\n' '2 0 0'
judged "timed out" 124 '1..1\nok 1 - a\n' '1 1 0'
judged "bail out" 1 '1..1\nok 1\nBail out! no\n' '1 1 0'
judged "other output is ignored" 0 '1..1\nnot okay\nok 1 - a\nokay\n' '1 0 0'
judged "carriage returns" 0 '1..1\r\nok 1 - a\r\n' '1 0 0'

totalled "sums" 'u\ta\t2\t0\t1\nu\tb\t3\t0\t0\n' '5 passed, 0 failed, 1 skipped, 0'
totalled "a failure" 'u\ta\t2\t1\t0\n' '2 passed, 1 failed, 0 skipped, 1'
totalled "nothing ran" '' '0 passed, 0 failed, 0 skipped, 1'
totalled "only skips" 'u\ta\t0\t0\t3\n' '0 passed, 0 failed, 3 skipped, 1'
totalled "a line that is cut short" 'u\ta\t2\t0\t0\nu\tb\t' '2 passed, 1 failed, 0 skipped, 1'

scanned "a clean log" 'device-mapper: ioctl: 4.47.0-ioctl initialised' 0
scanned "a warning" 'WARNING: CPU: 1 PID: 9 at block/bio.c:1 x+0x1/0x2' 1
scanned "a hung task" 'INFO: task dd:1234 blocked for more than 100 seconds.' 1
scanned "lockdep" 'WARNING: possible circular locking dependency detected' 1
scanned "an oops" 'BUG: unable to handle page fault for address: 00' 1
scanned "a sanitizer" 'BUG: KASAN: use-after-free in x' 1

included "a header of a lower layer" userspace/codec/a.c '#include "libvma/vma.h"' 0
included "a header of a higher layer" userspace/libvma/a.c '#include "codec/codec.h"' 1
included "a header that names no layer" userspace/libvma/a.c '#include "vma.h"' 1
included "a unit that stands above" kernel/dm-vmabackup/copy.c '#include "session.h"' 1
included "a unit that is not in the table" kernel/dm-vmabackup/new.c '' 1
included "the protocol outside of session" userspace/vmactl/a.c \
	'#include <linux/dm-vmabackup.h>' 1
included "a shell from C" userspace/vmactl/a.c 'system("x");' 1
included "a layer that prints" userspace/libvma/a.c 'printf("x");' 1

[ $bad -eq 0 ]
