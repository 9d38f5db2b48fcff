#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A read of a view that was sent to the origin while the guest's write to the
# same place is about to be let go: it still returns the old data.  Once with a
# race of a second's width, and many times with narrow ones.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
rounds=${VMAB_TEST_ROUNDS:-2}
plan $((16 + rounds))

size=65536
load_target
modprobe dm-delay
dm_create slow "0 $size delay /dev/vda 0 2000 /dev/vda 0 0"

# --- a read that is slower than the copy ---
# The view's reader is in a cgroup that may read 4 KiB a second from the disk: its 16 KiB are
# on their way to the disk for four seconds.  The guest's write comes meanwhile; its chunk is
# copied at once.  If the write went then, the read would return what it wrote.
mkdir "$WORK/cg"
mount -t cgroup2 none "$WORK/cg"
at_exit "umount $WORK/cg"
echo +io >"$WORK/cg/cgroup.subtree_control"
mkdir "$WORK/cg/slow"
at_exit "rmdir $WORK/cg/slow"
read -r vda </sys/block/vda/dev
echo "$vda rbps=4096" >"$WORK/cg/slow/io.max"

noise /dev/vda $size
dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
cat >"$WORK/race.py" <<'PY'
# race.py CGROUP BEFORE FIRST "read|write OFFSET LENGTH"...: reads of the view, writes to
# the disk; the others begin when the reads that are first are under way, or a second after
# the writes that are.
import errno, mmap, os, sys, time
group, before, first = sys.argv[1:4]
before = open(before, "rb").read()
begin = time.monotonic()
pids = {}

def one(kind, offset, length):
    data = mmap.mmap(-1, length)
    if kind == "write":
        data.write(b"\xa5" * length)
        os.pwritev(os.open("/dev/mapper/d0", os.O_WRONLY | os.O_DIRECT), [data], offset)
        return 0
    view = os.open("/dev/mapper/v0", os.O_RDONLY | os.O_DIRECT)
    if group:
        open(group + "/cgroup.procs", "w").write(str(os.getpid()))
    try:
        n = os.preadv(view, [data], offset)
    except OSError as e:
        return 2 if e.errno == errno.EIO else 3
    return 0 if n == length and data[:] == before[offset:offset + length] else 1

def wait_for_reads():
    dev = os.stat("/dev/mapper/v0").st_rdev
    for _ in range(600):
        with open(f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}/inflight") as f:
            if int(f.read().split()[0]):
                return
        time.sleep(0.1)
    sys.exit("no read of the view is under way")

for wave in (True, False):
    for what in sys.argv[4:]:
        kind, offset, length = what.split()
        if (kind == first) == wave:
            pid = os.fork()
            if not pid:
                os._exit(one(kind, int(offset), int(length)))
            pids[pid] = what
    if wave and first == "read":
        wait_for_reads()
    elif wave:
        time.sleep(1)
end, status = {}, {}
while pids:
    pid, s = os.wait()
    what = pids.pop(pid)
    end[what], status[what] = time.monotonic() - begin, os.waitstatus_to_exitcode(s)
words = {0: "well", 1: "with new data", 2: "with EIO", 3: "with another error"}
for what in end:
    print(f"{what}: {words[status[what]]}, after {end[what]:.1f} s")
reads = [what for what in end if what.startswith("read")]
writes = [what for what in end if what.startswith("write")]
print("reads:", *sorted({words[status[what]] for what in reads}))
print("writes:", *sorted({words[status[what]] for what in writes}))
print("writes waited for reads:", min(end[what] for what in writes) > max(end[what] for what in reads) - 1)
PY
race() {
	python3 "$WORK/race.py" "$@" >"$WORK/race"
	diag "$(<"$WORK/race")"
}
said() {
	check "$1" grep -qx "$2" "$WORK/race"
}
chunk=65536
vmabackup_on_slow() {
	dmsetup create d0 --table "0 $size vmabackup $1 $2 fleece /dev/vdb${3:+ $3}"
	arm d0
	dmsetup create v0 --readonly --table "0 $size vmabackup-view /dev/mapper/d0"
}
at_exit "[ ! -e /dev/mapper/d0 ] || dmsetup remove --retry d0"
at_exit "drop_view v0"
vmabackup_on_slow /dev/vda 2
race "$WORK/cg/slow" "$WORK/before" read "read $((5 * chunk + 8192)) 16384" \
	"write $((5 * chunk + 8192)) 4096"
said "a read that is under way when the copy is done returns the old data" "reads: well"
said "the write goes" "writes: well"
said "after the read" "writes waited for reads: True"
check "the session has not broken" state_is d0 armed
check "the whole view is right" cmp -n $((size * 512)) /dev/mapper/v0 "$WORK/before"
check_status 1 "the disk has the new data" cmp -s -n $((size * 512)) /dev/mapper/d0 "$WORK/before"
dmsetup remove --retry v0
disarm d0
dmsetup remove d0

# The guest does not wait for longer than cbw_timeout: then it is the read that fails.
dd if="$WORK/before" of=/dev/vda bs=1M oflag=direct status=none
vmabackup_on_slow /dev/vda 4 "cbw_timeout 1000"
race "$WORK/cg/slow" "$WORK/before" read "read $((9 * chunk)) 16384" "write $((9 * chunk)) 4096"
said "no write waits for longer than cbw_timeout" "writes waited for reads: False"
said "it goes unharmed" "writes: well"
said "and the read fails" "reads: with EIO"
check "the session says why" reason_is d0 timeout
dmsetup remove --retry v0
disarm d0
dmsetup remove d0

# --- a read that begins while the chunk is being copied ---
# All reads take two seconds: the copies until 2 s, the views' until 3 s.
dd if="$WORK/before" of=/dev/vda bs=1M oflag=direct status=none
vmabackup_on_slow /dev/mapper/slow 2
race "" "$WORK/before" write "write $((5 * chunk + 8192)) 4096" "write $((9 * chunk)) $chunk" \
	"write $((20 * chunk + 4096)) $((2 * chunk))" "read $((5 * chunk + 8192)) 4096" \
	"read $((5 * chunk)) $chunk" "read $((8 * chunk + 512)) $((3 * chunk))" \
	"read $((20 * chunk)) $((4 * chunk))"
said "reads that begin during the copy return the old data" "reads: well"
said "the writes go" "writes: well"
dmsetup reload slow --table "0 $size linear /dev/vda 0"
dmsetup resume slow
check "the whole view is right" cmp -n $((size * 512)) /dev/mapper/v0 "$WORK/before"
dmsetup remove --retry v0
disarm d0
dmsetup remove d0

# --- narrow, many ---
# Readers stay close to where the guest writes.  A block of 4 KiB holds its number and the
# round in which it was written.
cat >"$WORK/narrow.py" <<'PY'
import mmap, multiprocessing, os, random, struct, sys
round, blocks, readers = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
BLOCK, CHUNK = 4096, 16

def content(block, round):
    return struct.pack("QQ", block, round) * (BLOCK // 16)

def reader(seed, where):
    view = os.open("/dev/mapper/v0", os.O_RDONLY | os.O_DIRECT)
    data = mmap.mmap(-1, BLOCK)
    rnd = random.Random(seed)
    n = 0
    while where.value < blocks:
        block = min(blocks - 1, where.value + rnd.randrange(2 * CHUNK))
        os.preadv(view, [data], block * BLOCK)
        if data[:] != content(block, round):
            print(f"block {block} of the view is", *struct.unpack("QQ", data[:16]), "not", round)
            os._exit(1)
        n += 1
    os._exit(n < 10)

where = multiprocessing.Value("q", 0, lock=False)
pids = [multiprocessing.Process(target=reader, args=(k, where)) for k in range(readers)]
for p in pids:
    p.start()
disk = os.open("/dev/mapper/d0", os.O_WRONLY | os.O_DIRECT)
data = mmap.mmap(-1, BLOCK)
for block in range(0, blocks):
    # One write per chunk is what races; the rest moves on quickly.
    if block % CHUNK not in (3, 4):
        continue
    where.value = block
    data.seek(0)
    data.write(content(block, round + 1))
    os.pwritev(disk, [data], block * BLOCK)
where.value = blocks
for p in pids:
    p.join()
sys.exit(any(p.exitcode for p in pids))
PY
cat >"$WORK/fill.py" <<'PY'
import os, struct, sys
with open("/dev/mapper/d0", "r+b", buffering=1 << 20) as disk:
    for block in range(int(sys.argv[2])):
        disk.write(struct.pack("QQ", block, int(sys.argv[1])) * 256)
    disk.flush()
    os.fsync(disk.fileno())
PY
# Reads take some milliseconds here: time for many to be under way.
dmsetup reload slow --table "0 $size delay /dev/vda 0 8 /dev/vda 0 0"
dmsetup resume slow
dmsetup create d0 --table "0 $size vmabackup /dev/mapper/slow 2 fleece /dev/vdb"
blocks=4096
for ((i = 1; i <= rounds; i++)); do
	python3 "$WORK/fill.py" $((2 * i)) $blocks
	arm d0
	dmsetup create v0 --readonly --table "0 $size vmabackup-view /dev/mapper/d0"
	check "round $i: five readers beside a writer see the instant only" \
		timeout $((250 * ${BED_SLOWNESS:-1})) python3 "$WORK/narrow.py" $((2 * i)) $blocks 5
	dmsetup remove --retry v0
	disarm d0
done
check_eq "nothing is held" "$(status_number d0 held)" 0
check_eq "every chunk was pushed" "$(status_number d0 guest)" $((blocks / 16))
check_eq "and is gone from the fleece device" "$(status_number d0 fleece_used)" 0
