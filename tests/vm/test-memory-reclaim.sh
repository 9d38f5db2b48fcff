#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Guest writes, held and let go, where there is no memory: writers in a cgroup
# with next to none, a host that is out of memory again and again, and swap on
# a disk that is being backed up.  Nothing hangs, nothing is lost, the backup
# is exact.
# needs: disks=2x256M timeout=1200
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 17

# Seconds that a machine may stand still, emulated beside others, while it clears and looks
# through its memory: 120 were seen. The kernel takes no more than that for its own.
STANDSTILL=300

size=49152
load_target
mkdir "$WORK/cg"
mount -t cgroup2 none "$WORK/cg"
at_exit "umount $WORK/cg"
echo +memory >"$WORK/cg/cgroup.subtree_control"
# cgroup NAME MAX: for in_cgroup; processes in it are moved out at exit.
cgroup() {
	mkdir "$WORK/cg/$1"
	echo "$2" >"$WORK/cg/$1/memory.max"
	at_exit "rmdir $WORK/cg/$1"
}
in_cgroup() {
	local name=$1

	shift
	# shellcheck disable=SC2016 # the other shell expands them
	bash -c 'echo $$ >"$0"; exec "$@"' "$WORK/cg/$name/cgroup.procs" "$@"
}

# Takes memory and looks after what it put there: hog MIB UNTIL [OOM-SCORE], that long in
# seconds or until there is that file.  0 MiB: all.
cat >"$WORK/hog.py" <<'PY'
import mmap, os, struct, sys, time
mib, until = int(sys.argv[1]), sys.argv[2]
if len(sys.argv) > 3:
    open("/proc/self/oom_score_adj", "w").write(sys.argv[3])
while not mib:
    # Enough to run out: the kernel fills it.
    mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE |
              0x4000)	# MAP_NORESERVE
parts = []
n = 0
while n < mib:
    parts.append(mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    parts[-1].write(struct.pack("Q", n * 0x9e3779b97f4a7c15 % (1 << 64)) * (1 << 17))
    n += 1
open("/dev/stdout", "w").write("full\n")
end = None if until.startswith("/") else time.monotonic() + float(until)
while True:
    for k, part in enumerate(parts):
        if part[:] != struct.pack("Q", k * 0x9e3779b97f4a7c15 % (1 << 64)) * (1 << 17):
            sys.exit(f"MiB {k} has changed")
    if os.path.exists(until) if end is None else time.monotonic() > end:
        break
PY

dm_create fleece "0 $size linear /dev/vda $size"
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/mapper/fleece"
# begin OPTION...: a load on d0, and a session that takes its time.
begin() {
	rm -f "$WORK/stop" "$WORK/ready" "$WORK/armed" "$WORK/go" "$WORK/log"
	"$@" "$TOOLS/guestload" --seed 9 --threads 4 --fill-percent 60 --stop-file "$WORK/stop" \
		--ready-file "$WORK/ready" --deadline $STANDSTILL --verify --log "$WORK/log" "${load_options[@]}" \
		/dev/mapper/d0 >"$WORK/load" 2>&1 &
	load=$!
	wait_for_file 100 "$load" "$WORK/ready"
	"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 4 --batch 4 --delay-us 15000 --out "$WORK/image" \
		--ready-file "$WORK/armed" --go-file "$WORK/go" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
	drain=$!
	# It is over soon once it reads: not before it was seen.
	wait_for_file 60 "$drain" "$WORK/armed"
	touch "$WORK/go"
}
finish() {
	check_wait "$1: the session gets everything" "$drain"
	diag "$(tail -n 1 "$WORK/drain")"
	touch "$WORK/stop"
	check_wait "$1: the guest lost nothing" "$load"
	check "$1: guest writes pushed chunks" test "$(status_number d0 guest)" -gt 0
	check "$1: what was delivered is $2" "$TOOLS/guestload" check "${@:3}" "$WORK/image"
}

# --- a writer with little memory, through the page cache ---
cgroup writer 16M
load_options=(--buffered)
begin in_cgroup writer
# The page cache writes when and in which order it likes, so the log can't judge.
finish "a small cgroup" "whole, sector by sector" --seed 9

# --- the host is out of memory ---
protected() {
	# shellcheck disable=SC2016 # the other shell expands them
	bash -c 'echo -1000 >/proc/self/oom_score_adj; exec "$@"' protected "$@"
}
# The kernel may look for the next one to kill before the hog's memory is back: neither
# the test and its runner, nor nobody, or it panics.
echo -1000 >/proc/$$/oom_score_adj
echo -1000 >"/proc/$PPID/oom_score_adj"
victims=()
for n in 1 2 3 4 5 6 7 8; do
	(
		trap - ERR EXIT
		echo 500 >"/proc/$BASHPID/oom_score_adj"
		exec sleep 1000
	) &
	victims+=($!)
done
at_exit "kill ${victims[*]} 2>/dev/null || true"
# After 21 s a kernel with several CPUs takes one for stuck.
stall=/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
if [ -e $stall ]; then
	at_exit "echo $(<$stall) >$stall"
	echo $STANDSTILL >$stall
fi
load_options=()
begin protected
for n in 1 2; do
	check_status 137 "out of memory, time $n: the hog is killed" python3 "$WORK/hog.py" 0 1 1000
done
finish "out of memory" "of one instant" --log "$WORK/log"
# The kernel shows who called when it kills; what else it said is judged.
dmesg >"$WORK/dmesg"
sed '/invoked oom-killer/,/Out of memory: Killed process/d' "$WORK/dmesg" >"$WORK/dmesg.rest"
check "the kernel complained of nothing else" "$BED_TOP/tests/vm/dmesg-scan" "$WORK/dmesg.rest"
check "and did kill" grep -q 'Out of memory: Killed process' "$WORK/dmesg"
dmesg -C
kill "${victims[@]}" 2>/dev/null || true
echo 0 >/proc/$$/oom_score_adj

# --- swap on a disk in a backup ---
# What the archive holds of it does not matter; that the host goes on does.
dm_create d1 "0 131072 vmabackup /dev/vdb"
mkswap /dev/mapper/d1 >/dev/null
swapon /dev/mapper/d1
at_exit "swapoff /dev/mapper/d1 2>/dev/null || true"
cgroup hog 24M
in_cgroup hog python3 "$WORK/hog.py" 48 "$WORK/enough" >"$WORK/hog" 2>&1 &
hog=$!
at_exit "kill $hog 2>/dev/null || true"
wait_for 60 grep -q full "$WORK/hog"
check "a backup of the disk with the swap" "$VMACTL" backup --disk a=/dev/mapper/d0 \
	--disk b=/dev/mapper/d1 --output "$WORK/archive" --slots 64 --json-summary "$WORK/summary"
diag "$(tr -d '\n' <"$WORK/summary")"
touch "$WORK/enough"
check_wait "who was swapped out finds everything there" "$hog"
check "it was swapped out during the backup" test "$(status_number d1 guest)" -gt 0
check "swap is turned off" swapoff /dev/mapper/d1
check "the archive is well-formed" "$BED_TOP/tests/oracle/vmaread.py" check "$WORK/archive"
