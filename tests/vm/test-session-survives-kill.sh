#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmactl is killed at random moments of a backup under load: every guest write
# completes, the disks are idle again at once, and a backup made after it all is
# exact.  VMAB_TEST_KILLS=N chooses how often, VMAB_TEST_SEED the moments.
# needs: disks=2x48M+2x64M mem=2G timeout=2400
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
kills=${VMAB_TEST_KILLS:-6}
seed=${VMAB_TEST_SEED:-1}
RANDOM=$seed
plan $((kills + 6))

# How long a whole backup takes here and now; the moments are spread over that.
measure() {
	local begin

	begin=$(date +%s%N)
	"$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 --slots 64 \
		--output "$WORK/first" || return
	rm "$WORK/first"
	whole_ms=$((($(date +%s%N) - begin) / 1000000))
	echo "$whole_ms" >"$WORK/whole_ms"
}

both_idle() {
	[[ $(dm_status d0) == *" vmabackup idle "* ]] && [[ $(dm_status d1) == *" vmabackup idle "* ]]
}

resumed() {
	! dmsetup info d0 d1 | grep -q '^State: *SUSPENDED'
}

load_target
oracle_disk 0 /dev/vda /dev/vdc
oracle_disk 1 /dev/vdb /dev/vdd
diag "seed $seed"
start_load "$seed" /dev/mapper/d0 /dev/mapper/d1 -- --fill-percent 80 --threads 6 \
	--discard-percent 2 --zero-percent 2
check "a backup that nobody kills" measure
whole_ms=$(<"$WORK/whole_ms")
diag "a whole backup takes $whole_ms ms"

for ((i = 1; i <= kills; i++)); do
	"$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 --slots 64 \
		--output "$WORK/killed.$i.vma" >/dev/null 2>&1 &
	victim=$!
	ms=$((RANDOM % (whole_ms + 1)))
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
	state=$(dm_status d0 | cut -d' ' -f4)
	kill -9 "$victim" 2>/dev/null || true
	wait "$victim" 2>/dev/null || true
	# The watchdog resumes what was suspended when its parent died.
	if wait_for 30 resumed && wait_for 30 both_idle; then
		ok "killed after $ms ms, when the disk was $state: idle again"
	else
		not_ok "killed after $ms ms, when the disk was $state: idle again" \
			"$(dm_status d0)" "$(dm_status d1)" "$(dmsetup info d0 d1)"
	fi
	rm -f "$WORK/killed.$i.vma"
done

freeze 0 1
check "the next backup" "$VMACTL" backup --suspended --disk a=/dev/mapper/d0 \
	--disk b=/dev/mapper/d1 --slots 64 --output "$WORK/archive"
check_eq "it has removed what the killed ones left" "$(find "$WORK" -name '*.tmp-*')" ""
check "every guest write has completed, and is there" stop_load
check "the archive is well-formed" "$VMAREAD" check "$WORK/archive"
check "it equals both snapshots" "$VMAREAD" compare "$WORK/archive" \
	a=/dev/mapper/s0 b=/dev/mapper/s1
