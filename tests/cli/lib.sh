# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What tests of vmactl's archive commands are written with.  Sourced first thing:
#
#	. "$(dirname "$0")/lib.sh"
#	plan 2
#	make_archive a.vma <<-'END'
#		device 1 65536 drive-scsi0
#		zero 1 0
#	END
#	vmactl 0 "a good archive is verified" verify a.vma
#	stdout_has "it says so" complete
#
# Each test runs in an empty directory of its own, removed at exit.  "vmactl" makes
# one test point of an exit status, and of what every failure has to look like: one
# line on stderr that begins with "vmactl"; of damage that verify and a salvage tell, several.

set -Eeuo pipefail

CLI_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VMACTL=${VMACTL:-$CLI_DIR/../../build/userspace/vmactl/vmactl}
[ -x "$VMACTL" ] || {
	echo "Bail out! $VMACTL is not there: run make"
	exit 2
}
VMACTL=$(realpath "$VMACTL")

# Scratch beside the test's own directory, so that "ls" shows what vmactl left.
_tap_dir=$(mktemp -d "${TMPDIR:-/tmp}/vmactl-cli.XXXXXX")
OUT=$_tap_dir/out ERR=$_tap_dir/err
mkdir "$_tap_dir/work"
cd "$_tap_dir/work"
umask 022
export LC_ALL=C TZ=UTC

_tap_seen=0 _tap_planned=0 _tap_bad=0
trap 'printf "# line %s: exit status %s from: %s\n" "$LINENO" "$?" "$BASH_COMMAND"' ERR

_tap_on_exit() {
	local status=$1

	cd /
	chmod -R u+rwx "$_tap_dir"
	rm -rf "$_tap_dir"
	[ "$status" -ne 0 ] || [ "$_tap_bad" -eq 0 ] || status=1
	[ "$status" -ne 0 ] || [ "$_tap_seen" -eq "$_tap_planned" ] || status=1
	exit "$status"
}
trap '_tap_on_exit $?' EXIT
trap 'exit 143' TERM INT HUP

plan() {
	_tap_planned=$1
	printf 'TAP version 13\n1..%d\n' "$1"
}

# point RESULT NAME: RESULT is 0 for ok; what the last vmactl printed follows a failure.
point() {
	_tap_seen=$((_tap_seen + 1))
	if [ "$1" -eq 0 ]; then
		printf 'ok %d - %s\n' "$_tap_seen" "$2"
		return
	fi
	_tap_bad=$((_tap_bad + 1))
	printf 'not ok %d - %s\n' "$_tap_seen" "$2"
	[ ! -s "$OUT" ] || head -n 20 "$OUT" | cut -c 1-200 | cat -v | sed 's/^/# stdout: /'
	[ ! -s "$ERR" ] || head -n 20 "$ERR" | cut -c 1-600 | cat -v | sed 's/^/# stderr: /'
}

# check NAME COMMAND...: ok if it succeeds.
check() {
	local name=$1 result=0

	shift
	"$@" || result=$?
	point "$result" "$name"
}

# skip NAME WHY
skip() {
	_tap_seen=$((_tap_seen + 1))
	printf 'ok %d - %s # SKIP %s\n' "$_tap_seen" "$1" "$2"
}

# vmactl STATUS NAME ARGUMENT...: standard input is the caller's.
vmactl() {
	local want=$1 name=$2 status=0 result=0

	shift 2
	"$VMACTL" "$@" >"$OUT" 2>"$ERR" || status=$?
	if [ "$status" -ne "$want" ]; then
		echo "# exit status $status instead of $want: vmactl $*"
		result=1
	fi
	case $want in
	0)
		[ ! -s "$ERR" ] || result=1
		;;
	2)
		[ "$(wc -l <"$ERR")" -eq 2 ] && grep -q '^vmactl ' "$ERR" && grep -q '^Try ' "$ERR" ||
			result=1
		;;
	*)
		# These tell of all damage: a line each.
		case "$want $*" in
		"3 verify "* | "6 "*) grep -q '^vmactl: ' "$ERR" ;;
		*) [ "$(wc -l <"$ERR")" -eq 1 ] && grep -q '^vmactl: ' "$ERR" ;;
		esac && ! grep -qv '^vmactl: ' "$ERR" || result=1
		;;
	esac
	point "$result" "$name"
}

# stdout_is NAME: exactly what comes on standard input.
stdout_is() {
	local result=0

	diff - "$OUT" | sed 's/^/# /' || result=1
	point "$result" "$1"
}

# stdout_has, stderr_has NAME TEXT
stdout_has() {
	check "$1" grep -qF -e "$2" "$OUT"
}

stderr_has() {
	check "$1" grep -qF -e "$2" "$ERR"
}

# directory_holds NAME ENTRY...: these and nothing else, hidden ones included.
directory_holds() {
	local name=$1

	shift
	check "$name" test "$(find . -mindepth 1 -maxdepth 1 -printf '%f\n' | sort)" = \
		"$(printf '%s\n' "$@" | sort)"
}

# make_archive FILE [DIR]: from a description on standard input, see mkvma.py; DIR gets
# the files that extracting it must give.
make_archive() {
	python3 "$CLI_DIR/mkvma.py" "$@"
}

# A good archive of two disks, one of them with a short last cluster, and two configurations.
make_good_archive() {
	make_archive "$@" <<-'END'
		ctime 1700000000
		config qemu-server.conf cores: 2\nname: test\n
		config qemu-server.fw [OPTIONS]\n
		device 1 200704 drive-scsi0
		device 7 131584 drive-virtio1
		extent
		zero 7 1
		cluster 1 3 0001 5a
		cluster 1 0 ffff 11
		cluster 7 2 ffff 33
		extent
		unused
		cluster 1 1 8001 22
		zero 1 2
		cluster 7 0 00f0 44
	END
}
