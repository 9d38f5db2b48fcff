# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper: devices by dmsetup; suspend, resume, messages and status by its ioctls,
because starting a program costs 100 ms in an emulated machine, and a guest would wait for it.
"""
import fcntl
import os
import struct
import subprocess

# struct dm_ioctl, struct dm_target_spec of linux/dm-ioctl.h
HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
SPEC = struct.Struct("=Q Q i I 16s")
VERSION = (4, 0, 0)
DEV_SUSPEND, TABLE_STATUS, TARGET_MSG = 6, 12, 14
SUSPEND_FLAG, SKIP_LOCKFS_FLAG, NOFLUSH_FLAG = 1 << 1, 1 << 10, 1 << 11
# More than a line of status needs.
ROOM = 16384


class Mapper:
    """The devices that a case made; removed in reverse order."""

    def __init__(self):
        self.fd = os.open("/dev/mapper/control", os.O_RDWR)
        self.made = []

    def call(self, number, name, flags=0, data=b""):
        buf = bytearray(ROOM)
        HEADER.pack_into(buf, 0, *VERSION, ROOM, HEADER.size, 0, 0, flags, 0, 0, 0,
                         name.encode(), b"")
        buf[HEADER.size:HEADER.size + len(data)] = data
        fcntl.ioctl(self.fd, 3 << 30 | HEADER.size << 16 | 0xFD << 8 | number, buf)
        return buf

    def create(self, name, table, readonly=False):
        subprocess.run(["dmsetup", "create", name, "--table", table]
                       + (["--readonly"] if readonly else []), check=True)
        self.made.append(name)
        return self.path(name)

    @staticmethod
    def path(name):
        return "/dev/mapper/" + name

    def load(self, name, table):
        subprocess.run(["dmsetup", "load", name, "--table", table], check=True)

    def remove(self, name):
        subprocess.run(["dmsetup", "remove", "--retry", name], check=True)
        self.made.remove(name)

    def suspend(self, name):
        """With flush, the file system not frozen: as a hypervisor's host does it."""
        self.call(DEV_SUSPEND, name, SUSPEND_FLAG | SKIP_LOCKFS_FLAG)

    def resume(self, name):
        """Swaps a loaded table in; suspends for that if need be."""
        self.call(DEV_SUSPEND, name, SKIP_LOCKFS_FLAG)

    def message(self, name, text):
        self.call(TARGET_MSG, name, data=struct.pack("=Q", 0) + text.encode() + b"\0")

    def status(self, name):
        """The words of the first target's status, without its name."""
        buf = self.call(TABLE_STATUS, name, NOFLUSH_FLAG)
        start = HEADER.unpack_from(buf)[4] + SPEC.size
        return bytes(buf[start:buf.index(0, start)]).decode().split()

    def close(self):
        for name in reversed(list(self.made)):
            self.remove(name)
        os.close(self.fd)
