# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# The suites of tests/run, which sources this, that need the kernel that watches
# itself (scripts/debug-kernel): as a process with one CPU, which is as fast as a stock
# kernel that is emulated, or emulated with two.

# What of it "make check" runs: the paths that guests and sessions take, not the
# comparisons of content, which are long and would find the same there.
DEBUG_SOME='bed-loads target- chardev-abuse session-one-instant session-suspend session-timeout
	session-table session-survives backup-instant fleece-errors view-messages
	view-suspend faults- soak-'
# How long the soak takes there, in seconds.
SOAK_SECONDS=180
# The whole run should take less than an hour. What has to fit when this begins, in
# minutes: a build of that kernel (9 on 2 cores), those tests (reckoned).
CHECK_MINUTES=60
DEBUG_BUILD_MINUTES=12
DEBUG_TESTS_MINUTES=12

# For tests that were not made for faults. Pages and user copies, one of fifty and one of four
# hundred, would fail nearly every session before it begins; test-faults-* have those, too.
DEFAULT_FAULTS=slab,io

# build_debug [--um]: sets KVER to the debug kernel's; builds kernel, module and programs.
build_debug() {
	local arch=()

	[ $# -eq 0 ] || arch=(ARCH=um)
	step debug-kernel scripts/debug-kernel "$@" || return
	KVER=$(scripts/debug-kernel "$@" --cached) || return
	export KVER
	step build-modules-debug "${quiet_make[@]}" modules "${arch[@]}" \
		KDIR="$VMAB_CACHE/kernel/$KVER/build" UBSAN_SANITIZE=y || return
	step build-userspace "${quiet_make[@]}" userspace
	step build-test-tools "${quiet_make[@]}" test-tools
}

suite_debug-some() {
	local left=$((CHECK_MINUTES - SECONDS / 60)) need=$DEBUG_TESTS_MINUTES KVER=${KVER:-}
	local what='tests on the debug kernel'

	if ! scripts/debug-kernel --um --cached >/dev/null 2>&1; then
		need=$((need + DEBUG_BUILD_MINUTES))
		what='building the debug kernel and tests on it'
	fi
	if [ "$left" -lt "$need" ]; then
		printf 'debug    skipped: %s need %d minutes, of %d %d are left; %s\n' \
			"$what" "$need" "$CHECK_MINUTES" "$left" 'make check-debug'
		note debug all 0 0 1
		return
	fi
	build_debug --um || return
	VMAB_TEST_SOAK_SECONDS=${VMAB_TEST_SOAK_SECONDS:-$SOAK_SECONDS} \
		run_vm_tests debug "$DEBUG_SOME"
}

suite_debug() {
	local KVER=${KVER:-}

	build_debug --um || return
	VMAB_TEST_LEAKS=each run_vm_tests debug "${TESTS:-* faults-}"
}

# What two CPUs may do to each other, and what preemption may.
suite_debug-smp() {
	local KVER=${KVER:-}

	build_debug || return
	VMAB_TEST_LEAKS=each run_vm_tests debug-smp "${TESTS:-* faults-}"
}

# Everything, with a module that counts which of its lines ran.
suite_coverage() {
	local KVER=${KVER:-}

	export VMAB_GCOV=1
	build_debug || return
	rm -rf "${results:?}/coverage"
	run_vm_tests coverage "${TESTS:-* faults-}"
	judge coverage lines "$HOST_TIMEOUT" "$here/debug-kernel/coverage-report" \
		"$results/coverage" "$VMAB_BUILD/coverage"
	cat "$VMAB_BUILD/coverage/lines"
	unset VMAB_GCOV
}

# The tests made for it, judged by what they say; then all others, judged by what the
# kernel says.
suite_faults() {
	local KVER=${KVER:-} faults=${FAULTS:-$DEFAULT_FAULTS}

	build_debug --um || return
	[ -n "${TESTS:-}" ] || run_vm_tests faults 'faults-'
	printf 'faults   from here on with %s: judged are hangs, leftovers and the kernel log\n' \
		"$faults"
	VMAB_TEST_FAULTS=$faults run_vm_tests all-faults "${TESTS:-*}" --judge kernel
}
