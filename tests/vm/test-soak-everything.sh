#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks under load, and at random: suspends of both kinds, reloads, other tables, resizes,
# origins and fleece devices that hang or fail, backups by all policies that run, stop, break
# and are killed, views.  No write is lost, nothing hangs, and every archive and view that was
# completed shows one instant.
# VMAB_TEST_SOAK_SECONDS: how long, VMAB_TEST_SEED: of the choices.
# needs: disks=2x48M+2x64M mem=2G timeout=2400
. "$BED_TOP/tests/vm/lib.sh"
seconds=${VMAB_TEST_SOAK_SECONDS:-60}
seed=${VMAB_TEST_SEED:-1}
# By then these must have come at least once: whole backups on a slow kernel take longer.
LONG=$((150 * ${BED_SLOWNESS:-1})) LONG_FOR_VIEWS=900
plan 4

count_of() {
	sed -n "s/^$1: //p" "$WORK/counts"
}

# happened NAME...
happened() {
	local name

	for name in "$@"; do
		[ "$(count_of "$name")" -gt 0 ] || {
			echo "none: $name"
			return 1
		}
	done
}

load_target
modprobe dm-flakey
modprobe dm-delay
diag "seed $seed, $seconds seconds"
try "$BED_BUILD/tests/soak" --seed "$seed" --seconds "$seconds" --vmactl "$VMACTL" \
	--guestload "$BED_BUILD/tests/guestload" --vmaread "$BED_TOP/tests/oracle/vmaread.py" \
	--work "$WORK" --origin /dev/vda --origin /dev/vdb --fleece /dev/vdc --fleece /dev/vdd
cp "$WORK/out" "$WORK/counts"
diag "$(cat "$WORK/counts")"
check_eq "nothing was lost, hung, or of two instants (seed $seed)" "$status" 0
check "disks were disturbed under load" happened suspends 'guest writes' 'backups begun'
# How much happens in a short time is up to the machine.
if [ "$seconds" -ge $LONG ]; then
	check "and much else happened" happened 'suspends without flush' \
		'reloads by our own table' 'failures of a fleece device' 'kills of vmactl' \
		'archives judged' 'chunks of guests by ring' 'chunks of guests by fleece' \
		'chunks by fetch'
else
	skip "and much else happened" "in $seconds seconds it need not"
fi
# On the debug kernel a view takes a minute or more.
if [ "$seconds" -ge $LONG_FOR_VIEWS ]; then
	check "views were read in full" happened 'views read in full' 'instants of views judged'
else
	skip "views were read in full" "in $seconds seconds they need not be"
fi
