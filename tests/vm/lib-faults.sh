# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Faults on demand: allocations, copies to and from userspace and I/O that fail.
# Needs the debug kernel (scripts/debug-kernel).  Sourced after lib.sh.
#
# Failing everywhere would only show that the test's own programs cannot be
# started; so what fails is what has the module on its call stack.

_faults=/sys/kernel/debug
# The kernel counts down from here: how many were injected can be read.
_faults_times=100000000

declare -A _faults_dir=(
	[slab]=failslab [page]=fail_page_alloc [usercopy]=fail_usercopy [io]=fail_make_request
)

faults_possible() {
	[ -e $_faults/failslab/require-start ]
}

# _faults_set KIND FILE VALUE
_faults_set() {
	printf '%s\n' "$3" >"$_faults/${_faults_dir[$1]}/$2"
}

# Percent, and of how many calls one is looked at at all: so that some sessions get
# through their setup and meet a fault later. VMAB_TEST_FAULTS_INTERVAL=1: at every call.
declare -A _faults_percent=([slab]=1 [page]=2 [usercopy]=1 [io]=1)
declare -A _faults_interval=([slab]=2 [page]=1 [usercopy]=4 [io]=4)

# Where the module is: code of it that is on the stack makes a call fail.
_faults_confine() {
	local kind=$1 start size end

	read -r _ size _ _ _ start _ < <(grep '^dm_vmabackup ' /proc/modules)
	printf -v end '0x%x' $((start + size))
	_faults_set "$kind" stacktrace-depth 32
	_faults_set "$kind" require-start "$start"
	_faults_set "$kind" require-end "$end"
}

# faults_on KINDS [anywhere]: KINDS is a list with commas of slab, page, usercopy, io
# (on all of the machine's disks).
faults_on() {
	local kind disk

	for kind in ${1//,/ }; do
		_faults_set "$kind" probability 0
		_faults_set "$kind" times $_faults_times
		_faults_set "$kind" interval \
			"${VMAB_TEST_FAULTS_INTERVAL:-${_faults_interval[$kind]}}"
		# No traces in the log: the runner takes them for complaints.
		_faults_set "$kind" verbose 0
		if [ "${2:-}" = anywhere ]; then
			_faults_set "$kind" require-start 0
			_faults_set "$kind" require-end 0xffffffffffffffff
		else
			_faults_confine "$kind"
		fi
		case $kind in
		slab)
			_faults_set slab ignore-gfp-wait N
			;;
		page)
			_faults_set page ignore-gfp-wait N
			_faults_set page ignore-gfp-highmem N
			_faults_set page min-order 0
			;;
		io)
			for disk in /sys/block/vd*/make-it-fail; do
				echo 1 >"$disk"
			done
			;;
		esac
		_faults_set "$kind" probability "${_faults_percent[$kind]}"
	done
}

faults_off() {
	local kind

	faults_possible || return 0
	for kind in "${!_faults_dir[@]}"; do
		_faults_set "$kind" probability 0
	done
}

# faults_count KIND: since faults_on.
faults_count() {
	local left

	left=$(<"$_faults/${_faults_dir[$1]}/times")
	echo $((_faults_times - left))
}
