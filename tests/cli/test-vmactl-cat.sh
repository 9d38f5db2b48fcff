#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "cat" and "index": any range of any disk, with an index and without, and no index is
# believed that is damaged or of another archive.
. "$(dirname "$0")/lib.sh"
plan 128

# ranges ARCHIVE ARGUMENT...: both disks, and some ranges of them, are what they must be.
ranges() {
	local archive=$1 disk range

	shift
	for disk in drive-scsi0 drive-virtio1; do
		"$VMACTL" cat "$archive" --disk $disk "$@" >all || return 1
		cmp all "good/disk-$disk.raw" || return 1
	done
	for range in 0,512 4095,2 61440,70000 131583,1 131584,0; do
		"$VMACTL" cat "$archive" --disk $disk --offset ${range%,*} \
			--length ${range#*,} "$@" >part || return 1
		cmp -i ${range%,*}:0 -n ${range#*,} all part || return 1
		[ "$(stat -c %s part)" -eq ${range#*,} ] || return 1
	done
}

make_good_archive good.vma good
check "without an index" ranges good.vma
vmactl 0 "makes an index" index good.vma
stdout_has "says where" "good.vma.idx: "
directory_holds "beside the archive" good.vma good.vma.idx good all part
check "with the index" ranges good.vma
cp good.vma.idx kept
vmactl 0 "one that fits" index good.vma
stdout_has "is kept" "fits the archive already"
check "as it is" cmp kept good.vma.idx
mv good.vma.idx elsewhere
check "an index from elsewhere" ranges good.vma --index elsewhere
vmactl 0 "made twice" index good.vma
check "is the same" cmp kept good.vma.idx

# --- compressed ---

for frame in 512 5000 65536 1000000; do
	python3 "$CLI_DIR/seekable.py" good.vma "s$frame.vma.zst" $frame
	check "zstd in frames of $frame bytes" ranges "s$frame.vma.zst"
	check "is nothing special to others" sh -c "zstd -dc s$frame.vma.zst | cmp - good.vma"
done
python3 "$CLI_DIR/seekable.py" good.vma odd.vma.zst 3000 checksums empty skip
check "with checksums, empty and skippable frames" ranges odd.vma.zst
vmactl 0 "indexed" index odd.vma.zst
check "the same" ranges odd.vma.zst
vmactl 0 "others read it from the beginning" verify odd.vma.zst

# --- refused ---

# refuses STATUS NAME TEXT ARGUMENT...
refuses() {
	local status=$1 name=$2 text=$3

	shift 3
	vmactl "$status" "$name" "$@"
	stderr_has "says \"$text\"" "$text"
}

# Good archives that are beyond a limit: that is not the status of damage.
yes "a line of text" | head -c 70M >text.raw || :
"$VMACTL" create large.vma text=text.raw
python3 "$CLI_DIR/seekable.py" large.vma large.vma.zst 80000000
refuses 1 "a frame above 64 MiB" "decompress it first" cat large.vma.zst --disk text
refuses 1 "for an index as well" "decompress it first" index large.vma.zst
vmactl 0 "while it is good" verify large.vma.zst
zstd -q --long=30 <large.vma >window.vma.zst
for command in list verify info; do
	refuses 1 "a window above 128 MiB: $command" "compress it again without --long" \
		"$command" window.vma.zst
done
refuses 1 "a window above 128 MiB: salvage" "compress it again without --long" \
	extract --salvage window.vma.zst windowed
check "and nothing was made of it" test ! -e windowed
rm text.raw large.vma large.vma.zst window.vma.zst

zstd -q good.vma -o plain.vma.zst
refuses 1 "zstd without a seek table" "without a seek table" cat plain.vma.zst --disk drive-scsi0
gzip -c good.vma >good.vma.gz
refuses 1 "gzip" "compressed with gzip" index good.vma.gz
mkfifo fifo
refuses 1 "a pipe" "is not a file" cat fifo --disk drive-scsi0
refuses 1 "what is not there" "No such file" cat nothing --disk drive-scsi0
refuses 3 "what is no archive" "not a VMA archive" cat kept --disk drive-scsi0
refuses 2 "no disk at all" "--disk is missing" cat good.vma
vmactl 2 "standard input" index -
vmactl 2 "a strange offset" cat good.vma --disk drive-scsi0 --offset 1X
vmactl 2 "a huge offset" cat good.vma --disk drive-scsi0 --offset 18446744073709551615T
status=0
"$VMACTL" cat good.vma --disk nothing >"$OUT" 2>"$ERR" || status=$?
check "an unknown disk" test "$status" -eq 2
stderr_has "is named" 'no disk called "nothing"'
status=0
"$VMACTL" cat good.vma --disk drive-scsi0 --offset 200000 --length 1000 >"$OUT" 2>"$ERR" ||
	status=$?
check "a range past the end" test "$status" -eq 2
stderr_has "is told the size" "has only 200704 bytes"

cat >one <<-'END'
	device 1 196608 a
	cluster 1 0 0003 11
	extent
	zero 1 1
END
{ cat one; echo zero 1 1; } | make_archive twice.vma
refuses 3 "a cluster that comes twice" "comes twice" index twice.vma
make_archive missing.vma <one
refuses 3 "a cluster that is missing" "lacks 1 of 3 clusters" cat missing.vma --disk a
{ cat one; echo zero 1 2; echo cut 1; } | make_archive cut.vma
refuses 3 "an extent cut off" "truncated" index cut.vma
{ cat one; echo zero 2 2; } | make_archive unknown.vma
refuses 3 "an unknown device" "unknown device 2" index unknown.vma
directory_holds "nothing is left of them" good.vma good.vma.idx good all part kept elsewhere \
	s512.vma.zst s5000.vma.zst s65536.vma.zst s1000000.vma.zst odd.vma.zst odd.vma.zst.idx \
	plain.vma.zst good.vma.gz fifo one twice.vma missing.vma cut.vma unknown.vma

# --- an index that does not fit ---

# What is beside good.vma is no harm: the disk is right all the same.
beside() {
	"$VMACTL" cat good.vma --disk drive-scsi0 >part 2>"$ERR" &&
		cmp part good/disk-drive-scsi0.raw
}

cp odd.vma.zst.idx good.vma.idx
check "an index of another file is not used" beside
stderr_has "and that is said" "good.vma.idx: not used: the index is of another archive"
refuses 1 "nor if it is asked for" "of another archive" \
	cat good.vma --disk drive-scsi0 --index odd.vma.zst.idx
vmactl 0 "it is replaced" index good.vma
check "by the right one" cmp kept good.vma.idx
head -c 100 kept >good.vma.idx
check "a short one is not used" beside
stderr_has "and that is said" "damaged index: it is too short"
cp good.vma.idx short
refuses 1 "nor if it is asked for" "vmactl: short: not used: damaged index: it is too short; without" \
	cat good.vma --disk drive-scsi0 --index short
refuses 1 "one that is not there" "vmactl: none: not used: cannot open the index" \
	cat good.vma --disk drive-scsi0 --index none
head -c -1 good.vma >cut.vma
vmactl 3 "an archive that is damaged is none the less" cat cut.vma --disk drive-virtio1
head -c 5000 good.vma >cut.vma
vmactl 3 "with an index, too" cat cut.vma --disk drive-virtio1 --index kept
vmactl 0 "but replaced" index good.vma

# One byte of a page: of the clusters of a device, which come first, and of the extents.
directory=$((16#$(od -An -tx1 -j $(($(stat -c %s kept) - 152 + 56)) -N 8 kept | tr -d ' ')))
for at in 24 $((directory - 4)); do
	cp kept good.vma.idx
	printf '\245\245' | dd of=good.vma.idx bs=1 seek=$at conv=notrunc status=none
	cp good.vma.idx rotten
	check "byte $at of an index is wrong: it is not used" beside
	stderr_has "and that is said" "good.vma.idx: not used: damaged index"
	refuses 1 "nor if it is asked for" "vmactl: rotten: not used: damaged index" \
		cat good.vma --disk drive-scsi0 --index rotten
	vmactl 0 "the rest is told" info good.vma
	stdout_has "and that it is not used" "damaged index"
	vmactl 0 "it does not fit" index good.vma
	check "and is replaced" cmp kept good.vma.idx
done
echo "my notes on this archive" >good.vma.idx
refuses 1 "what is no index is not replaced" "is not an index" index good.vma
check "not touched" grep -q notes good.vma.idx

# --- an index of the version that did not know where extents begin ---

cp kept good.vma.idx
printf '\001' | dd of=good.vma.idx bs=1 seek=11 conv=notrunc status=none
check "an index of version 1 is not used" beside
stderr_has "and that is said" "good.vma.idx: not used: index version 1 is not supported"
refuses 1 "nor if it is asked for" "only version 2 is" \
	cat good.vma --disk drive-scsi0 --index good.vma.idx
vmactl 0 "but replaced" index good.vma
check "by the right one" cmp kept good.vma.idx

# --- a bit of the data of an archive that is not compressed ---

cat >summed <<-'END'
	sums
	device 1 196608 a
	device 2 65536 b
	cluster 1 0 0003 11
	cluster 1 1 0001 12
	extent
	cluster 2 0 ffff 22
	zero 1 2
END
make_archive summed.vma good2 <summed
vmactl 0 "sums that are right" cat summed.vma --disk a
check "give the disk" cmp "$OUT" good2/disk-a.raw
vmactl 0 "indexed" index summed.vma
mv summed.vma.idx summed.idx
# 0x12 stands there.
{ cat summed; echo poke 21600 13; } | make_archive flipped.vma
for index in "" "--index summed.idx"; do
	# shellcheck disable=SC2086 # none, or two words
	refuses 3 "a flipped bit ($index)" "damaged: disk a, offset 65536, length 65536: \
its data differs from its checksum (bytes 21504-25599 of the archive)" \
		cat flipped.vma --disk a --offset 65536 $index
	check "gives nothing out" test ! -s "$OUT"
	# shellcheck disable=SC2086
	refuses 3 "the whole disk" "disk a, offset 0, length 65536: not proven" \
		cat flipped.vma --disk a $index
	# shellcheck disable=SC2086
	vmactl 0 "the other disk" cat flipped.vma --disk b $index
	check "is what it is" cmp "$OUT" good2/disk-b.raw
done
# All that comes before it, and no more: its extent is the second one.
head -c 7M /dev/urandom >long.raw
"$VMACTL" create long.vma a=long.raw
printf x | dd of=long.vma bs=1 seek=4000000 conv=notrunc status=none
refuses 3 "damage behind what is good" "disk a, offset " cat long.vma --disk a
check "which is given out" cmp "$OUT" <(head -c 3801088 long.raw)
rm long.*
vmactl 0 "what has no data" cat flipped.vma --disk a --offset 128K
# In the first extent's header, and its reserved byte.
{ cat summed; echo poke 12842 77; } | make_archive header.vma
refuses 3 "a flipped bit of a header" "disk a, offset 0: damaged: the extent at byte 12800" \
	cat header.vma --disk a --index summed.idx
