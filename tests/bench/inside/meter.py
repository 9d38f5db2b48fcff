# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters of the kernel: I/Os and sectors of block devices, time of CPUs and processes."""
import os
import time

from inside.disks import sysfs_of

STAT_FIELDS = {"reads": 0, "sectors_read": 2, "writes": 4, "sectors_written": 6,
               "discards": 11, "sectors_discarded": 13}
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
# Of the first line of /proc/stat: user nice system idle iowait irq softirq steal
IDLE_FIELDS = (3, 4)


def device_counters(path):
    with open(sysfs_of(path) + "/stat") as f:
        words = f.read().split()
    return {name: int(words[i]) for name, i in STAT_FIELDS.items()}


def cpu_seconds():
    with open("/proc/stat") as f:
        values = [int(w) / TICK for w in f.readline().split()[1:9]]
    idle = sum(values[i] for i in IDLE_FIELDS)
    return {"idle": idle, "busy": sum(values) - idle}


def process_seconds(pid):
    """User and system time of a process that runs."""
    with open(f"/proc/{pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / TICK


def memory_free():
    """Bytes that are free or could be at once. Nothing is dropped: programs would be read
    again, which takes long here."""
    with open("/proc/meminfo") as f:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in f}
    total = sum(kib[k] for k in ("MemFree", "Buffers", "Cached", "SReclaimable")) * 1024
    # What each CPU keeps for its next allocations counts as taken: some hundred pages.
    with open("/proc/zoneinfo") as f:
        kept = [int(line.split()[1]) for line in f if line.startswith("              count:")]
    if not kept:
        raise OSError("/proc/zoneinfo has no counts of the CPUs' pages")
    return total + sum(kept) * PAGE


def difference(a, b):
    """Of two readings of the same counters, however nested."""
    if isinstance(a, dict):
        return {k: difference(a[k], b[k]) for k in a}
    return b - a


class Meter:
    """Reads the counters of some devices, {name: path}, and of the CPUs, all at one time."""

    def __init__(self, devices):
        self.devices = devices

    def read(self):
        return {"at": time.time(),
                "devices": {name: device_counters(path) for name, path in self.devices.items()},
                "cpu": cpu_seconds()}
