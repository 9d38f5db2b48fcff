#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "extract ARCHIVE DIR": all of the content under DIR, or nothing at all anywhere.
. "$(dirname "$0")/lib.sh"
plan 53

make_good_archive good.vma want
vmactl 0 "a good archive" extract good.vma got
check "gives every byte of every file, and no other file" diff -r want got
check "to nobody else" test "$(stat -c %a got got/disk-drive-scsi0.raw got/qemu-server.conf | tr '\n' ' ')" = \
	"700 600 600 "
directory_holds "nothing but the directory appears" good.vma want got

vmactl 1 "the same again" extract good.vma got
stderr_has "is refused, since it exists" "got exists"
check "and nothing was changed" diff -r want got
vmactl 0 "with slashes after the name, from standard input" extract - got2/// <good.vma
check "likewise" diff -r want got2
zstd -q good.vma -o good.vma.zst
vmactl 0 "compressed, to an absolute path" extract good.vma.zst "$PWD/got3"
check "likewise" diff -r want got3
mkdir -p some/where
vmactl 0 "to a place further down" extract good.vma some/where/got
check "likewise" diff -r want some/where/got
rm -r got got2 got3 some

ln -s nowhere link
vmactl 1 "a link to nowhere exists, too" extract good.vma link
rm link
vmactl 1 "no directory to put it into" extract good.vma none/got
vmactl 1 "an empty name" extract good.vma ""
vmactl 1 "a name that is no name" extract good.vma ./..
vmactl 2 "neither a directory nor --to" extract good.vma
vmactl 2 "both" extract good.vma got --to drive-scsi0=x
directory_holds "nothing is left of all these" good.vma good.vma.zst want

# --- what is written ---

make_archive sparse.vma sparse.want <<-'END'
	device 1 67108864 a
	zeroes 1 0 1000
	cluster 1 1001 0100 77
	zeroes 1 1002 1023
END
vmactl 0 "a disk that is nearly all zero" extract sparse.vma sparse
check "has every byte" cmp sparse.want/disk-a.raw sparse/disk-a.raw
check "and takes little room" test "$(stat -c %b sparse/disk-a.raw)" -le 256

make_archive state.vma state.want <<-'END'
	device 1 66048 vmstate
	cluster 1 0 ffff 01
	cluster 1 1 ffff 02
END
vmactl 0 "a VM's memory" extract state.vma state
check "is called vmstate.bin, and ends where it should" diff -r state.want state

vmactl 0 "all but one disk" extract good.vma part --skip drive-scsi0
directory_holds "goes into a directory, too" good.vma good.vma.zst want \
	part sparse.vma sparse.want sparse state.vma state.want state
check "without that disk" test "$(cd part && echo *)" = \
	"disk-drive-virtio1.raw qemu-server.conf qemu-server.fw"
vmactl 2 "a disk to skip that is not there" extract good.vma got --skip drive-scsi9
rm -r part sparse sparse.vma sparse.want state state.vma state.want

# --- what is refused leaves nothing ---

refuses() {
	local status=$1 name=$2

	rm -f a.vma
	make_archive a.vma
	vmactl "$status" "$name" extract a.vma got
}

refuses 3 "a missing cluster" <<-'END'
	config qemu-server.conf x
	device 1 131072 a
	cluster 1 1 ffff 01
END
refuses 3 "a cluster that comes twice" <<-'END'
	device 1 65536 a
	cluster 1 0 ffff 01
	cluster 1 0 ffff 02
END
refuses 3 "an archive cut off" <<-'END'
	device 1 65536 a
	cluster 1 0 ffff 01
	cut 1
END
refuses 3 "a configuration that would land above" <<<'config ../above x'
refuses 3 "a configuration with an absolute path" <<<"config $PWD/above x"
refuses 3 "a configuration that is the directory" <<<'config .. x'
refuses 3 "a disk that would land above" <<<'device 1 512 /../../above'
refuses 1 "a configuration with the name of a disk" <<-'END'
	config disk-a.raw x
	device 1 512 a
	zero 1 0
END
stderr_has "is named" '"disk-a.raw"'
refuses 1 "a name that is too long with what is added to it" <<-END
	device 1 512 $(printf 'x%.0s' {1..250})
	zero 1 0
END
head -c -3 good.vma.zst >cut.zst
vmactl 3 "a compressed archive cut off" extract cut.zst got
directory_holds "of none of them is anything left" good.vma good.vma.zst want a.vma cut.zst
check "nor elsewhere" test ! -e ../above

# Hostile names within the directory: there is nothing special about them.
rm a.vma
make_archive a.vma <<'END'
config -rf x
config a\x0ab x
device 1 512 --help
zero 1 0
END
vmactl 0 "strange names" extract a.vma strange
check "are names" test "$(find strange -type f -printf '%f|' | tr '\n' '?' | tr '|' '\n' | sort | tr '\n' '|')" = \
	"-rf|a?b|disk---help.raw|"
rm -r strange a.vma cut.zst

# --- no room ---

status=0
(ulimit -f 40 && exec "$VMACTL" extract good.vma got >"$OUT" 2>"$ERR") || status=$?
check "a file that may not grow so large is a failure" test "$status" -eq 1
stderr_has "which is told" "disk-drive-scsi0.raw"

# --- signals ---

# The writer of the archive stops in the middle and keeps the pipe open.
mkfifo pipe
"$VMACTL" extract pipe got 2>"$ERR" &
pid=$!
exec 9>pipe
head -c 14000 good.vma >&9
for ((i = 0; i < 100; i++)); do
	compgen -G 'got.tmp-*' >/dev/null && break
	sleep 0.1
done
check "while it runs there is a temporary directory" test -d "got.tmp-$pid"
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
exec 9>&-
rm pipe
check "SIGTERM ends it with its own exit status" test "$status" -eq 5
directory_holds "and nothing is left" good.vma good.vma.zst want

# ready PID: it looks at signals, so that SIGTERM does not just kill it. Before it is vmactl it
# is a shell, which blocks SIGTERM for a moment as well.
ready() {
	local pid=$1 i mask

	for ((i = 0; i < 100; i++)); do
		if [ "/proc/$pid/exe" -ef "$VMACTL" ]; then
			mask=$(sed -n 's/^SigBlk:[[:space:]]*//p' "/proc/$pid/status")
			[ $((0x$mask >> 14 & 1)) -eq 0 ] || return 0
		fi
		sleep 0.1
	done
	return 1
}

mkfifo pipe
"$VMACTL" extract pipe got 2>"$ERR" &
pid=$!
check "a pipe that nobody writes to is waited for" ready "$pid"
kill -TERM "$pid"
for ((i = 0; i < 100; i++)); do
	kill -0 "$pid" 2>/dev/null || break
	sleep 0.1
done
kill -KILL "$pid" 2>/dev/null || true
status=0
wait "$pid" || status=$?
check "and a signal ends that, too" test "$status" -eq 5

(trap '' HUP INT && exec "$VMACTL" extract pipe got 2>"$ERR") &
pid=$!
exec 9>pipe
ready "$pid"
kill -HUP "$pid"
kill -INT "$pid"
status=0
cat good.vma >&9 || status=$?
exec 9>&-
wait "$pid" || status=$?
rm pipe
check "signals that are ignored, as nohup does it, do not end it" test "$status" -eq 0
check "which has all of the content" diff -r want got
rm -rf got
