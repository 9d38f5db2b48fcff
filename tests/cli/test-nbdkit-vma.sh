#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The nbdkit plugin: what NBD clients read of any disk of any archive is what is in it.
# Commands for sh stand in single quotes throughout.
# shellcheck disable=SC2016
. "$(dirname "$0")/lib.sh"

PLUGIN=$(realpath "$(dirname "$VMACTL")/../nbdkit/nbdkit-vma-plugin.so")
[ -e "$PLUGIN" ] || {
	echo "1..0 # SKIP built without nbdkit's headers"
	exit 4
}
# Preloaded, its locks hang in libraries of nbdkit's; test-archive has the threads.
if grep -q __asan_init "$PLUGIN"; then
	echo "1..0 # SKIP nbdkit has no sanitizers in it"
	exit 4
fi
plan 46
PATH=$PATH:/usr/sbin:/sbin

# serve COMMAND ARGUMENT...: COMMAND for "sh", with $uri, while nbdkit serves. In the
# foreground: it is there to be ended, and ends with a status of its own.
serve() {
	local command=$1 status=0 server

	shift
	rm -f socket pid
	nbdkit -f -U "$PWD/socket" -P pid "$PLUGIN" "$@" &
	server=$!
	while [ ! -s pid ]; do
		if ! kill -0 $server 2>"$OUT.kill"; then
			wait $server || status=$?
			return $status
		fi
		sleep 0.02
	done
	unixsocket=$PWD/socket uri="nbd+unix:///?socket=$PWD/socket" sh -c "$command" || status=$?
	kill $server
	wait $server || [ $status -ne 0 ] || status=99
	return $status
}

# serves STATUS NAME COMMAND ARGUMENT...: one test point.
serves() {
	local want=$1 name=$2 status=0 result=0

	shift 2
	serve "$@" >"$OUT" 2>"$ERR" || status=$?
	[ "$status" -eq "$want" ] || {
		echo "# exit status $status instead of $want"
		result=1
	}
	point "$result" "$name"
}

copy='nbdcopy "$uri" - | cmp -'
make_good_archive good.vma good
for disk in drive-scsi0 drive-virtio1; do
	serves 0 "nbdcopy of $disk" "$copy good/disk-$disk.raw" good.vma disk=$disk
	serves 0 "qemu-img of $disk" \
		'qemu-img convert -f raw "$uri" -O raw copy.raw' archive=good.vma disk=$disk
	check "gives the same" cmp copy.raw good/disk-$disk.raw
done
serves 0 "what is data and what is not" 'nbdinfo --map "$uri"' good.vma disk=drive-scsi0
sed -E 's/ +/ /g' "$OUT" >map && cp map "$OUT"
stdout_is "block by block" <<-'END'
	 0 69632 0 data
	 69632 57344 3 hole,zero
	 126976 4096 0 data
	 131072 65536 3 hole,zero
	 196608 4096 0 data
END
serves 0 "the disks as exports" 'nbdinfo --list "nbd+unix:///?socket=$unixsocket"' good.vma
stdout_has "the first" 'export="drive-scsi0":'
stdout_has "the second" 'export="drive-virtio1":'
stdout_has "its size" "export-size: 131584"
serves 0 "one of them by name" \
	'nbdcopy "nbd+unix:///drive-virtio1?socket=$unixsocket" - | cmp - good/disk-drive-virtio1.raw' \
	good.vma
serves 1 "no name, and several disks" 'nbdinfo --size "$uri"' good.vma
stderr_has "is explained" "has several disks"
serves 1 "a name that is not there" 'nbdinfo --size "nbd+unix:///x?socket=$unixsocket"' good.vma
stderr_has "is explained" 'no disk called "x"'
serves 1 "another than disk=" 'nbdinfo --size "nbd+unix:///drive-scsi0?socket=$unixsocket"' \
	good.vma disk=drive-virtio1
serves 0 "it is read-only" 'nbdinfo --is readonly "$uri"' good.vma disk=drive-scsi0
serves 1 "writes are refused" 'qemu-io -f raw -c "write 0 512" "$uri"' good.vma disk=drive-scsi0

# --- compressed, large enough for several frames, several connections at once ---

{
	openssl enc -aes-128-ctr -nosalt -K 0123 -iv 00 -in /dev/zero 2>/dev/null | head -c 2M || :
	head -c 2M /dev/zero
	seq 1 300000
	head -c 512 /dev/zero
} >disk.raw
truncate -s %512 disk.raw
"$VMACTL" create big.vma a=disk.raw
"$VMACTL" create big.vma.zst a=disk.raw
python3 "$CLI_DIR/seekable.py" big.vma small.vma.zst 200000
for archive in big.vma big.vma.zst small.vma.zst; do
	serves 0 "$archive" "$copy disk.raw" $archive
	serves 0 "by four connections, with little memory" \
		'nbdcopy --connections=4 --requests=16 --request-size=262144 "$uri" copy.raw' \
		$archive cache=1M
	check "gives the same" cmp copy.raw disk.raw
done
"$VMACTL" index big.vma.zst >"$OUT"
serves 0 "with an index" "$copy disk.raw" big.vma.zst
mv big.vma.zst.idx elsewhere
serves 0 "from elsewhere" "$copy disk.raw" big.vma.zst index=elsewhere

# --- a file system in a compressed archive, nothing extracted ---

mkdir tree tree/deeper files
seq 1 200000 >tree/deeper/numbers
printf 'a file\n' >tree/deeper/small
mke2fs -q -t ext4 -d tree disk.ext4 16M >"$OUT" 2>"$ERR"
"$VMACTL" create fs.vma.zst root=disk.ext4
cat >mounted <<-'END'
	mkdir m
	nbdfuse m/disk "$uri" &
	for _ in $(seq 100); do
		[ ! -e m/disk ] || break
		sleep 0.1
	done
	[ -e m/disk ] || exit 4
	debugfs -R "rdump / files" m/disk
	e2fsck -fn m/disk
	result=$?
	umount m
	wait
	exit $result
END
status=0
if [ -w /dev/fuse ]; then
	serve "sh mounted" fs.vma.zst >"$OUT" 2>"$ERR" || status=$?
else
	status=4
fi
if [ $status -eq 4 ]; then
	skip "e2fsck of it as a file" "no FUSE here"
	skip "its files" "no FUSE here"
else
	check "e2fsck of it as a file" test $status -eq 0
	rmdir files/lost+found
	check "its files" diff -r tree files
fi

# --- a bit of the data of an archive that is not compressed ---

# Both disks fill extents of their own: 58 clusters each.
openssl enc -aes-128-ctr -nosalt -K 4567 -iv 00 -in /dev/zero 2>/dev/null | head -c 3801088 \
	>random.raw || :
"$VMACTL" create flip.vma a=random.raw b=random.raw
printf 'changed' | dd of=flip.vma bs=1 seek=2000000 conv=notrunc status=none
serves 1 "a damaged archive, all of the disk" 'nbdcopy "$uri" copy.raw' flip.vma disk=a
stderr_has "is an I/O error" "Input/output error"
stderr_has "nbdkit says where" "of the archive)"
serves 1 "what is damaged in it" 'qemu-io -r -f raw -c "read 1966080 65536" "$uri"' \
	flip.vma disk=a
stderr_has "is named" "its data differs from its checksum"
serves 1 "another place of that extent" 'qemu-io -r -f raw -c "read 0 512" "$uri"' flip.vma disk=a
serves 0 "the other disk" "$copy random.raw" flip.vma disk=b

# --- what cannot be served is refused before anybody connects ---

refuses() {
	local name=$1 text=$2

	shift 2
	serves 1 "$name" "touch served" "$@"
	check "is refused at the start: $text" sh -c "grep -qF '$text' '$ERR' && [ ! -e served ]"
}

zstd -q good.vma -o plain.vma.zst
refuses "zstd without a seek table" "without a seek table" plain.vma.zst
refuses "a disk that is not there" 'no disk called "x"' good.vma disk=x
refuses "an index of another archive" "of another archive" good.vma index=elsewhere
