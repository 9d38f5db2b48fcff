#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What vmactl backup takes as policy, error policy and timeout. A good one gets as far as
# the disk, which is not there (status 1); a bad one is a wrong command line (status 2).
. "$(dirname "$0")/lib.sh"
good=(
	"--policy auto" "--policy ring" "--policy fleece"
	"--on-cbw-error break-snapshot" "--on-cbw-error break-guest-write"
	"--cbw-timeout 0.001" "--cbw-timeout 45" "--cbw-timeout 2.5" "--cbw-timeout 3600.000"
	"--drop-discards"
)
bad=(
	"--policy snapshot" "--policy AUTO" "--policy="
	"--on-cbw-error table" "--on-cbw-error break"
	"--cbw-timeout 0" "--cbw-timeout 0.0001" "--cbw-timeout 3600.001" "--cbw-timeout 1e3"
	"--cbw-timeout -1" "--cbw-timeout 1." "--cbw-timeout .5" "--cbw-timeout 1,5"
	"--cbw-timeout 99999999999999999999999" "--cbw-timeout=" "--cbw-timeout 5s"
)
plan $((2 * ${#good[@]} + 2 * ${#bad[@]} + 6))

base=(backup --disk a=/dev/no-such-disk --output x.vma)
for option in "${good[@]}"; do
	read -ra words <<<"$option"
	vmactl 1 "$option" "${base[@]}" "${words[@]}"
	stderr_has "$option: is taken" "no-such-disk"
done
for option in "${bad[@]}"; do
	read -ra words <<<"$option"
	vmactl 2 "$option" "${base[@]}" "${words[@]}"
	stderr_has "$option: is named" "${words[0]%=}"
done

vmactl 1 "all of them" "${base[@]}" --policy fleece --on-cbw-error break-guest-write \
	--cbw-timeout 1.25 --drop-discards --json-summary summary
for wanted in '"policy":"fleece"' '"on_cbw_error":"break-guest-write"' '"cbw_timeout_ms":1250' \
	'"drop_discards":true' '"fleece":false'; do
	check "the summary has $wanted" grep -qF -- "$wanted" summary
done
