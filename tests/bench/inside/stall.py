# SPDX-License-Identifier: GPL-2.0-or-later
"""An archive's disk that stands still: its device is suspended once some of the archive is on
it, and resumed after a time. Whoever writes there waits, be it a program or QEMU.
"""
import time

from inside import meter

# The part of the disk that the archive holds by then: the backup is well under way, and most
# of the disk is not copied yet.
AFTER_PART = 8


class Stall:
    def __init__(self, mapper, archive, size, seconds):
        self.mapper = mapper
        self.archive = archive
        self.seconds = seconds
        self.after = meter.device_counters(archive)["sectors_written"] + \
            size // AFTER_PART // 512
        self.began = self.went_on = None

    def tick(self):
        if self.began is None:
            if meter.device_counters(self.archive)["sectors_written"] >= self.after:
                self.mapper.suspend("archive")
                self.began = time.time()
        elif self.went_on is None and time.time() - self.began >= self.seconds:
            self.end()

    def stands(self):
        return self.began is not None and self.went_on is None

    def end(self):
        if self.stands():
            self.mapper.resume("archive")
            self.went_on = time.time()
