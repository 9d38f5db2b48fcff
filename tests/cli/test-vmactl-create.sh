#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "create" archives images as they are, under every compression, and its archives are good
# for others: the tests' own reader, and the decompressors themselves.
. "$(dirname "$0")/lib.sh"
plan 123

oracle() {
	python3 "$CLI_DIR/../oracle/vmaread.py" "$@" >"$OUT" 2>"$ERR"
}

# Holes, zeroes that are written, noise, and a last cluster that is short.
make_images() {
	truncate -s 9M sparse
	head -c 300000 /dev/urandom | dd of=sparse bs=64K seek=70 conv=notrunc status=none
	head -c 200000 /dev/zero | dd of=sparse bs=64K seek=20 conv=notrunc status=none
	head -c 5000 /dev/urandom | dd of=sparse bs=1 seek=9430000 conv=notrunc status=none
	head -c $((4 * 1048576 + 33 * 512)) /dev/zero |
		openssl enc -aes-128-ctr -nosalt -K 00 -iv 00 >dense 2>"$ERR"
	printf 'cores: 2\n' >qemu-server.conf
	printf '[OPTIONS]\n' >qemu-server.fw
}
make_images

for suffix in "" .zst .gz .lzo; do
	vmactl 0 "an archive called a.vma$suffix" create "a.vma$suffix" -c qemu-server.conf \
		-c ./qemu-server.fw drive-scsi0=sparse -d format=raw:drive-virtio1=dense
	check "is compressed as its name says" test \
		"$("$VMACTL" list --json "a.vma$suffix" | jq -r .compression)" = \
		"$(case $suffix in .zst) echo zstd ;; .gz) echo gzip ;; .lzo) echo lzo ;; *) echo none ;; esac)"
	vmactl 0 "is verified" verify "a.vma$suffix"
	vmactl 0 "is extracted" extract "a.vma$suffix" "got$suffix"
	check "one disk is the same" cmp sparse "got$suffix/disk-drive-scsi0.raw"
	check "the other one is" cmp dense "got$suffix/disk-drive-virtio1.raw"
	check "and the configuration" cmp qemu-server.fw "got$suffix/qemu-server.fw"
done
check "what is zero is not stored" test "$(stat -c %s a.vma)" -lt $((4 * 1048576 + 500000))

for how in "zstd -q -d -c a.vma.zst" "gzip -q -d -c a.vma.gz" "lzop -q -d -c a.vma.lzo"; do
	$how >b.vma
	check "the tests' reader takes what comes out of ${how%% *}" oracle compare b.vma \
		drive-scsi0=sparse drive-virtio1=dense
done
check "and the archive that is not compressed" oracle compare a.vma drive-scsi0=sparse \
	drive-virtio1=dense
zstd -q -l -v a.vma.zst >frames 2>&1 || true
check "zstd sees frames with checksums" grep -q XXH64 frames

# --- options ---

vmactl 0 "another compression than the name's" create --compress gzip:1 b.vma.zst x=dense
check "is used" gzip -t - <b.vma.zst
vmactl 0 "to standard output" create - x=dense
mv "$OUT" piped.vma
vmactl 0 "which can be read" verify piped.vma
vmactl 0 "without names" create c.vma sparse dense
vmactl 0 "they are" list c.vma
stdout_has "disk0" "devname: disk0"
stdout_has "and disk1" "devname: disk1"
# told STATUS ARGUMENT...: exit status, whatever is on standard error.
told() {
	local want=$1 status=0

	shift
	"$@" >"$OUT" 2>"$ERR" || status=$?
	test "$status" -eq "$want"
}
check "with progress" told 0 "$VMACTL" create -v d.vma a=sparse b=dense
stderr_has "vma's lines" "progress 100% 13648384/13648384 "
stderr_has "and the summary" "image b: size=4211200 zeros=0 saved=4211200"
vmactl 0 "configurations only" create e.vma -c qemu-server.conf
head -c 1000 dense >odd
vmactl 0 "an image that is no multiple of 512" create f.vma vmstate=odd
vmactl 0 "is filled up" extract f.vma state
truncate -s 1024 odd
check "with zeroes" cmp odd state/vmstate.bin

# --- with an index ---

for suffix in "" .zst; do
	vmactl 0 "with an index" create --index -c qemu-server.conf "i.vma$suffix" a=sparse b=dense
	check "which is there at once" test -s "i.vma$suffix.idx"
	mv "i.vma$suffix.idx" written.idx
	vmactl 0 "an index made afterwards" index "i.vma$suffix"
	check "is the same" cmp written.idx "i.vma$suffix.idx"
	rm "i.vma$suffix"
	vmactl 0 "in place of the index of an archive that is gone" create --index \
		"i.vma$suffix" a=dense
	check "it is that of the new one" test \
		"$("$VMACTL" info --json "i.vma$suffix" | jq -r .index)" = beside
done
printf 'mine' >j.vma.idx
status=0
"$VMACTL" create --index j.vma a=dense >"$OUT" 2>"$ERR" || status=$?
check "what is no index is in the way, which is no failure" test "$status" -eq 0
check "but one warning" grep -qc "^vmactl: warning: the archive gets no index: j.vma.idx exists" "$ERR"
check "and stays" test "$(cat j.vma.idx)" = mine
vmactl 0 "the archive is good" verify j.vma
vmactl 2 "gzip has no index" create --index k.vma.gz a=dense
vmactl 2 "nor has a pipe" create --index - a=dense
vmactl 1 "no index of an archive that fails" create --index k.vma a=dense b=nothing
check "is left" test -z "$(find . -name 'k.vma*' -o -name '*.tmp-*')"
rm -rf i.vma* j.vma*

# --- pipes ---

mkfifo fifo
cat fifo >from-fifo &
vmactl 0 "to a FIFO" create fifo x=dense
wait $!
vmactl 0 "which somebody reads" verify from-fifo
vmactl 0 "to a command" create "exec:cat >from-command; exit 0" x=dense
vmactl 0 "which gets all of it" verify from-command
check "one that writes to standard output" told 0 "$VMACTL" create -v exec:cat x=dense
mv "$OUT" from-command
vmactl 0 "finds nothing else there" verify from-command
vmactl 0 "one that compresses" create "exec:gzip -1 >from-command.gz" x=dense
vmactl 0 "gets what is not" verify from-command.gz
unborn=(env --ignore-signal=CHLD "$VMACTL" create)
check "a command where the ends of children are ignored" told 0 "${unborn[@]}" "exec:cat >z" x=dense
check "one that fails there" told 1 "${unborn[@]}" "exec:cat >z; exit 3" x=dense
stderr_has "is told" "exit status 3"
vmactl 1 "a command that fails" create "exec:cat >/dev/null; exit 3" x=dense
stderr_has "is told" "exit status 3"
rm z
vmactl 1 "one that reads nothing" create "exec:exit 0" x=dense y=sparse
rm -f from-*

# A FIFO is waited for once all images were looked at: then one is cut.
is_open() {
	local i

	for ((i = 0; i < 300; i++)); do
		! find "/proc/$1/fd" -lname "$PWD/$2" 2>/dev/null | grep -q . || return 0
		sleep 0.1
	done
	return 1
}

shrunk() {
	local status=0 pid

	cp dense shrinks
	"$VMACTL" create fifo x=shrinks y=sparse >"$OUT" 2>"$ERR" &
	pid=$!
	is_open $pid sparse || return 1
	truncate -s "$1" shrinks
	cat fifo >from-fifo || return 1
	wait $pid || status=$?
	test $status -eq 1
}

for size in 1048576 100 0; do
	check "an image that shrinks to $size bytes is a failure" shrunk $size
	stderr_has "which is told" "shrinks: it ends at byte $size and had 4211200 when"
done
rm -f from-* fifo

# interrupted STATUS COMMAND DO: the command, which has been given a part of the archive or all
# of it, does not go on when it may: what was begun gets no name.  All that hold the FIFO
# "alive" open belong to it.  DO is what happens once it waits for the gate.
interrupted() {
	local status=0 gone=0 pid reader i

	rm -f gate alive part whole started
	mkfifo gate alive
	# More than is read ahead.
	for i in {1..10}; do cat dense; done >shrinks
	timeout 30 cat alive >"$OUT" &
	reader=$!
	exec 3<>gate
	env --default-signal "$VMACTL" create "exec:$2" x=shrinks 2>"$ERR" 3>&- 8>alive &
	pid=$!
	for ((i = 0; i < 300; i++)); do
		[ ! -e started ] || break
		sleep 0.1
	done
	[ -e started ] || echo "# never started"
	eval "$3"
	wait $pid || status=$?
	echo go >&3
	wait $reader || gone=$?
	exec 3>&-
	[ $status -eq "$1" ] || echo "# exit status $status instead of $1"
	test $status -eq "$1" -a $gone -eq 0 -a ! -e whole
}

half='head -c 100000 >part; touch started; read -r go <gate; cat >>part; mv part whole'
# shellcheck disable=SC2016
{
	check "a command is not left with half an archive" interrupted 5 "$half" 'kill $pid'
	stderr_has "which is told" "exec:$half: interrupted by a signal"
	check "nor a subshell of it" interrupted 5 "($half); :" 'kill $pid'
	check "nor the end of a pipeline" interrupted 5 "cat | ($half)" 'kill $pid'
	check "nor by SIGQUIT" interrupted 5 "cat | ($half)" 'kill -QUIT $pid'
	check "nor by another signal" interrupted 5 "cat | ($half)" 'kill -ALRM $pid'
	check "nor by a limit of the processor's time" interrupted 5 "cat | ($half)" \
		'kill -XCPU $pid'
	check "nor one that is stopped" interrupted 5 "($half); :" \
		'kill -STOP -- -$(pgrep -P $pid); kill $pid'
	check "nor one that ignores the signal, whose shell does not" interrupted 5 \
		"(trap '' TERM; $half) | cat" 'kill $pid'
	check "nor if an image shrinks" interrupted 1 "cat | ($half)" \
		'truncate -s 0 shrinks; echo go >&3'
	check "nor does one that has it all go on" interrupted 5 \
		"(cat >part; touch started; read -r go <gate; mv part whole); :" 'kill $pid'
}
rm -f gate alive part whole started shrinks

# --- refusals: nothing is left ---

cp a.vma copy.vma
mkdir empty
cd empty
vmactl 1 "an archive that exists" create ../a.vma x=../dense
check "stays" cmp ../a.vma ../copy.vma
vmactl 1 "an image that is not there" create z.vma x=../dense y=nothing
vmactl 1 "a directory" create z.vma x=..
vmactl 2 "a device's name twice" create z.vma x=../dense x=../sparse
vmactl 2 "a device's name that cannot be" create z.vma 'a b=../dense'
vmactl 2 "a configuration's name twice" create z.vma -c ../qemu-server.conf -c ../qemu-server.conf
there() {
	"$VMACTL" create - x=../dense 2>&1
}
check "messages would go where the archive goes" told 1 there
check "which is told, and all that is written" \
	test "$(cut -d , -f 1 <"$OUT")" = "vmactl: standard output: standard error goes where standard output goes"
vmactl 2 "no name" create z.vma =../dense
vmactl 2 "nothing to put in" create z.vma
vmactl 2 "another format" create z.vma -d format=qcow2:x=../dense
printf 'QFI\373' >../image.qcow2
truncate -s 1M ../image.qcow2
vmactl 1 "a qcow2 image" create z.vma x=../image.qcow2
stderr_has "is recognised" "qcow2"
{ printf '# Disk DescriptorFile\nversion=1\n'; head -c 1000 /dev/zero; } >../image.vmdk
vmactl 1 "what only names a vmdk image" create z.vma x=../image.vmdk
stderr_has "is recognised" "vmdk"
own() {
	"$VMACTL" create - x=../own 1<>../own 2>"$ERR"
}
cp ../dense ../own
check "an archive in the place of its image" told 1 own
check "does not begin" cmp ../dense ../own
check "nothing is left of any of them" test -z "$(ls -A)"
vmactl 0 "unless it is said to be raw" create z.vma -d format=raw:x=../image.qcow2
rm z.vma
cd ..
status=0
(ulimit -f 100 && exec "$VMACTL" create big.vma x=dense 2>"$ERR") || status=$?
check "a file that may not grow is a failure" test "$status" -eq 1
check "and gone" test -z "$(find . -name 'big.vma*')"
stderr_has "that is explained" "may not grow"
