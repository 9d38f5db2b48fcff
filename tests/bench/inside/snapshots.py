# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of device-mapper, as LVM makes them, read by a program like dd.

Everything is made ready before the guest's device is suspended, so that the guest waits for
one resume only, however slowly programs start.
"""
from inside.disks import clear_start, fill
from inside.stack import BackupFailed, Stack

# LVM's default for thin pools of this size, and dm's smallest.
THIN_BLOCK_SECTORS = 128
ORIGIN_ID, SNAPSHOT_ID = 1, 2


class Snapshot(Stack):
    """dm-snapshot; persistent ("P"), as LVM has them, or not ("N")."""

    def __init__(self, bed, chunk, persistent="P"):
        super().__init__(bed)
        self.chunk = chunk // 512
        self.persistent = persistent

    def up(self):
        self.beside = self.disks.beside()
        clear_start(self.beside)
        return self.mapper.create("top", f"0 {self.disks.sectors} linear {self.disks.volume} 0")

    def begin(self, rate, archive, mark):
        volume, sectors = self.disks.volume, self.disks.sectors
        self.mapper.load("top", f"0 {sectors} snapshot-origin {volume}")
        self.mapper.create("snapshot", f"0 {sectors} snapshot {volume} {self.beside} "
                                       f"{self.persistent} {self.chunk}")
        # Until now writes passed the snapshot by, which shows what the volume holds: the
        # instant is when the other table comes in.
        self.mapper.resume("top")
        mark()
        self.copy(self.mapper.path("snapshot"), rate, archive)

    def space(self):
        if "snapshot" not in self.mapper.made:
            return 0
        words = self.mapper.status("snapshot")
        if "/" not in words[0]:
            raise BackupFailed(f"the snapshot is {words[0]}")
        return int(words[0].split("/")[0]) * 512

    def down(self):
        super().down()
        if "snapshot" in self.mapper.made:
            # An origin without snapshots is the last to go.
            self.mapper.remove("snapshot")


class Thin(Stack):
    """A volume in a thin pool, every block of it allocated, and a snapshot of it."""

    def up(self):
        data, meta = self.disks.pool_data(), self.disks.pool_meta()
        clear_start(meta)
        self.mapper.create("pool", f"0 {self.disks.all_sectors} thin-pool {meta} {data} "
                                   f"{THIN_BLOCK_SECTORS} 0 1 skip_block_zeroing")
        self.mapper.message("pool", f"create_thin {ORIGIN_ID}")
        top = self.mapper.create("top", f"0 {self.disks.sectors} thin {self.mapper.path('pool')} "
                                        f"{ORIGIN_ID}")
        fill(top, self.disks.size)
        self.begun_with = self.used()
        return top

    def begin(self, rate, archive, mark):
        self.mapper.suspend("top")
        self.mapper.message("pool", f"create_snap {SNAPSHOT_ID} {ORIGIN_ID}")
        self.mapper.resume("top")
        mark()
        self.mapper.create("snapshot", f"0 {self.disks.sectors} thin "
                                       f"{self.mapper.path('pool')} {SNAPSHOT_ID}", readonly=True)
        self.copy(self.mapper.path("snapshot"), rate, archive)

    def used(self):
        return int(self.mapper.status("pool")[2].split("/")[0])

    def space(self):
        return (self.used() - self.begun_with) * THIN_BLOCK_SECTORS * 512
