#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench's cases without a machine: device-mapper is made up (files, tables that are only
noted down, counters that count calls), everything else is real: fio, the copier, the order of
things, what the report makes of it."""
import contextlib
import json
import os
import shutil
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "bench"))
sys.path.insert(0, HERE)

import cases  # noqa: E402
import tap  # noqa: E402
from inside import bed, disks, matrix, meter, snapshots, special, stack  # noqa: E402
from results import reduce  # noqa: E402

MIB = 1 << 20
SIZE = 8 * MIB
SECTORS = SIZE // 512

VMACTL = """#!/bin/bash
echo "$@" >"$(dirname "$0")/vmactl.args"
while [ $# -gt 0 ]; do
	[ "$1" != --json-summary ] || summary=$2
	shift
done
head -c 8500000 "$(dirname "$0")/volume"
sleep 1
echo '{"chunks": 128, "chunks_guest": 32}' >"$summary"
"""


class Files:
    """In place of device-mapper: every device is a file; calls are noted down."""

    def __init__(self, directory):
        self.directory = directory
        self.made = []
        self.calls = []
        self.states = {"snapshot": ["16/2000", "16"], "pool": ["0", "4/100", "100/300"],
                       "top": "armed 128 0/128 fleece_used 256".split()}

    def path(self, name):
        return os.path.join(self.directory, name)

    def create(self, name, table, readonly=False):
        self.calls.append((name, table.replace(self.directory + "/", "")))
        self.made.append(name)
        if not os.path.exists(self.path(name)):
            with open(self.path(name), "wb") as f:
                f.truncate(SIZE + 4 * MIB)
        return self.path(name)

    def note(self, *call):
        self.calls.append(tuple(c.replace(self.directory + "/", "") for c in call))

    def load(self, name, table):
        self.note("load " + name, table)

    def message(self, name, text):
        self.note("message " + name, text)

    def suspend(self, name):
        self.note("suspend " + name)

    def resume(self, name):
        self.note("resume " + name)

    def remove(self, name):
        self.made.remove(name)

    def status(self, name):
        return self.states[name]

    def close(self):
        pass


class Counting:
    """Each look at a device finds more sectors written; writes are told by a file's time."""

    def __init__(self):
        self.calls = 0

    def __call__(self, path):
        self.calls += 1
        return {"reads": 0, "sectors_read": 0, "writes": os.stat(path).st_mtime_ns,
                "sectors_written": 4096 * self.calls, "discards": 0, "sectors_discarded": 0}


class Cases(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.results = os.path.join(self.dir, "results")
        os.makedirs(self.results)
        with open(os.path.join(self.dir, "vmactl"), "w") as f:
            f.write(VMACTL)
        os.chmod(os.path.join(self.dir, "vmactl"), 0o755)
        with contextlib.ExitStack() as patches:
            for target, name, value in [
                    (bed.dm, "Mapper", lambda: Files(self.dir)),
                    (disks, "DISK", self.dir + "/disk"), (disks, "ARCHIVE", self.dir + "/fast"),
                    (disks, "SLOW_ARCHIVE", self.dir + "/slow"),
                    (bed.tempfile, "mkdtemp", lambda **_: self.dir),
                    (meter, "device_counters", Counting()),
                    (snapshots, "clear_start", lambda path: None),
                    (snapshots, "fill", lambda path, size: None),
                    (matrix, "RAMP_SECONDS", 0.1), (special, "MODEL_SECONDS", 1)]:
                patches.enter_context(mock.patch.object(target, name, value))
            patches.enter_context(mock.patch.dict(os.environ, BED_BUILD=self.dir))
            self.addCleanup(patches.pop_all().close)
        open(disks.DISK, "w").close()
        self.bed = bed.Bed({"size_bytes": SIZE, "rate_bytes_per_s": 16 * MIB, "limit_s": 30,
                            "seconds": 0.5, "stall_s": 0.2})
        self.bed.vmactl = os.path.join(self.dir, "vmactl")

    def run_case(self, name):
        """Returns its numbers."""
        case = matrix.MatrixCase(self.bed, name, 1)
        try:
            raw = case.run(self.results)
        finally:
            case.down()
        with open(os.path.join(self.results, "result.json"), "w") as f:
            json.dump(raw, f)
        numbers = reduce.reduce_case(self.results, SIZE)
        self.assertNotIn("error", numbers)
        return numbers

    def tables(self):
        return [(c[0], c[1:]) if len(c) != 2 else c for c in self.bed.mapper.calls]

    def fill(self, name):
        with open(os.path.join(self.dir, name), "wb") as f:
            f.write(os.urandom(SIZE))

    def archive_holds(self, name):
        with open(os.path.join(self.dir, "archive"), "rb") as a, \
                open(os.path.join(self.dir, name), "rb") as b:
            self.assertEqual(a.read(SIZE), b.read(SIZE))

    def test_every_stack_of_the_matrix_is_there(self):
        self.assertEqual(set(matrix.STACKS), set(cases.CALM_STACKS + cases.LIVE_STACKS))

    def test_no_backup(self):
        numbers = self.run_case("linear/mixed4k-d16/none")
        self.assertEqual(self.tables(), [("volume", f"0 {SECTORS} linear disk 0"),
                                         ("top", f"0 {SECTORS} linear volume 0")])
        self.assertGreater(numbers["write_iops"], 0)
        self.assertGreater(numbers["read_iops"], numbers["write_iops"])
        self.assertAlmostEqual(numbers["throughput_bytes_s"], 4096 * numbers["iops"], delta=1)
        self.assertNotIn("backup_s", numbers)

    def test_snapshot(self):
        self.fill("snapshot")
        numbers = self.run_case("snapshot-64k/rand4k-d32/paced")
        self.assertEqual(self.tables()[2:], [
            ("top", f"0 {SECTORS} linear volume 0"),
            ("archive", f"0 {disks.archive_size(SIZE) // 512} linear fast 0"),
            ("load top", f"0 {SECTORS} snapshot-origin volume"),
            ("snapshot", f"0 {SECTORS} snapshot volume beside P 128"), ("resume top", ())])
        self.archive_holds("snapshot")
        # 8 MiB at 16 MiB/s, the last block is not waited for.
        self.assertGreater(numbers["backup_s"], 7 / 16)
        self.assertEqual(numbers["space_bytes"], 16 * 512)
        self.assertEqual(numbers["backup_finished"], 1)

    def test_snapshot_that_overflows(self):
        self.fill("snapshot")
        self.bed.mapper.states["snapshot"] = ["Invalid"]
        with self.assertRaisesRegex(stack.BackupFailed, "the snapshot is Invalid"):
            self.run_case("snapshot-4k/rand4k-d1/paced")

    def test_thin(self):
        self.fill("snapshot")
        self.run_case("thin-64k/seq64k/slow")
        self.assertEqual(self.tables()[3:], [
            ("pool", f"0 {self.bed.disks.all_sectors} thin-pool pool-meta pool-data 128 0 1 "
                     "skip_block_zeroing"),
            ("message pool", "create_thin 1"), ("top", f"0 {SECTORS} thin pool 1"),
            ("archive", f"0 {disks.archive_size(SIZE) // 512} linear slow 0"),
            ("suspend top", ()), ("message pool", "create_snap 2 1"), ("resume top", ()),
            ("snapshot", f"0 {SECTORS} thin pool 2")])
        self.archive_holds("snapshot")

    def test_ours(self):
        self.fill("volume")
        numbers = self.run_case("auto/rand4k-d1/stalled")
        self.assertIn(("top", f"0 {SECTORS} vmabackup volume 2 fleece beside"), self.tables())
        with open(os.path.join(self.dir, "vmactl.args")) as f:
            args = f.read().replace(self.dir + "/", "").split()
        self.assertEqual(args, "backup --disk drive=top --output - --policy auto "
                               "--json-summary summary".split())
        self.archive_holds("volume")
        self.assertEqual(numbers["chunks_pushed_share"], 0.25)
        self.assertEqual(numbers["space_bytes"], 256 * 512)
        self.assertGreaterEqual(numbers["stall_s"], 0.2)
        calls = [c[0] for c in self.tables()]
        self.assertLess(calls.index("suspend archive"), calls.index("resume archive"))

    def test_ours_paced_fails(self):
        with open(self.bed.vmactl, "w") as f:
            f.write("#!/bin/sh\necho 'vmactl: no' >&2\nexit 1\n")
        self.bed.mapper.states["top"] = ["idle"]
        with self.assertRaisesRegex(stack.BackupFailed, "vmactl: no"):
            self.run_case("ring/rand4k-d1/paced")

    def test_over_the_limit(self):
        self.fill("snapshot")
        self.bed.parameters["rate_bytes_per_s"] = MIB
        self.bed.parameters["limit_s"] = 1
        numbers = self.run_case("snapshot-64k/rand4k-d1/paced")
        self.assertEqual(numbers["backup_finished"], 0)
        self.assertNotIn("backup_s", numbers)

    def test_quiet(self):
        self.fill("volume")
        numbers = self.run_case("bare/quiet/fast")
        self.archive_holds("volume")
        self.assertGreater(numbers["backup_s"], 0)
        self.assertNotIn("iops", numbers)

    def test_model(self):
        self.fill("volume")
        raw = special.first_touch_model(self.bed, self.results, 1)
        self.assertGreater(raw["writes_per_s"], 0)
        self.assertAlmostEqual(raw["reads_per_s"] / raw["writes_per_s"], 1, delta=0.2)


if __name__ == "__main__":
    sys.exit(tap.run(sys.modules[__name__]))
