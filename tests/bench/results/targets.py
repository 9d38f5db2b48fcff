# SPDX-License-Identifier: GPL-2.0-or-later
"""What was set out to be reached, and whether it was: each row is a ratio or a number per
repetition, judged by its median."""
from results.summary import spread

MIB = 1 << 20
CHUNK = 64 << 10
BLOCK_WORKLOADS = ["rand4k-d1", "rand4k-d32", "seq64k", "mixed4k-d16"]
# Of one volume: below this is the file system's or a partition scan's reading, not copying.
NOTHING_SHARE = 0.001
# "4 KiB random writes" without a word about depth: as many as a busy guest has.
FIRST_TOUCH = "rand4k-d32"


class Target:
    """better is ">=" or "<="; values: one per repetition."""

    def __init__(self, name, text, better, bound, values, unit="", note=""):
        self.name, self.text, self.better, self.bound = name, text, better, bound
        self.values, self.unit, self.note = values, unit, note

    def row(self):
        row = {"name": self.name, "text": self.text, "wanted": f"{self.better} {self.bound:g}",
               "unit": self.unit, "note": self.note, "value": None, "met": None}
        if self.values:
            row["value"] = spread(self.values)
            median = row["value"]["median"]
            row["met"] = median >= self.bound if self.better == ">=" else median <= self.bound
        return row


def worst(lists):
    """Of several lists of ratios, that with the lowest median."""
    lists = [values for values in lists if values]
    return min(lists, key=lambda values: spread(values)["median"]) if lists else []


def over(runs, a, b, metric):
    """worst() over the workloads on whole disks."""
    return worst([runs.ratios(f"{a}/{w}/none", f"{b}/{w}/none", metric)
                  for w in BLOCK_WORKLOADS])


def scaled(runs, case, metric, per):
    return [v / per for v in runs.values(case, metric)]


def calm(runs):
    return [
        Target("idle-iops", "idle over dm-linear, IOPS, the worst workload", ">=", 0.99,
               over(runs, "idle", "linear", "iops")),
        Target("idle-instructions", "idle over dm-linear, instructions per I/O", "<=", 1.03,
               runs.ratios("counted/idle", "counted/linear", "instructions_per_io")),
        Target("safe-iops", "armed and safe over idle, IOPS, the worst workload", ">=", 0.97,
               over(runs, "safe", "idle", "iops")),
        Target("safe-instructions", "armed and safe over idle, instructions per I/O", "<=",
               1 / 0.97, runs.ratios("counted/safe", "counted/idle", "instructions_per_io")),
        Target("first-touch", "first-touch writes, FETCH paused, over what the disk allows",
               ">=", 0.9, runs.ratios("first-touch/ring", "first-touch/model", "writes_per_s")),
        Target("first-touch-read", "bytes read per pushed chunk", "<=", CHUNK,
               runs.values("first-touch/ring", "read_per_chunk_bytes"), "bytes"),
        Target("first-touch-written", "bytes written per pushed chunk beside the guest's own",
               "<=", 0, runs.values("first-touch/ring", "written_per_chunk_bytes"), "bytes"),
    ]


def peers(runs):
    rows = []
    for archive, how in (("paced", "all reading at the same rate"), ("fast", "at full speed")):
        def ratios(peer, metric):
            return runs.ratios(f"ring/{FIRST_TOUCH}/{archive}",
                               f"{peer}/{FIRST_TOUCH}/{archive}", metric)
        for peer in ("snapshot-64k", "thin-64k"):
            rows.append(Target(f"{peer}-{archive}-iops", f"ring over {peer}, IOPS, {how}", ">=",
                               1.5, ratios(peer, "iops")))
            rows.append(Target(f"{peer}-{archive}-p99", f"ring over {peer}, p99, {how}", "<=",
                               0.7, ratios(peer, "lat_p99_us")))
        rows.append(Target(f"qemu-fleece-{archive}-iops", f"ring over qemu-fleece, IOPS, {how}",
                           ">=", 2, ratios("qemu-fleece", "iops")))
    return rows


def moved(runs):
    rows = []
    for policy in ("ring", "auto"):
        beside = []
        for peer in ("snapshot-4k", "snapshot-64k", "thin-64k", "qemu-direct", "qemu-fleece"):
            share = runs.median(f"{peer}/{FIRST_TOUCH}/fast", "extra_share")
            if share is not None:
                beside.append(f"{peer} {share:.3f}")
        rows.append(Target(f"{policy}-extra", f"{policy}: moved beyond the guest's own and one "
                           "read, parts of the volume", "<=", NOTHING_SHARE,
                           runs.values(f"{policy}/{FIRST_TOUCH}/fast", "extra_share"),
                           note=", ".join(beside)))
    return rows


def backups(runs):
    rows = [
        Target("stalled-longest", "auto: longest write, archive stalled over not stalled", "<=",
               2, runs.ratios(f"auto/{FIRST_TOUCH}/stalled", f"auto/{FIRST_TOUCH}/fast",
                              "lat_max_us"))]
    for policy in ("ring", "auto"):
        rows += [
            Target(f"{policy}-quiet", f"{policy}: dd's time over the backup's, guest idle", ">=",
                   0.95, runs.ratios("bare/quiet/fast", f"{policy}/quiet/fast", "backup_s")),
            Target(f"{policy}-load-iops", f"{policy}: guest IOPS over bare, backup at full speed",
                   ">=", 0.5, runs.ratios(f"{policy}/{FIRST_TOUCH}/fast",
                                          f"bare/{FIRST_TOUCH}/none", "iops")),
            Target(f"{policy}-load-time", f"{policy}: backup's time, guest busy over idle", "<=",
                   2, runs.ratios(f"{policy}/{FIRST_TOUCH}/fast", f"{policy}/quiet/fast",
                                  "backup_s")),
        ]
    return rows


def host(runs):
    return [
        Target("memory", "kernel memory beyond slots and 2 bits per chunk, 8 x 1 TiB", "<=", 1,
               scaled(runs, "arm/8x1T", "memory_over_bytes", MIB), "MiB"),
        Target("arm-window", "8 disks of 1 TiB: suspended for longer than for nothing", "<=", 50,
               scaled(runs, "arm/8x1T", "arm_over_empty_us", 1000), "ms"),
    ]


def judge(runs):
    return [t.row() for t in calm(runs) + peers(runs) + moved(runs) + backups(runs) + host(runs)]
