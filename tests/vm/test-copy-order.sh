#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A read that guests wait for comes in its turn, however many more writes wait for it: who writes
# bit by bit to one chunk does not lose against who writes at random.
# needs: disks=2x256M cpus=1 timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 3

# Of each request, which is the most that the kernel bears: while the first two are read, four
# programs are started.
NS=4500000000
OTHERS=2

load_target
use_tracing vmabackup/vmab_copied
one_by_one origin 16 1 completion_nsec=$NS
disk d /dev/nullb_origin
d=/dev/mapper/d

hold --slots 64 --timeout-ms 600000 $d
echo 1 >$TRACING/events/vmabackup/vmab_copied/enable
# held_ever N: so many writes have been held by now.
held_ever() {
	[[ $(dm_status d) =~ " held "[0-9]+" $1 " ]]
}
# One has the device, another one waits for it; what comes now is in a row.
burst_start first write $d 1 0 4096 2 $CHUNK
wait_for 10 held_ever 2
burst_start bit write $d 2 $((10 * CHUNK)) 4096
wait_for 10 held_ever 3
burst_start others write $d 3 $((20 * CHUNK)) 4096 $OTHERS $CHUNK
wait_for 10 held_ever $((3 + OTHERS))
burst_start bits write $d 4 $((10 * CHUNK + 4096)) 4096
wait_for 10 held_ever $((4 + OTHERS))
grep -c ': vmab_copied: ' $TRACING/trace >"$WORK/early" || true
for name in first bit others bits; do
	wait_for 100 burst_ended $name
done
release_hold
check_eq "all has ended well" "$(errors first) $(errors bit) $(errors others) $(errors bits)" \
	"2 0 1 0 $OTHERS 0 1 0"
chunks=$(sed -n 's/.*vmab_copied: .*chunk=\([0-9]*\) .*/\1/p' $TRACING/trace | paste -sd' ')
diag "copied in this order: $chunks"
check_eq "each was copied once" "$(wc -w <<<"$chunks")" $((3 + OTHERS))
if [ "$(<"$WORK/early")" -le 1 ]; then
	check_eq "the one that got more writers came in its turn" "$(cut -d' ' -f3 <<<"$chunks")" 10
else
	skip "the one that got more writers came in its turn" "this machine is too busy to be in time"
fi
