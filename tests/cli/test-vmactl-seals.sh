#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is compressed is sealed: other programs take it, and a bit that they all ignore may not
# flip, nor may the file end early.
. "$(dirname "$0")/lib.sh"
plan 45

head -c 3000832 /dev/zero | openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff \
	-iv 00 2>/dev/null >noise.raw
python3 -c 'print("a line of text\n" * 400000, end="")' | head -c 5000192 >text.raw || :
"$VMACTL" create plain.vma noise=noise.raw text=text.raw
for kind in zstd:1 gzip:1 lzo; do
	"$VMACTL" create "a.${kind%:*}" --compress "$kind" noise=noise.raw text=text.raw
done

# unpacked_by FILE COMMAND...: what it makes of FILE is an archive with both disks.
unpacked_by() {
	local file=$1

	shift
	"$@" <"$file" >unpacked.vma || return
	rm -rf out
	"$VMACTL" extract unpacked.vma out && cmp out/disk-noise.raw noise.raw &&
		cmp out/disk-text.raw text.raw
}
check "zstd -d takes it" unpacked_by a.zstd zstd -q -d -c
check "zstd -t, with the window that Proxmox allows" zstd -q -t --memory=128MiB <a.zstd
check "pzstd takes it" unpacked_by a.zstd pzstd -q -d -c
check "pzstd -t does" pzstd -q -t a.zstd
check "zcat takes it" unpacked_by a.gzip zcat
check "gzip -t does" gzip -t <a.gzip
check "python's gzip, too" unpacked_by a.gzip \
	python3 -c 'import gzip, sys; sys.stdout.buffer.write(gzip.open(sys.stdin.buffer).read())'
check "lzop -d takes it" unpacked_by a.lzo lzop -q -d -c
check "lzop -t does" lzop -q -t <a.lzo

for kind in zstd gzip lzo; do
	vmactl 0 "$kind: verified" verify a.$kind
	vmactl 0 "$kind: and from a pipe" verify - < <(cat a.$kind)
done
check "zstd: read at any place" cmp <("$VMACTL" cat a.zstd --disk text) text.raw

# Their first seals end there, before anything of the archive.
for kind in zstd:32 gzip:50; do
	head -c "${kind#*:}" "a.${kind%:*}" >f
	vmactl 3 "${kind%:*}: cut right behind the first seal" verify f
	stderr_has "which is a place of the file" "is missing (byte ${kind#*:} of the file)"
done
rm f

# flip FILE OFFSET MASK: into f.
flip() {
	python3 - "$@" <<-'END'
		import sys
		data = bytearray(open(sys.argv[1], "rb").read())
		data[int(sys.argv[2])] ^= int(sys.argv[3])
		open("f", "wb").write(data)
	END
}

# The unused bit of the first frame's descriptor, behind the first seal; all still unpack it.
flip a.zstd 36 16
check "zstd -t ignores an unused bit of a frame" zstd -q -t <f
vmactl 3 "verify does not" verify f
stderr_has "says that the data is intact" "data is intact"
check "and where" grep -Eq "bytes 32-[0-9]+ of the file" "$ERR"
vmactl 3 "nor does cat" cat f --disk noise
stderr_has "which names its bytes, too" "bytes 32-"
# The time in the first member's header.
flip a.gzip 54 1
check "gzip -t ignores the time in a member's header" gzip -t <f
vmactl 3 "verify does not" verify f
stderr_has "says that the data is intact" "data is intact"
# The flags of the seek table; the kind of its skippable frame.
size=$(stat -c %s a.zstd)
flip a.zstd $((size - 5)) 1
check "zstd -t ignores the seek table" zstd -q -t <f
vmactl 3 "verify does not" verify f
stderr_has "and names it" "seek table"
# The first seal.
for at in 0 5 9 12 20 31; do
	flip a.zstd $at 4
	vmactl 3 "the first seal, byte $at" verify f
done

# --- cuts where every other program sees a whole file ---

seal=$(python3 -c 'import sys; d = open("a.zstd", "rb").read(); print(d.rindex(b"VMsl") + 24)')
head -c "$seal" a.zstd >./cut
check "zstd -t takes a file without its seek table" zstd -q -t <./cut
vmactl 3 "verify does not" verify cut
stderr_has "it is truncated" "truncated"
head -c -50 a.gzip >./cut
check "gzip -t takes a file without its last seal" gzip -t <./cut
vmactl 3 "verify does not" verify cut
stderr_has "it is truncated" "truncated"
(cat a.zstd; zstd -q -c </dev/null) >./more
vmactl 3 "a frame behind the end" verify more
