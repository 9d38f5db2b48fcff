# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this tree agree on: where the tree is, which kernel is
# meant, where downloads are kept.  Sourced, prints nothing.

VMAB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VMAB_BUILD=${VMAB_BUILD:-$VMAB_TOP/build}

# Downloads and what is made from them alone; outlives "make clean" and is
# shared by all checkouts, so each entry appears by rename, complete.
VMAB_CACHE=${VMABACKUP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/cache}/.cache}/dm-vmabackup}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# The newest Debian kernel whose headers are installed.  Not uname -r: machines
# that build often run a kernel without headers, or without modules at all.
newest_kver() {
	local dir found=()

	for dir in /usr/src/linux-headers-*-amd64; do
		case ${dir##*/linux-headers-} in
		*-rt-amd64 | *-cloud-amd64 | '*-amd64') ;;
		*) found+=("${dir##*/linux-headers-}") ;;
		esac
	done
	[ ${#found[@]} -gt 0 ] || return 1
	printf '%s\n' "${found[@]}" | sort -V | tail -n 1
}

# Sets KVER unless the caller has chosen one.
need_kver() {
	if [ -z "${KVER:-}" ]; then
		KVER=$(newest_kver) ||
			die "no linux-headers-*-amd64 is installed; run scripts/setup"
	fi
	export KVER
}

# The module built for $KVER (by "make modules"); with VMAB_GCOV, the one that
# counts which of its lines ran.
module_path() {
	printf '%s\n' "$VMAB_BUILD/modules-$KVER${VMAB_GCOV:+-gcov}/kernel/dm-vmabackup/dm-vmabackup.ko"
}

# How many times longer than on a stock kernel things may take in a machine that
# runs $KVER. Under KASAN and lockdep, most take 2 to 3 times as long; not where the
# machine is a process, but it has one CPU.
kernel_slowness() {
	case $KVER in
	*-vmabackup-um*) echo 2 ;;
	*-vmabackup-*) echo 4 ;;
	*) echo 1 ;;
	esac
}
