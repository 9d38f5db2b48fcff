# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts that fetch things share: apt, and the cache's rule that an
# entry appears by rename, complete.  Sourced after env.sh, prints nothing.

# A directory beside the cache's entries for the caller's work; gone at exit.
tmp=
remove_tmp() {
	[ -z "$tmp" ] || rm -rf "$tmp"
}

# make_tmp NAME: sets tmp. Beside its final place, so that publish() is a rename.
# What killed runs left goes.
make_tmp() {
	trap remove_tmp EXIT
	mkdir -p "$VMAB_CACHE"
	find "$VMAB_CACHE" -maxdepth 1 -name ".$1.*" -mmin +1440 -exec rm -rf {} +
	tmp=$(mktemp -d "$VMAB_CACHE/.$1.XXXXXX")
	# apt's own user must be able to write downloads here; it falls back to root.
	chmod 755 "$tmp"
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "must be root (or have sudo) to run: $*"
	fi
}

# apt-get update, at most once, and only when apt is needed at all.
apt_updated=no
apt_update() {
	[ "$apt_updated" = no ] || return 0
	as_root apt-get update -q
	apt_updated=yes
}

# Downloads package $1 into $tmp/deb and prints the file's name.
download() {
	mkdir -p "$tmp/deb"
	(cd "$tmp/deb" && apt-get download -q "$1" >&2) || return 1
	find "$tmp/deb" -name "$1_*.deb" -print -quit
}

# $1 becomes $2 by rename.  Losing against another run is fine: it made the same.
publish() {
	mkdir -p "$(dirname "$2")"
	mv -T "$1" "$2" 2>/dev/null || [ -e "$2" ] || die "cannot create $2"
}

# Patterns for tar: large trees that no test of a block device needs.
# shellcheck disable=SC2034
kernel_leave_out=(
	'*/kernel/sound' '*/kernel/drivers/gpu' '*/kernel/drivers/media'
	'*/kernel/drivers/net/wireless' '*/kernel/drivers/net/ethernet'
	'*/kernel/drivers/infiniband' '*/kernel/drivers/iio' '*/kernel/drivers/staging'
	'*/kernel/drivers/hid' '*/kernel/drivers/usb' '*/kernel/drivers/hwmon'
	'*/kernel/drivers/input' '*/kernel/drivers/comedi'
)
