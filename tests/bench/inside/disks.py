# SPDX-License-Identifier: GPL-2.0-or-later
"""Which part of which disk is what.

DISK is one disk that takes its time, as behind one volume group: the guest's volume and whatever
a snapshot, a pool or a fleece device needs beside it share its I/Os. The archive goes to another
one, which is fast, or to a slow one; neither keeps what is written.
"""
import mmap
import os
import random
import subprocess

from inside import nulldisk

DISK, ARCHIVE, SLOW_ARCHIVE = "/dev/nullb0", "/dev/nullb1", "/dev/nullb2"
# The fast archive's disk: far ahead of the other two.
ARCHIVE_NS, ARCHIVE_DEPTH = 100000, 64
NS_PER_S = 1000000000
SECTOR = 512
MIB = 1 << 20
# Beside a copy of the whole volume: 16 bytes per chunk for dm-snapshot's tables with 4 KiB
# chunks are 0.4 %.
COPY_SLACK = 32 * MIB
# A thin pool's tables: 64 bytes per block of 64 KiB are 1 MiB per GiB, thrice, for two
# volumes and copies of what is under change.
META = 32 * MIB


def disk_size(size):
    """Bytes of DISK for a volume of size bytes."""
    return 2 * size + size // 16 + COPY_SLACK + META


def archive_size(size):
    """Bytes of the archive's disk: headers are below 1 %."""
    return size + size // 16 + 16 * MIB


def make(parameters):
    """The three disks; of the first, the volume's place is filled."""
    size, request = parameters["size_bytes"], parameters["request_bytes"]
    nulldisk.one_at_a_time(0, disk_size(size), request, NS_PER_S // parameters["disk_iops"], True)
    nulldisk.create(1, size=archive_size(size) >> 20, blocksize=4096, queue_mode=2,
                    submit_queues=1, hw_queue_depth=ARCHIVE_DEPTH, irqmode=2,
                    completion_nsec=ARCHIVE_NS)
    nulldisk.one_at_a_time(2, archive_size(size), request,
                           request * NS_PER_S // parameters["slow_bps"], False)
    fill(DISK, size)


class Disks:
    def __init__(self, mapper, size):
        self.mapper = mapper
        self.size = size
        self.sectors = size // SECTOR
        beside = size + size // 16 + COPY_SLACK
        self.volume = mapper.create("volume", f"0 {self.sectors} linear {DISK} 0")
        self.beside_sectors = beside // SECTOR
        self.all_sectors = (size + beside) // SECTOR

    # Each of these is wanted by some stacks only; "beside" and "pool-data" overlap, so a
    # case has one of them.

    def beside(self):
        """For old data: a snapshot's exceptions, a fleece device."""
        return self.mapper.create(
            "beside", f"0 {self.beside_sectors} linear {DISK} {self.sectors}")

    def pool_data(self):
        """For a thin pool: all but the pool's tables, the volume's place included."""
        return self.mapper.create("pool-data", f"0 {self.all_sectors} linear {DISK} 0")

    def pool_meta(self):
        return self.mapper.create(
            "pool-meta", f"0 {META // SECTOR} linear {DISK} {self.all_sectors}")

    def archive(self, archive):
        disk = SLOW_ARCHIVE if archive == "slow" else ARCHIVE
        return self.mapper.create(
            "archive", f"0 {archive_size(self.size) // SECTOR} linear {disk} 0")


def clear_start(path):
    """So that no old header is found."""
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=64k", "count=1", "oflag=direct",
                    "status=none"], check=True)


def fill(path, size):
    """Noise, the same each time; of whole MiB that are alike, because nobody here looks for
    that, and noise costs an emulated machine more than writing it. Nothing is zero."""
    buf = memoryview(mmap.mmap(-1, MIB))
    buf[:] = random.Random(1).randbytes(MIB)
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    for offset in range(0, size, MIB):
        if os.pwrite(fd, buf, offset) != MIB:
            raise OSError(f"{path}: short write at {offset}")
    os.close(fd)


def sysfs_of(path):
    """/sys/block/NAME of a device."""
    number = os.stat(path).st_rdev
    return os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
