#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks with fleece devices, written hard during the backup with writes of every kind: the
# archive, read by the tests' own reader, equals dm-snapshots of the same instant on both, and
# the load's own log agrees; whether old chunks go to memory only, to the fleece devices only,
# or to both.  One run for each of VMAB_TEST_SEEDS="1 2 3" and VMAB_TEST_POLICIES="ring ...".
# needs: disks=2x48M+2x64M mem=2G timeout=7200
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
read -ra seeds <<<"${VMAB_TEST_SEEDS:-1}"
read -ra policies <<<"${VMAB_TEST_POLICIES:-ring fleece auto}"
plan $((${#seeds[@]} * ${#policies[@]} * 10))

# Slots of the slowed reader: so few that guests soon find none, and what it reads per second.
SLOW_SLOTS=48
SLOW_BYTES=12M
# What guests write to: they can outrun the reader, and something has to be left to FETCH.
GUEST_BYTES=$((44 << 20))

load_target
in_memory f0 48M
in_memory f1 64M --sector-size 4096
# shellcheck disable=SC2154 # in_memory sets them
oracle_disk 0 /dev/vda /dev/vdc 2 fleece "$f0"
# shellcheck disable=SC2154
oracle_disk 1 /dev/vdb /dev/vdd 2 fleece "$f1"

# used POLICY: all the ways that this policy has were taken in this run; one in which a way was
# not taken shows nothing about it.
used() {
	local guest spilled fetched refetched slots

	guest=$(summary chunks_guest) spilled=$(summary chunks_spilled)
	fetched=$(summary chunks_fetched) refetched=$(summary chunks_refetched)
	slots=$((guest - spilled))
	echo "guest $guest (slots $slots, fleece $spilled), fetched $fetched, refetched $refetched"
	[ "$fetched" -ge 16 ] || return
	case $1 in
	ring) [ $slots -ge 16 ] && [ "$spilled" -eq 0 ] && [ "$refetched" -eq 0 ] ;;
	# A chunk on its way to the fleece device is delivered at once when FETCH comes by.
	fleece) [ "$spilled" -ge 16 ] && [ "$refetched" -ge 16 ] ;;
	auto) [ $slots -ge 16 ] && [ "$spilled" -ge 16 ] && [ "$refetched" -ge 16 ] ;;
	esac
}

for seed in "${seeds[@]}"; do
	for policy in "${policies[@]}"; do
		name="seed $seed, $policy"
		slow=()
		[ "$policy" = ring ] || slow=(--bwlimit "$SLOW_BYTES")
		start_load "$seed" /dev/mapper/d0 /dev/mapper/d1 -- --use "$GUEST_BYTES" \
			--fill-percent 80 --threads 8 \
			--discard-percent 3 --zero-percent 3 --log "$WORK/log"
		start_fio "$seed" /dev/mapper/d1 "$GUEST_BYTES" 20M
		freeze 0 1
		check "$name: backup" "$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 \
			--policy "$policy" --slots $SLOW_SLOTS "${slow[@]}" --suspended \
			--output "$WORK/archive" --json-summary "$WORK/summary"
		check "$name: guest sees its own writes" stop_load
		check_wait "$name: so does fio" $fio
		check "$name: the archive is well-formed" "$VMAREAD" check "$WORK/archive"
		check "$name: it equals both snapshots" "$VMAREAD" compare "$WORK/archive" \
			a=/dev/mapper/s0 b=/dev/mapper/s1
		"$VMAREAD" extract "$WORK/archive" "$WORK/images" >/dev/null
		check "$name: the load's log says that it is from one instant" "$GUESTLOAD" check \
			--use "$GUEST_BYTES" --log "$WORK/log" "$WORK/images/disk-a.raw" \
			"$WORK/images/disk-b.raw"
		check "$name: all destinations were used" used "$policy"
		diag "$name: $(<"$WORK/out")"
		check "$name: nothing is left on the fleece devices" wait_for "$SETTLE" takes_nothing f0
		check "$name: nor on the other" wait_for "$SETTLE" takes_nothing f1
		check_eq "$name: which status agrees with" \
			"$(field d0 fleece_used) $(field d1 fleece_used)" "0 0"
		rm -r "$WORK/archive" "$WORK/images"
		drop_snapshot 0
		drop_snapshot 1
	done
done
