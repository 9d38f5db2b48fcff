#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks armed by message, at one instant, and written hard: their views,
# read by many while the guests write, equal dm-snapshots of the same instant
# and the load's own log.  VMAB_TEST_SEEDS="1 2 3" chooses the seeds.
# needs: disks=2x48M+2x64M mem=2G timeout=2400
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
read -ra seeds <<<"${VMAB_TEST_SEEDS:-1}"
plan $((${#seeds[@]} * 9))

# What guests write to; fio has the rest of the second disk.
GUEST_BYTES=$((44 << 20))

# This is about what is read, on a machine that may be slow: no session breaks for that.
PATIENCE_MS=600000

load_target
memory_disk cow0 64M
memory_disk cow1 64M
# shellcheck disable=SC2154 # memory_disk sets them
oracle_disk 0 /dev/vda "$cow0" 4 cbw_timeout $PATIENCE_MS fleece /dev/vdc
# shellcheck disable=SC2154
oracle_disk 1 /dev/vdb "$cow1" 6 cbw_timeout $PATIENCE_MS fleece /dev/vdd chunk_size 512

# reader N SEED: random pieces of a view against its snapshot, until told to stop.
cat >"$WORK/reader.py" <<'PY'
import mmap, os, random, sys
n, seed, stop = sys.argv[1:]
view = os.open(f"/dev/mapper/v{n}", os.O_RDONLY | os.O_DIRECT)
snap = os.open(f"/dev/mapper/s{n}", os.O_RDONLY | os.O_DIRECT)
size = os.lseek(view, 0, os.SEEK_END)
a, b = mmap.mmap(-1, 1 << 20), mmap.mmap(-1, 1 << 20)
rnd = random.Random(int(seed))
reads = 0
while not os.path.exists(stop):
    length = rnd.choice((512, 4096, 4096, 65536, 200704, 1 << 20))
    offset = rnd.randrange((size - length) // 512 + 1) * 512
    va, vb = memoryview(a)[:length], memoryview(b)[:length]
    if os.preadv(view, [va], offset) != length or os.preadv(snap, [vb], offset) != length:
        sys.exit(f"short read at {offset}")
    if va != vb:
        at = next(i for i in range(0, length, 512) if va[i:i + 512] != vb[i:i + 512])
        sys.exit(f"v{n} differs from s{n} at byte {offset + at} (read of {length} at {offset})")
    reads += 1
print(reads)
PY

views() {
	local n

	for n in 0 1; do
		dmsetup message "d$n" 0 arm
	done
	dmsetup resume d0
	dmsetup resume d1
	for n in 0 1; do
		dmsetup create "v$n" --readonly --table \
			"0 $(blockdev --getsz "/dev/mapper/d$n") vmabackup-view /dev/mapper/d$n"
	done
}
no_views() {
	local n

	for n in 0 1; do
		drop_view "v$n"
		dmsetup message "d$n" 0 disarm
	done
	for n in 0 1; do
		wait_for 60 state_is "d$n" idle
	done
}
at_exit "drop_view v0; drop_view v1"

for seed in "${seeds[@]}"; do
	start_load "$seed" /dev/mapper/d0 /dev/mapper/d1 -- --use "$GUEST_BYTES" \
		--fill-percent 80 --threads 8 --discard-percent 3 --zero-percent 3 --log "$WORK/log"
	start_fio "$seed" /dev/mapper/d1 "$GUEST_BYTES" 20M
	freeze 0 1
	check "seed $seed: both disks are armed and have views" views
	rm -f "$WORK/enough"
	readers=()
	for n in 0 1 0 1 0 1; do
		python3 "$WORK/reader.py" $n "$seed${#readers[@]}" "$WORK/enough" \
			>"$WORK/reads.${#readers[@]}" 2>&1 &
		readers+=($!)
	done
	sleep 6
	check "seed $seed: a whole view while the guests write" cmp /dev/mapper/v0 /dev/mapper/s0
	touch "$WORK/enough"
	bad=0
	for pid in "${readers[@]}"; do
		wait "$pid" || bad=$((bad + 1))
	done
	check_eq "seed $seed: six readers at once saw the snapshots" "$bad" 0
	diag "reads by each: $(cat "$WORK"/reads.* | tr '\n' ' ')"
	check "seed $seed: guests see their own writes" stop_load
	check_wait "seed $seed: so does fio" $fio
	check "seed $seed: both views equal the snapshots afterwards" bash -c \
		'cmp /dev/mapper/v0 /dev/mapper/s0 && cmp /dev/mapper/v1 /dev/mapper/s1'
	check "seed $seed: by the load's log they show one instant" "$GUESTLOAD" check \
		--use "$GUEST_BYTES" --log "$WORK/log" /dev/mapper/v0 /dev/mapper/v1
	# A run in which guests overwrote all or nothing shows nothing.
	spilled=$(status_number d0 spilled)
	check "seed $seed: guests overwrote $spilled of 768 chunks" test "$spilled" -ge 16
	no_views
	check_eq "seed $seed: nothing stays on the fleece devices" \
		"$(status_number d0 fleece_used) $(status_number d1 fleece_used)" "0 0"
	drop_snapshot 0
	drop_snapshot 1
done
