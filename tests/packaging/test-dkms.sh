#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What "make install-dkms" lays out is enough for dkms to build the module for the
# installed headers. Nothing of this machine's own dkms is touched: trees of its
# own, and a mount namespace in which the place for signing keys is empty.
set -Eeuo pipefail
. "$(dirname "$0")/../../scripts/env.sh"
need_kver

work=$(mktemp -d "${TMPDIR:-/tmp}/vmab-dkms.XXXXXX")
trap 'rm -rf "$work"' EXIT
n=0 bad=0

# point NAME COMMAND...
point() {
	local name=$1 status=0

	shift
	n=$((n + 1))
	"$@" >"$work/out" 2>&1 || status=$?
	if [ $status -eq 0 ]; then
		printf 'ok %d - %s\n' $n "$name"
	else
		bad=$((bad + 1))
		printf 'not ok %d - %s\n# exit status %d from: %s\n' $n "$name" $status "$*"
		sed 's/^/# | /' "$work/out"
	fi
}

in_own_mounts() {
	local own=(--mount)

	[ "$(id -u)" -eq 0 ] || own+=(--map-root-user)
	# shellcheck disable=SC2016 # of the inner shell
	unshare "${own[@]}" /bin/bash -c 'mount -t tmpfs none /var/lib/dkms && exec "$@"' - "$@"
}

if ! in_own_mounts true 2>"$work/out"; then
	printf 'TAP version 13\n1..0 # SKIP no mounts of its own: %s\n' "$(tail -n 1 "$work/out")"
	exit 4
fi

build() {
	in_own_mounts dkms build "dm-vmabackup/$version" -k "$KVER" \
		--sourcetree "$work/dest/usr/src" --dkmstree "$work/tree" || {
		cat "$work"/tree/dm-vmabackup/*/build/make.log
		return 1
	}
}

module_is_for_kernel() {
	local module

	module=$(find "$work/tree/dm-vmabackup/$version/$KVER" -name 'dm-vmabackup.ko*')
	[ "$(modinfo -F vermagic "$module" | cut -d' ' -f1)" = "$KVER" ]
}

no_warnings() {
	local log

	log=$(find "$work/tree/dm-vmabackup/$version/$KVER" -name make.log)
	[ -s "$log" ] && ! grep -i 'warning:' "$log"
}

printf 'TAP version 13\n1..5\n'
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"$/\1/p' "$VMAB_TOP/dkms.conf")
point "dkms.conf has vmactl's version" test "vmactl $version" = "$("$VMACTL" --version)"
mkdir -p "$work/dest" "$work/tree"
point "the sources are laid out" make -C "$VMAB_TOP" install-dkms "DESTDIR=$work/dest"
point "dkms builds the module" build
point "it is for that kernel" module_is_for_kernel
point "without a warning" no_warnings
[ $bad -eq 0 ]
