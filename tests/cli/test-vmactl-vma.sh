#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Called as "vma" it does what callers of that tool rely on: its commands, its lines, and a
# FIFO that is asked where disks go once the configuration lies in the directory.
. "$(dirname "$0")/lib.sh"
plan 81

ln -s "$VMACTL" vma
VMACTL=$PWD/vma

# vma STATUS NAME ARGUMENT...: as vmactl of lib.sh, whose failures have another prefix here.
vma() {
	local want=$1 name=$2 status=0 result=0

	shift 2
	"$VMACTL" "$@" >"$OUT" 2>"$ERR" || status=$?
	[ "$status" -eq "$want" ] || result=1
	case $want in
	0) [ ! -s "$ERR" ] || result=1 ;;
	*) grep -q '^vma' "$ERR" && ! grep -q vmactl "$ERR" || result=1 ;;
	esac
	point "$result" "$name"
}

make_archive a.vma want <<'EOF'
ctime 1700000000
config qemu-server.conf cores: 2\n
device 1 2097664 drive-scsi0
device 2 1048576 drive-scsi1
device 3 131072 vmstate
zeroes 1 0 3
cluster 1 4 ffff 11
cluster 1 5 00f0 22
zeroes 1 6 15
cluster 1 16 ffff 33
cluster 1 17 ffff 34
cluster 1 18 ffff 35
zeroes 1 19 32
extent
zeroes 2 0 14
cluster 2 15 ffff 44
cluster 3 0 ffff 55
zero 3 1
EOF
zstd -q a.vma

vma 0 "list" list a.vma
cat >listing <<'EOF'
CFG: size: 9 name: qemu-server.conf
DEV: dev_id=1 size: 2097664 devname: drive-scsi0
DEV: dev_id=2 size: 1048576 devname: drive-scsi1
VMSTATE: dev_id=3 memory: 131072
CTIME: Tue Nov 14 22:13:20 2023
EOF
stdout_is "its lines" <listing
vma 0 "config" config a.vma -c qemu-server.conf
vma 2 "a configuration that is not there" config a.vma -c other.conf
vma 0 "verify" verify a.vma -v
stdout_has "tells how far it is" "progress 100% (read 3277312 bytes, duration "
vma 0 "create" create b.vma -c want/qemu-server.conf x=want/disk-drive-scsi1.raw
vma 2 "no command of vmactl's own" backup
vma 2 "a wrong option" list --nonsense a.vma
vma 0 "help" --help
check "names no other program" test "$(grep -c vmactl "$OUT")" -le 1
vma 0 "extract" extract -v a.vma got
stdout_has "tells how far it is" "progress 100% (read 3277312 bytes, duration "
stdout_has "and what it was" "total bytes read 3277312, sparse bytes 2867712 (87.5%)"
check "all of it is there" diff -r want got
rm -r got
vma 0 "some disks only" extract -d drive-scsi1,vmstate a.vma got
check "those are there" test "$(ls got)" = "disk-drive-scsi1.raw
qemu-server.conf
vmstate.bin"
rm -r got
vma 2 "a disk that is not there" extract -d drive-scsi1,other a.vma got

# --- the map ---

noise() {
	head -c "$2" /dev/urandom >"$1"
}

# restore STATUS NAME MAP [ARGUMENT...]: the map is given as soon as the listing is complete;
# what the directory held at that moment is in the file "before-map".
restore() {
	local want=$1 name=$2 map=$3 status=0 pid i

	shift 3
	rm -f fifo
	mkfifo fifo
	"$VMACTL" extract "$@" -r fifo - got <a.vma.zst >"$OUT" 2>"$ERR" &
	pid=$!
	for ((i = 0; i < 300; i++)); do
		! grep -q '^CTIME: ' "$OUT" || break
		sleep 0.1
	done
	ls got >before-map 2>&1 || true
	# shellcheck disable=SC2016
	timeout 30 bash -c 'printf "$1" >fifo' map "$map" || true
	wait "$pid" || status=$?
	[ "$status" -eq "$want" ] || sed 's/^/# /' "$ERR"
	check "$name" test "$status" -eq "$want"
}

noise t0 2097664
noise t1 1048576
map='1:drive-scsi0=t0\n'
map+='format=raw:throttling.bps=400000000:cache=none:1:drive-scsi1=t1\n'
map+='skip=vmstate\ndone\n'
restore 0 "disks go where the map says" "$map" -v
check "the configuration was there before" test "$(cat before-map)" = qemu-server.conf
head -n 5 "$OUT" >first
check "the listing came first" cmp listing first
stdout_has "then the map" "map 'drive-scsi0=t0' (write zeros = 1)"
stdout_has "then progress" "progress 100% (read 3277312 bytes, duration "
check "one disk is the same" cmp t0 want/disk-drive-scsi0.raw
check "the other one is" cmp t1 want/disk-drive-scsi1.raw
check "the configuration is there" cmp got/qemu-server.conf want/qemu-server.conf
check "and nothing else" test "$(ls got)" = qemu-server.conf
rm -r got

noise t0 $((2097664 + 4194304))
cp t0 before
truncate -s 1048576 t2
restore 0 "a target that reads as zeroes, and a larger one" \
	'0:drive-scsi0=t0\ncache=writeback:0:drive-scsi1=t2\n\n'
check "zeroes are not written there" cmp -n 262144 t0 before
check "nor within a cluster" cmp -n 16384 -i 327680 t0 before
check "but data is" cmp -n 65536 -i 262144 t0 want/disk-drive-scsi0.raw
check "within a cluster, too" cmp -n 16384 -i 344064 t0 want/disk-drive-scsi0.raw
check "past its end nothing is" cmp -i 2097664 t0 before
check "the new one is the same" cmp t2 want/disk-drive-scsi1.raw
check "the memory goes into the directory" cmp got/vmstate.bin want/vmstate.bin
rm -r got

noise t0 2097664
restore 0 "skipped, and the end of the file" 'skip=drive-scsi1\n1:drive-scsi0=t0\nskip=vmstate'
check "it is the same" cmp t0 want/disk-drive-scsi0.raw
rm -r got

# A target without holes gets none: the space was reserved for it.
dd if=/dev/urandom of=t0 bs=65536 count=33 conv=notrunc status=none
truncate -s 2097664 t0
blocks=$(stat -c %b t0)
restore 0 "zeroes into a file without holes" 'skip=drive-scsi1\n1:drive-scsi0=t0\nskip=vmstate'
check "it is the same" cmp t0 want/disk-drive-scsi0.raw
check "and keeps its space" test "$(stat -c %b t0)" -ge "$blocks"
rm -r got

printf 'QFI\373' | dd of=t0 conv=notrunc status=none
restore 0 "over another format if it is said to be raw" \
	'skip=drive-scsi1\nformat=raw:1:drive-scsi0=t0\nskip=vmstate'
rm -r got

# Seven clusters, each of which waits for the one before it.
start=$(date +%s%N)
map='throttling.bps=300000:throttling.group=a:1:drive-scsi0=t0\n'
map+='throttling.bps=300000:throttling.group=a:1:drive-scsi1=t1\ndone\n'
restore 0 "with a limit" "$map"
check "it takes its time" test $((($(date +%s%N) - start) / 1000000)) -ge 1000
rm -r got

# refused WORDS NAME MAP: nothing is left.
refused() {
	restore 1 "$2" "$3"
	check "that is told" grep -qF -e "$1" "$ERR"
	check "the directory is gone again" test ! -e got
}

cp t0 before
refused "is not in the map" "a disk that the map leaves out" '1:drive-scsi0=t0\ndone\n'
refused "no such device" "one that the archive does not have" \
	'1:drive-scsi0=t0\n1:drive-scsi1=t1\n1:other=t2\ndone\n'
refused "0: or 1: is missing" "a line that is none" 'drive-scsi0=t0\n'
refused "only format=raw" "another format" 'format=qcow2:1:drive-scsi0=t0\n'
cp t0 image
printf 'QFI\373' | dd of=image conv=notrunc status=none
refused "is a qcow2 image" "one that is there, and nobody says what it is" \
	'skip=drive-scsi1\n1:drive-scsi0=image\nskip=vmstate'
truncate -s 1000000 small
refused "1048576 are needed" "a target that is too small" 'skip=drive-scsi0\n1:drive-scsi1=small\n\n'
truncate -s $((1048576 + 4194305)) small
refused "at most 4194304 more" "one that is too large" 'skip=drive-scsi0\n1:drive-scsi1=small\n\n'
refused "would both go" "two disks in one place" '1:drive-scsi0=t0\n1:drive-scsi1=./t0\n\n'
ln -s t0 link
ln t0 hard
refused "would both go" "one of them by a symbolic link" '1:drive-scsi0=t0\n1:drive-scsi1=link\n\n'
refused "would both go" "one of them by a hard link" '1:drive-scsi0=t0\n1:drive-scsi1=hard\n\n'
check "no target was touched" cmp t0 before
# As large as a disk, in what follows its last extent.
cp a.vma.zst kept.zst
truncate -s 1048576 a.vma.zst
cp a.vma.zst before
refused "is the archive" "the archive itself" 'skip=drive-scsi0\n1:drive-scsi1=a.vma.zst\n\n'
check "which was not touched" cmp a.vma.zst before
mv kept.zst a.vma.zst

# --- damage in the middle ---

head -c -20 a.vma | zstd -q >cut.zst
mv cut.zst a.vma.zst
cp t0 b0
cp t1 b1
restore 3 "a damaged archive" '1:drive-scsi0=t0\n1:drive-scsi1=t1\ndone\n'
# How much that is depends on how soon the writers get a processor; it may be nothing.
untouched_or_named() {
	(cmp -s t0 b0 && cmp -s t1 b1) || grep -q "overwritten in part" "$ERR"
}
check "what was overwritten is named" untouched_or_named
check "the directory is gone then, too" test ! -e got
