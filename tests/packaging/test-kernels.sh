#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetching other kernels when there is no archive, and what a build root changes:
# /usr, for one command. Needs no network.
set -Eeuo pipefail
. "$(dirname "$0")/../../scripts/env.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/vmab-kernels.XXXXXX")
trap 'rm -rf "$work"' EXIT
n=0 bad=0

# point NAME STATUS REGEX COMMAND...: it ends with STATUS, REGEX is in what it prints.
point() {
	local name=$1 wanted=$2 regex=$3 status=0

	shift 3
	n=$((n + 1))
	"$@" >"$work/out" 2>&1 || status=$?
	if [ $status -eq "$wanted" ] && grep -qE -- "$regex" "$work/out"; then
		printf 'ok %d - %s\n' $n "$name"
	else
		bad=$((bad + 1))
		printf 'not ok %d - %s\n# exit status %d from: %s\n' $n "$name" $status "$*"
		sed 's/^/# | /' "$work/out"
	fi
}

fetch() {
	"$VMAB_TOP/scripts/kernels" fetch "$@"
}

count_cache() {
	find "$VMABACKUP_CACHE" -mindepth 1 | wc -l
}

in_root() {
	"$VMAB_TOP/scripts/in-build-root" "$work/usr" "$@"
}

if apt-config dump | grep -qiE '^Acquire::[a-z]+::Proxy'; then
	printf 'TAP version 13\n1..0 # SKIP apt has a proxy of its own, it cannot be cut off\n'
	exit 4
fi
printf 'TAP version 13\n1..10\n'

# Nobody listens there, for any way to reach an archive.
export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
export VMABACKUP_CACHE=$work/cache
mkdir -p "$work/usr/bin" "$VMABACKUP_CACHE"

point "a name that nobody knows" 1 'no such kernel: nonsense' fetch nonsense
point "no archive, nothing kept: the reason" 1 'serves no kernel for newest: .' fetch newest
point "and nothing is left" 0 '^0$' count_cache

mkdir -p "$VMABACKUP_CACHE/kernel/9.9.9-amd64/build-root" "$VMABACKUP_CACHE/kernels"
echo 9.9.9-amd64 >"$VMABACKUP_CACHE/kernels/newest"
point "a name keeps its meaning" 0 '^newest 9\.9\.9-amd64$' fetch newest
touch -d '30 days ago' "$VMABACKUP_CACHE/kernels/newest"
point "even an old one, when there is no archive" 0 '^newest 9\.9\.9-amd64$' fetch newest
rmdir "$VMABACKUP_CACHE/kernel/9.9.9-amd64/build-root"
point "not when that kernel is gone" 1 'serves no kernel for newest: .' fetch newest

cp /bin/busybox "$work/usr/bin/"
if in_root /usr/bin/busybox true 2>"$work/out"; then
	point "a build root is /usr for a command" 0 '^busybox$' in_root /usr/bin/busybox ls /usr/bin
	point "its exit status is handed on" 7 '^$' in_root /usr/bin/busybox sh -c 'echo; exit 7'
	point "/usr of the machine is what it was" 0 '/mount$' ls /usr/bin/mount
else
	for name in command status machine; do
		n=$((n + 1))
		printf 'ok %d - build root: %s # SKIP no mounts: %s\n' $n $name \
			"$(tail -n 1 "$work/out")"
	done
fi
VMAB_BUILD=/usr/share/none point "not with the tree's output below /usr" 1 'is below /usr' in_root true
[ $bad -eq 0 ]
