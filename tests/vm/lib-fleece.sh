# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks with fleece devices, devices that misbehave on demand, and sessions that
# read when they are told to.  Sourced after lib.sh.

BURST=$BED_BUILD/tests/burst
ABUSE=$BED_BUILD/tests/ioctl-abuse
export BURST ABUSE

# Bytes per chunk, as long as the table line says nothing else.
CHUNK=65536
export CHUNK

# Seconds for what happens behind one's back: the last discards of a session,
# the state after its end.  Emulated machines are slow.
SETTLE=15

# --- status ---

# field DISK KEY: the word after KEY in its status line; "vmabackup" has the state.
field() {
	local words i

	read -ra words <<<"$(dm_status "$1")"
	for ((i = 0; i < ${#words[@]}; i++)); do
		if [ "${words[i]}" = "$2" ]; then
			printf '%s\n' "${words[i + 1]}"
			return
		fi
	done
	return 1
}

# field_is DISK KEY VALUE
field_is() {
	[ "$(field "$1" "$2")" = "$3" ]
}

# field_above DISK KEY NUMBER
field_above() {
	[ "$(field "$1" "$2")" -gt "$3" ]
}

# left DISK: chunks that are still needed.
left() {
	local words

	read -ra words <<<"$(dm_status "$1")"
	printf '%s\n' "${words[5]%/*}"
}

# reason DISK: the word, the errno and the sector.
reason() {
	dm_status "$1" | sed 's/.* reason //'
}

# --- devices ---

# disk NAME ORIGIN [FEATURES...]: as vmabackup_on, instead of the NAME that there was.
disk() {
	local name=$1 origin=$2

	shift 2
	[ ! -e "/dev/mapper/$name" ] || dmsetup remove --retry "$name"
	dmsetup create "$name" \
		--table "0 $(blockdev --getsz "$origin") vmabackup $origin${*:+ $*}"
	at_exit "[ ! -e /dev/mapper/$name ] || dmsetup remove --retry $name"
}

# piece NAME DEVICE START SECTORS: /dev/mapper/NAME
piece() {
	dm_create "$1" "0 $4 linear $2 $3"
}

# in_memory NAME SIZE [LOSETUP-ARGUMENT...]: a loop device on a file in memory that takes
# only what was written and not discarded; its path in the variable NAME.
in_memory() {
	local name=$1 loop

	truncate -s "$2" "$WORK/$name"
	shift 2
	modprobe loop
	loop=$(losetup --find --show "$@" "$WORK/$name")
	at_exit "losetup -d $loop"
	printf -v "$name" %s "$loop"
}

# memory_taken NAME: bytes that its file takes.
memory_taken() {
	echo $(($(stat -c %b "$WORK/$1") * 512))
}

takes_nothing() {
	[ "$(memory_taken "$1")" -eq 0 ]
}

# one_by_one NAME MIB SECONDS [KEY=VALUE...]: /dev/nullb_NAME takes one request at a time, that
# long for each; after 5 the kernel gives up. More of null_blk's attributes, which win, at the end.
one_by_one() {
	local dir=/sys/kernel/config/nullb/nullb_$1 key node

	modprobe null_blk nr_devices=0
	at_exit "rmmod null_blk"
	mountpoint -q /sys/kernel/config || {
		mount -t configfs none /sys/kernel/config
		at_exit "umount /sys/kernel/config"
	}
	mkdir "$dir"
	at_exit "rmdir $dir"
	for key in size="$2" blocksize=512 memory_backed=1 submit_queues=1 hw_queue_depth=1 \
		queue_mode=2 irqmode=2 completion_nsec=$(($3 * 1000000000)) "${@:4}" power=1; do
		echo "${key#*=}" >"$dir/${key%%=*}"
	done
	at_exit "echo 0 >$dir/power"
	node=/dev/nullb$(<"$dir/index")
	[ -e "/dev/nullb_$1" ] || ln -sf "$node" "/dev/nullb_$1"
	at_exit "rm -f /dev/nullb_$1"
}

# thin_pool NAME META DATA BLOCK-SECTORS [FEATURE...]: without the zeroing of new blocks.
thin_pool() {
	local name=$1 meta=$2 data=$3 block=$4

	shift 4
	modprobe dm-thin-pool
	dd if=/dev/zero of="$meta" bs=4096 count=1 oflag=direct status=none
	dm_create "$name" "0 $(blockdev --getsz "$data") thin-pool $meta $data $block 0 $((1 + $#)) skip_block_zeroing${*:+ $*}"
}

# thin POOL NAME ID SECTORS
thin() {
	dmsetup message "$1" 0 "create_thin $3"
	dm_create "$2" "0 $4 thin /dev/mapper/$1 $3"
}

# pool_used POOL: its blocks that hold something.
pool_used() {
	local words

	read -ra words <<<"$(dmsetup status "$1")"
	printf '%s\n' "${words[5]%/*}"
}

pool_empty() {
	[ "$(pool_used "$1")" = 0 ]
}

_awkward_table() {
	local device=$1 read=$2 write=$3 from=$1 to=$1

	if [ "$read" = fail ]; then
		from=/dev/mapper/nothing read=0
	fi
	if [ "$write" = fail ]; then
		to=/dev/mapper/nothing write=0
	fi
	printf '0 %s delay %s 0 %s %s 0 %s\n' "$(blockdev --getsz "$device")" "$from" "$read" \
		"$to" "$write"
}

# awkward NAME DEVICE: /dev/mapper/NAME is DEVICE, until told to behave otherwise.
awkward() {
	modprobe dm-delay
	# As large as any disk here.
	[ -e /dev/mapper/nothing ] || dm_create nothing "0 $((1 << 31)) error"
	printf -v "_awkward_$1" %s "$2"
	dm_create "$1" "$(_awkward_table "$2" 0 0)"
	# What is stuck would keep all that lies above.
	at_exit "dmsetup resume $1"
}

# behave NAME READ WRITE: each is "fail", or how many milliseconds it takes.
behave() {
	local device=_awkward_$1

	dmsetup load "$1" --table "$(_awkward_table "${!device}" "$2" "$3")"
	# Without flush: what is under way ends as it began.
	dmsetup suspend --noflush --nolockfs "$1"
	dmsetup resume "$1"
}

# --- the disk d, 8 MiB ---

# d_on_awkward_fleece: it can be told how its fleece device behaves.
d_on_awkward_fleece() {
	piece origin /dev/vda 0 16384
	piece store /dev/vdb 0 16384
	awkward fleece /dev/mapper/store
	disk d /dev/mapper/origin 2 fleece /dev/mapper/fleece
}

# fill_d: with ones; what is in it then is in $WORK/before.
fill_d() {
	"$BURST" write /dev/mapper/d 1 0 1048576 8 1048576 >/dev/null
	dd if=/dev/mapper/d of="$WORK/before" bs=1M iflag=direct status=none
}

# check_over NAME: the session is gone and held nothing.
check_over() {
	check "$1: the disk is idle" wait_for "$SETTLE" field_is d vmabackup idle
	check_eq "$1: nothing is held, copied or stored" \
		"$(field d held) $(field d copying) $(field d fleece_used)" "0 0 0"
}

# check_complete NAME: a session that writes $WORK/image, from fill_d on, gets all.
check_complete() {
	session_end
	check_eq "$1: the reader gets all" "$session_status" 0
	check "$1: as it was" cmp "$WORK/before" "$WORK/image"
	check_over "$1"
}

# --- sessions ---

# session_start OPTION... DISK...: of ioctl-abuse drain; armed, but it reads nothing.
session_start() {
	rm -f "$WORK/session-armed" "$WORK/session-go"
	"$ABUSE" drain --ready-file "$WORK/session-armed" --go-file "$WORK/session-go" "$@" \
		>"$WORK/session.json" 2>"$WORK/session.err" &
	session_pid=$!
	at_exit "kill -9 $session_pid 2>/dev/null || true"
	wait_for_file 30 "$session_pid" "$WORK/session-armed" || {
		cat "$WORK/session.json" "$WORK/session.err"
		return 1
	}
}

# session_end: reads all that there is to read; its exit status is in session_status: 0 if it
# got everything.
session_end() {
	touch "$WORK/session-go"
	session_status=0
	wait "$session_pid" || session_status=$?
}

# session_kill: as a crash would.
session_kill() {
	kill -9 "$session_pid"
	# Not a line about it.
	wait "$session_pid" 2>/dev/null || true
}

# session_said KEY: of its last STATUS.
session_said() {
	python3 -c '
import json, sys
for line in open(sys.argv[1]):
    if line.startswith("{"):
        print(json.loads(line)[sys.argv[2]])
' "$WORK/session.json" "$1"
}

# burst_start FILE ARGUMENT...: in the background; its lines go to $WORK/FILE, and when all has
# ended, its exit status to $WORK/FILE.status.
burst_start() {
	local file=$WORK/$1

	shift
	rm -f "$file.status"
	(
		trap - ERR EXIT
		set +e
		"$BURST" "$@" >"$file" 2>&1
		echo $? >"$file.status"
	) &
}

# burst FILE ARGUMENT...: not in the background; some of it may fail.
burst() {
	local file=$WORK/$1

	shift
	"$BURST" "$@" >"$file" 2>&1 || true
}

# burst_ended FILE
burst_ended() {
	[ -s "$WORK/$1.status" ]
}

# errors FILE: how often which error came, "0" being none: "2 0,14 EIO"
errors() {
	cut -d' ' -f2 "$WORK/$1" | LC_ALL=C sort | uniq -c | sed 's/^ *//' | paste -sd,
}

# quickest FILE ERROR, slowest FILE ERROR: milliseconds
quickest() {
	awk -v e="$2" '$2 == e' "$WORK/$1" | cut -d' ' -f3 | sort -n | head -n 1
}

slowest() {
	awk -v e="$2" '$2 == e' "$WORK/$1" | cut -d' ' -f3 | sort -n | tail -n 1
}
