#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Backups while allocations, copies to and from userspace, and I/O of the module fail now and
# then: each ends by itself, one that ends well is exact, guests lose nothing, tables can be
# made and removed.  That nothing leaks and nothing warns is the runner's to say.
# VMAB_TEST_ROUNDS=N chooses how many, VMAB_TEST_SEED the load.
# needs: disks=1x24M+1x40M mem=2G
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-faults.sh"
rounds=${VMAB_TEST_ROUNDS:-8}
seed=${VMAB_TEST_SEED:-1}
faults_possible || skip_all "$(uname -r) has no fault injection; make check-faults builds one that has"
plan $((rounds + 11))

GUESTLOAD=$BED_BUILD/tests/guestload
VMAREAD=$BED_TOP/tests/oracle/vmaread.py
# What is kept for the judge, which needs the load's log and so the load's end.
KEPT=4
# Seconds after which a backup of 28 MiB counts as hung: it is let go by cbw_timeout, 5 s.
HUNG=600
kinds=('slab,page' usercopy io 'slab,page,usercopy,io')
declare -A injected=([slab]=0 [page]=0 [usercopy]=0 [io]=0)

load_target
dm_create low0 "0 24576 linear /dev/vda 0"
dm_create fleece0 "0 24576 linear /dev/vda 24576"
dm_create low1 "0 32768 linear /dev/vdb 0"
dm_create fleece1 "0 40960 linear /dev/vdb 32768"
dm_create spare "0 8192 linear /dev/vdb 73728"
vmabackup_on d0 /dev/mapper/low0 4 cbw_timeout 5000 fleece /dev/mapper/fleece0
vmabackup_on d1 /dev/mapper/low1 4 cbw_timeout 5000 fleece /dev/mapper/fleece1
disks=(/dev/mapper/d0 /dev/mapper/d1)
policies=(fleece auto ring fleece)
errors=(break-snapshot break-guest-write)

count_faults() {
	local kind

	for kind in ${1//,/ }; do
		injected[$kind]=$((injected[$kind] + $(faults_count "$kind")))
	done
}

"$GUESTLOAD" --seed "$seed" --fill-percent 70 --threads 4 --stop-file "$WORK/stop" \
	--discard-percent 3 --zero-percent 3 --deadline 240 --retry --verify --pause-us 15000 \
	--ready-file "$WORK/ready" --log "$WORK/log" "${disks[@]}" >"$WORK/load" 2>&1 &
load=$!
at_exit "kill $load 2>/dev/null || true"
check "a load on both disks" wait_for_file 60 "$load" "$WORK/ready"

done=0 kept=()
for ((i = 0; i < rounds; i++)); do
	what=${kinds[i % ${#kinds[@]}]}
	policy=${policies[i / 2 % ${#policies[@]}]}
	error=${errors[(i / 4 + i / 2 + i) % 2]}
	where=
	[ $((i % 8)) -lt 4 ] || [ "$what" != io ] || where=anywhere
	faults_on "$what" $where
	try timeout -k 5 "$HUNG" "$VMACTL" backup --disk a="${disks[0]}" --disk b="${disks[1]}" \
		--slots 32 --policy "$policy" --on-cbw-error "$error" --output "$WORK/archive.$i"
	faults_off
	count_faults "$what"
	name="round $i, $what${where:+ anywhere}, $policy, $error: it ends by itself"
	case $status in
	0)
		ok "$name: done"
		done=$((done + 1))
		kept+=("$i")
		;;
	1 | 4) ok "$name: $(sed -n 's/^vmactl: //p' "$WORK/out" | cut -c1-150 | head -n 1)" ;;
	*) not_ok "$name" "exit status $status" "$(cat "$WORK/out")" ;;
	esac
	[ ${#kept[@]} -le $KEPT ] || { rm "$WORK/archive.${kept[0]}" && kept=("${kept[@]:1}"); }
done
diag "$done of $rounds backups got through"

# Whether each step succeeds is not judged, only that the device can go in the end.
tables() {
	local i

	for ((i = 0; i < 12; i++)); do
		faults_on slab,usercopy
		dmsetup create t --table "0 8192 vmabackup /dev/mapper/spare 2 chunk_size 256" &&
			dmsetup reload t --table "0 8192 vmabackup /dev/mapper/spare" &&
			dmsetup resume t && dmsetup status t
		faults_off
		[ ! -e /dev/mapper/t ] || dmsetup remove --retry t || return
	done
}
check "tables can be made and removed" tables

# --- without faults ---

check "afterwards, a backup" "$VMACTL" backup --disk a="${disks[0]}" --disk b="${disks[1]}" \
	--output "$WORK/archive.last"
kept+=(last)
touch "$WORK/stop"
status=0
wait "$load" || status=$?
diag "$(tail -n 5 "$WORK/load")"
check_eq "guests lost nothing" "$status" 0

judge() {
	local i

	for i in "${kept[@]}"; do
		"$VMAREAD" check "$WORK/archive.$i"
		rm -rf "$WORK/image"
		"$VMAREAD" extract "$WORK/archive.$i" "$WORK/image"
		"$GUESTLOAD" check --log "$WORK/log" "$WORK"/image/*a.raw "$WORK"/image/*b.raw
	done
}
check "the ${#kept[@]} archives are each from one instant" judge
check "nothing is left of those that failed" \
	test "$(find "$WORK" -name 'archive.*' | wc -l)" -eq ${#kept[@]}
for kind in slab page usercopy io; do
	check "faults were injected: $kind, ${injected[$kind]}" test "${injected[$kind]}" -gt 0
done
check "the disks are idle" grep -q ' vmabackup idle ' <(dm_status d0; dm_status d1)
