#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What "make install-userspace" puts where, that it runs from there, and that the
# units among the examples are units.
set -Eeuo pipefail
. "$(dirname "$0")/../../scripts/env.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/vmab-install.XXXXXX")
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

dest=$work/dest
local_=$dest/usr/local
doc=$local_/share/doc/dm-vmabackup

installed() {
	local file

	for file in "$@"; do
		[ -f "$file" ] || { echo "missing: $file" && return 1; }
	done
}

# All files that documents and manuals name below Documentation/ are there.
names_lead_somewhere() {
	local file bad=0

	while IFS= read -r file; do
		case $file in
		*.[18]) [ -e "$local_/share/man/man${file##*.}/${file##*/}" ] ;;
		*) [ -e "$doc/$file" ] ;;
		esac || { echo "named, and not there: $file" && bad=1; }
	done < <(find "$doc" "$local_/share/man" -type f -exec sed 's/\\-/-/g' '{}' '+' |
		grep -oE 'Documentation/[A-Za-z0-9/@._-]+[A-Za-z0-9]' | sort -u)
	return $bad
}

# Templates are looked at as instances.
units_are_good() {
	local unit

	mkdir "$work/units"
	for unit in "$doc"/Documentation/examples/systemd/*; do
		cp "$unit" "$work/units/$(basename "${unit/@./@x.}")"
	done
	systemd-analyze verify --man=no "$work"/units/* 2>&1 | tee "$work/units.out"
	# It complains of what it can ignore, too.
	[ ! -s "$work/units.out" ]
}

printf 'TAP version 13\n1..7\n'
point "it is installed" make -s -C "$VMAB_TOP" install-userspace "DESTDIR=$dest"
point "programs, manuals, header" installed "$local_"/sbin/{vmactl,vmabackup-freeze} \
	"$local_/share/man/man8/vmactl.8" "$local_/include/linux/dm-vmabackup.h"
point "vmactl runs" "$local_/sbin/vmactl" --version
point "vmabackup-freeze runs" "$local_/sbin/vmabackup-freeze" --help
point "the documents that others name are there" names_lead_somewhere
point "examples" installed "$doc"/Documentation/examples/{README.md,vmabackup-freeze}
printf '[Service]\nExecStart=/bin/true\n' >"$work/trivial.service"
if systemd-analyze verify --man=no "$work/trivial.service" >/dev/null 2>&1; then
	point "units" units_are_good
else
	n=$((n + 1))
	printf 'ok %d - units # SKIP no systemd-analyze that works here\n' $n
fi
[ $bad -eq 0 ]
