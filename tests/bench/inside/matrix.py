# SPDX-License-Identifier: GPL-2.0-or-later
"""A case of the matrix: one stack, one workload, one archive.

The order of things: the stack is put up; the guest's work begins, and has gone on for a while;
the backup begins (its instant is the begin of the window that figures are taken from); it ends
(the end of the window); the guest's work ends. Counters are read at each of these.
"""
import time

from inside import disks, meter
from inside.bed import POLL_SECONDS
from inside.load import Load
from inside.qemu import Qemu
from inside.snapshots import Snapshot, Thin
from inside.stack import Bare, Idle, Linear, Ours, Safe
from inside.stall import Stall

STACKS = {
    "bare": Bare,
    "linear": Linear,
    "idle": Idle,
    "safe": Safe,
    "snapshot-4k": lambda bed: Snapshot(bed, 4 << 10),
    "snapshot-64k": lambda bed: Snapshot(bed, 64 << 10),
    "snapshot-64k-n": lambda bed: Snapshot(bed, 64 << 10, "N"),
    "thin-64k": Thin,
    "qemu-idle": lambda bed: Qemu(bed, "idle"),
    "qemu-direct": lambda bed: Qemu(bed, "direct"),
    "qemu-fleece": lambda bed: Qemu(bed, "fleece"),
    "ring": lambda bed: Ours(bed, "ring"),
    "fleece": lambda bed: Ours(bed, "fleece"),
    "auto": lambda bed: Ours(bed, "auto"),
}
# Of guest work before the window: fio's own start is over by then.
RAMP_SECONDS = 1
# For fio to write the first time; see ARM_SECONDS.
FIRST_IO_SECONDS = 600
# Between two looks at how much space the backup occupies.
SPACE_SECONDS = 0.25


class MatrixCase:
    def __init__(self, bed, name, seed):
        self.bed = bed
        self.stack_name, self.workload, self.archive = name.split("/")
        self.p = bed.parameters
        self.seed = seed
        self.stack = STACKS[self.stack_name](bed)
        self.load = self.stall = None
        self.instant = None
        self.peak_space = 0

    def run(self, directory):
        """The measurements; latencies go to files in directory."""
        bed = self.bed
        top = self.stack.up()
        devices = {"disk": disks.DISK, "volume": bed.disks.volume, "guest": top}
        archive = None
        if self.archive != "none":
            archive = bed.disks.archive(self.archive)
            devices["archive"] = archive
        for name in ("beside", "pool-data", "pool-meta"):
            if name in bed.mapper.made:
                devices[name] = bed.mapper.path(name)
        self.meter = meter.Meter(devices)
        if self.workload != "quiet":
            self.load = Load(self.workload, top, bed.size, bed.work, self.seed)
        readings = {"before": self.meter.read()}
        if self.load:
            self.start_load(top)
        readings["instant"], readings["end"], finished = self.window(archive)
        if self.load:
            self.load.stop()
            self.load.keep(directory)
        readings["after"] = self.meter.read()
        if not finished:
            self.stack.cut()
        return self.result(readings, finished)

    def start_load(self, top):
        before = meter.device_counters(top)["writes"]
        self.load.start()

        def working():
            self.load.check()
            return meter.device_counters(top)["writes"] > before
        self.bed.until(FIRST_IO_SECONDS, "the guest's first write", working)
        time.sleep(RAMP_SECONDS)

    def mark(self):
        self.instant = self.meter.read()
        self.cpu_before = self.stack.cpu()

    def window(self, archive):
        """The backup, or a while without one; readings at both ends, and: did it end?"""
        rate = self.p["rate_bytes_per_s"] if self.archive == "paced" else 0
        limit = self.p["limit_s"]
        if archive:
            if self.archive == "stalled":
                limit += self.p["stall_s"]
                self.stall = Stall(self.bed.mapper, archive, self.bed.size, self.p["stall_s"])
            self.stack.begin(rate, archive, self.mark)
        else:
            self.mark()
            limit = self.p["seconds"]
        began = last_look = time.monotonic()
        finished = False
        while not finished and time.monotonic() - began < limit:
            time.sleep(POLL_SECONDS)
            if self.load:
                self.load.check()
            if self.stall:
                self.stall.tick()
            if archive:
                # Nobody can be done meanwhile, and QEMU might not answer before it goes on.
                if not (self.stall and self.stall.stands()):
                    finished = self.stack.ended()
                if time.monotonic() - last_look >= SPACE_SECONDS:
                    self.peak_space = max(self.peak_space, self.stack.space())
                    last_look = time.monotonic()
        end = self.meter.read()
        self.cpu_after = self.stack.cpu()
        if self.stall:
            self.stall.end()
        self.peak_space = max(self.peak_space, self.stack.space())
        return self.instant, end, finished or not archive

    def result(self, readings, finished):
        processes = {name: self.cpu_after[name] - self.cpu_before[name]
                     for name in self.cpu_after}
        for child in self.stack.backup + ([self.load.child] if self.load else []):
            processes[child.name] = child.cpu_s
        result = {
            "window": meter.difference(readings["instant"], readings["end"]),
            "whole": meter.difference(readings["before"], readings["after"]),
            "instant_at": readings["instant"]["at"], "end_at": readings["end"]["at"],
            "finished": finished, "space_bytes": self.peak_space,
            "process_cpu_s": processes, "summary": self.bed.summary(),
        }
        if self.stall:
            result["stall"] = {"began_at": self.stall.began, "ended_at": self.stall.went_on,
                               "wanted_s": self.stall.seconds}
        return result

    def down(self):
        if self.stall:
            self.stall.end()
        if self.load:
            self.load.down()
        self.stack.down()
