#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whoever waits for a slot gets it when there is one for him: a write is not held up by a
# discard that waits before it and may not have the slots of the reserve; and FETCH goes on
# when a guest's copy has failed and left its slot, though nothing was delivered.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 2

cat >"$WORK/session.py" <<'PY'
import fcntl, mmap, os, struct, subprocess, sys, threading, time

CHUNK = 65536
BLKDISCARD = 0x1277
SLOTS = 4
RESERVE = 2


def ioc(nr, size):
    return 3 << 30 | size << 16 | 0xB7 << 8 | nr


class Session:
    def __init__(self, disk, on_cbw_error):
        self.fd = os.open("/dev/vmabackup", os.O_RDWR)
        disk_fd = os.open("/dev/mapper/" + disk, os.O_RDONLY)
        add = bytearray(struct.pack("iIIIQQII", disk_fd, 0, 0, 0, 0, 0, 0, 0))
        fcntl.ioctl(self.fd, ioc(1, 40), add)
        self.chunks = struct.unpack("iIIIQQII", add)[5]
        fcntl.ioctl(self.fd, ioc(2, 40), struct.pack(
            "IIIIIIIIQ", SLOTS, CHUNK, RESERVE, 0, 1, on_cbw_error, 60000, 0, 0))
        subprocess.check_call(["dmsetup", "suspend", disk])
        try:
            fcntl.ioctl(self.fd, ioc(3, 8), struct.pack("II", 0, 0))
        finally:
            subprocess.check_call(["dmsetup", "resume", disk])

    def fetch(self, first, count):
        fcntl.ioctl(self.fd, ioc(4, 32), struct.pack("IIQQQ", 0, 0, first, count, 0))

    def reap(self, releases, most):
        """Slots and chunks, all that there are."""
        slots = (struct.pack(f"{len(releases)}I", *releases) or bytes(4))
        give = mmap.mmap(-1, 4096)
        give[:len(slots)] = slots
        take = mmap.mmap(-1, 4096)
        arg = bytearray(struct.pack("QQIIIIII", address(give), address(take), len(releases),
                                    most, 0, 0, 1, 0))
        try:
            fcntl.ioctl(self.fd, ioc(6, 40), arg)
        except BlockingIOError:
            return []
        n = struct.unpack("QQIIIIII", arg)[4]
        return [struct.unpack_from("IIQII", take, i * 24)[1:3] for i in range(n)]


def address(memory):
    import ctypes
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Request(threading.Thread):
    def __init__(self, disk, chunk, discard=False):
        super().__init__(daemon=True)
        self.fd = os.open("/dev/mapper/" + disk, os.O_RDWR | os.O_DIRECT)
        self.chunk, self.discard, self.error = chunk, discard, None
        self.start()

    def run(self):
        try:
            if self.discard:
                fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", self.chunk * CHUNK, CHUNK))
            else:
                data = mmap.mmap(-1, 4096)
                data[:4] = b"new!"
                os.pwritev(self.fd, [data], self.chunk * CHUNK)
            self.error = 0
        except OSError as e:
            self.error = e.errno

    def ends(self, seconds):
        self.join(seconds)
        return not self.is_alive()


def until(what, condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit("never: " + what)
        time.sleep(0.05)


def held(disk):
    words = subprocess.check_output(["dmsetup", "status", disk], text=True).split()
    return int(words[words.index("held") + 1])


def discard_before_write(disk):
    session = Session(disk, 1)
    first = [Request(disk, chunk) for chunk in range(SLOTS)]
    until("all slots used", lambda: all(r.ends(0) for r in first))
    discard = Request(disk, 10, discard=True)
    until("a discard waits", lambda: held(disk) == 1)
    write = Request(disk, 11)
    until("a write waits behind it", lambda: held(disk) == 2)
    mine = session.reap([], SLOTS)
    assert len(mine) == SLOTS, mine
    session.reap([mine[0][0]], 0)
    assert write.ends(8) and write.error == 0, "the write has not got the slot"
    assert not discard.ends(0), "the discard has it"
    session.reap([slot for slot, _ in mine[1:]], 0)
    assert discard.ends(20) and discard.error == 0, "the discard has got none"


def load(device, table):
    subprocess.run(["dmsetup", "reload", device], input=table, text=True, check=True)
    subprocess.check_call(["dmsetup", "resume", "--noflush", device])


def drain(session, wanted):
    mine = []
    end = time.monotonic() + 30
    while wanted or mine:
        assert time.monotonic() < end, f"FETCH stands still, {len(wanted)} chunks are left"
        mine = session.reap([slot for slot, _ in mine], SLOTS)
        for _, chunk in mine:
            wanted.remove(chunk)
        if not mine:
            time.sleep(0.05)


def failed_copy(disk, origin, good, bad):
    session = Session(disk, 2)
    subprocess.check_call(["dmsetup", "suspend", "--noflush", "--nolockfs", origin])
    writes = [Request(disk, chunk) for chunk in (5, 6)]
    until("two writes wait", lambda: held(disk) == 2)
    # Only the reserve is left, so nothing is read.
    session.fetch(0, 5)
    load(origin, bad)
    assert all(w.ends(20) and w.error == 5 for w in writes), "the writes did not fail"
    drain(session, set(range(5)))
    load(origin, good)
    session.fetch(0, session.chunks)
    drain(session, set(range(5, session.chunks)))


if sys.argv[1] == "discard":
    discard_before_write("d0")
else:
    failed_copy("d1", "origin", sys.argv[2], sys.argv[3])
PY

load_target
piece below /dev/vda 0 4096
vmabackup_on d0 /dev/mapper/below
check "a write does not wait for the discard before it" python3 "$WORK/session.py" discard

# Chunks 5 and 6 can't be read for a while.
good="0 4096 linear /dev/vdb 0"
bad="0 640 linear /dev/vdb 0
640 256 error
896 3200 linear /dev/vdb 896"
dm_create origin "$good"
vmabackup_on d1 /dev/mapper/origin
check "FETCH goes on after guests' copies have failed" python3 "$WORK/session.py" failed "$good" "$bad"
