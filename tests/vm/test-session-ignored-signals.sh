#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that was started with signals ignored (nohup, a shell's background
# job) is not ended by them; one that was not, is.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 7

VMAREAD=$BED_TOP/tests/oracle/vmaread.py
load_target
head -c 8M /dev/urandom >"$WORK/before"
dd if="$WORK/before" of=/dev/vda bs=1M oflag=direct status=none
dm_create d0 "0 16384 vmabackup /dev/vda"

# Bytes per second: 8 MiB take long enough to look at it meanwhile, also on a busy machine and
# in a slow kernel.
export LIMIT=1M
[ "${BED_SLOWNESS:-1}" -eq 1 ] || LIMIT=256K
# backup IGNORED...: slow enough for signals.
backup() {
	local ignored="$*"

	rm -f "$WORK/archive"
	(
		trap - ERR EXIT
		# shellcheck disable=SC2086 # a list
		[ -z "$ignored" ] || trap '' $ignored
		exec "$VMACTL" backup --disk a=/dev/mapper/d0 --bwlimit $LIMIT --output "$WORK/archive"
	) >"$WORK/backup" 2>&1 &
	pid=$!
	wait_for 30 state_is d0 armed
}

armed_or_done() {
	state_is d0 armed || ! kill -0 "$pid" 2>/dev/null
}

backup INT HUP
kill -INT "$pid"
kill -HUP "$pid"
sleep 0.5
# On a slow machine it may have come to its own end: how is what the next point says.
check "ignored signals do not end it" armed_or_done
check_wait "it succeeds" "$pid"
check "and is exact" "$VMAREAD" compare "$WORK/archive" a="$WORK/before"

backup INT HUP
kill -TERM "$pid"
check_wait "SIGTERM, which it does not ignore, ends it" "$pid" 5
check "nothing is left" test ! -e "$WORK/archive"

# A job in the background of this shell would ignore SIGINT by itself.
rm -f "$WORK/archive"
python3 - "$VMACTL" "$WORK/archive" >"$WORK/backup" 2>&1 <<'PY' &
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.argv[1], [sys.argv[1], "backup", "--disk", "a=/dev/mapper/d0", "--bwlimit", os.environ["LIMIT"],
                       "--output", sys.argv[2]])
PY
pid=$!
wait_for 30 state_is d0 armed
kill -HUP "$pid"
check_wait "SIGHUP ends one that does not ignore it" "$pid" 5
check "the disk is idle" wait_for 10 state_is d0 idle
