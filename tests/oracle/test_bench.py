#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench without a machine: the report's arithmetic on made-up results, the copier and
QEMU's commands on plain files."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "bench"))
sys.path.insert(0, HERE)

import cases  # noqa: E402
import tap  # noqa: E402
from inside import children, copier, disks, meter  # noqa: E402
from inside.qemu import Daemon  # noqa: E402
from inside.stack import BackupFailed  # noqa: E402
from results import compare, plot, reduce, summary, table, targets  # noqa: E402

MIB = 1 << 20
SIZE = 64 * MIB


def counters(read=0, written=0, reads=0, writes=0):
    """Bytes and I/Os."""
    return {"reads": reads, "sectors_read": read // 512, "writes": writes,
            "sectors_written": written // 512, "discards": 0, "sectors_discarded": 0}


def raw_case(**changes):
    """A backup of 10 s; the guest wrote 8 MiB, and 4 MiB were written to a snapshot."""
    devices = {"disk": counters(SIZE + MIB, 12 * MIB, 100, 300), "guest": counters(MIB, 8 * MIB),
               "volume": counters(), "archive": counters(0, SIZE)}
    raw = {"instant_at": 1000.0, "end_at": 1010.0, "finished": True, "space_bytes": 4 * MIB,
           "window": {"cpu": {"idle": 15.0, "busy": 5.0}, "devices": devices, "at": 10.0},
           "whole": {"cpu": {"idle": 20.0, "busy": 5.0}, "devices": devices, "at": 12.0},
           "process_cpu_s": {"reader": 1.0, "writer": 0.5, "fio": 4.0}, "summary": None}
    raw.update(changes)
    return raw


class Reduce(unittest.TestCase):
    def test_percentiles_are_values_that_were_measured(self):
        values = list(range(1, 101))
        self.assertEqual([reduce.percentile(values, p) for p in (1, 50, 99, 100)],
                         [1, 50, 99, 100])
        self.assertEqual(reduce.percentile([7], 99), 7)
        self.assertEqual(reduce.percentile([1, 2], 50), 1)

    def test_only_ios_that_end_in_the_window_count(self):
        ios = [(999.9, 0.01, True, 4096), (1000.0, 0.01, True, 4096), (1005, 0.02, True, 4096),
               (1006, 0.001, False, 8192), (1010.0, 0.001, True, 4096)]
        numbers, done = reduce.guest_numbers(ios, 1000, 1010)
        self.assertEqual(done, 3)
        self.assertAlmostEqual(numbers["iops"], 0.3)
        self.assertAlmostEqual(numbers["write_iops"], 0.2)
        self.assertAlmostEqual(numbers["read_iops"], 0.1)
        self.assertAlmostEqual(numbers["throughput_bytes_s"], 1638.4)
        # The last one began in the window.
        self.assertAlmostEqual(numbers["lat_min_us"], 1000)
        self.assertAlmostEqual(numbers["lat_max_us"], 20000)
        self.assertAlmostEqual(numbers["read_lat_p99_us"], 1000)

    def test_a_write_held_past_the_end_is_the_longest(self):
        ios = [(1001, 0.001, True, 4096), (1040, 35.0, True, 4096), (1050, 1.0, True, 4096)]
        numbers, done = reduce.guest_numbers(ios, 1000, 1010)
        self.assertEqual(done, 1)
        self.assertAlmostEqual(numbers["lat_max_us"], 35e6)

    def test_extra_io_is_what_neither_guest_nor_one_read_explains(self):
        numbers = reduce.matrix_numbers(raw_case(), [(1001, 0.001, True, 4096)] * 100, SIZE)
        self.assertEqual(numbers["extra_bytes"], 4 * MIB)
        self.assertAlmostEqual(numbers["extra_share"], 1 / 16)
        self.assertAlmostEqual(numbers["cpu_us_per_io"], 50000)
        self.assertAlmostEqual(numbers["cpu_idle_share"], 0.75)
        self.assertAlmostEqual(numbers["disk_ios_per_io"], 4)
        self.assertEqual(numbers["backup_s"], 10)
        self.assertEqual(numbers["backup_cpu_s"], 1.5)
        self.assertEqual(numbers["cpu_s.fio"], 4.0)
        self.assertEqual(numbers["io.disk.bytes_written"], 12 * MIB)
        self.assertEqual(numbers["io.disk.writes"], 300)

    def test_a_quiet_guest_moves_nothing_of_its_own(self):
        raw = raw_case()
        # dd of the bare volume: what it reads is on the guest's device, too.
        raw["whole"]["devices"]["disk"] = counters(SIZE)
        raw["whole"]["devices"]["guest"] = counters(SIZE)
        numbers = reduce.matrix_numbers(raw, None, SIZE)
        self.assertEqual(numbers["extra_bytes"], 0)
        self.assertNotIn("iops", numbers)

    def test_a_backup_over_the_limit_has_no_time(self):
        numbers = reduce.matrix_numbers(raw_case(finished=False), [(1001, 1e-3, True, 1)], SIZE)
        self.assertEqual(numbers["backup_finished"], 0)
        self.assertNotIn("backup_s", numbers)
        self.assertNotIn("extra_bytes", numbers)

    def test_a_stall_that_did_not_happen_is_an_error(self):
        for began, ended in ((None, None), (5.0, 6.9)):
            with self.assertRaises(reduce.BadCase):
                reduce.matrix_numbers(
                    raw_case(stall={"began_at": began, "ended_at": ended, "wanted_s": 2}),
                    [(1001, 1e-3, True, 1)], SIZE)

    def test_a_case_from_its_files(self):
        with tempfile.TemporaryDirectory() as d:
            self.assertIn("error", reduce.reduce_case(d, SIZE))
            with open(d + "/result.json", "w") as f:
                json.dump(raw_case(), f)
            for job in range(2):
                with open(f"{d}/latency.{job}.log", "w") as f:
                    f.write("1001000, 2000000, 1, 4096, 0, 0\n1002500, 4000000, 1, 4096, 0\n")
            numbers = reduce.reduce_case(d, SIZE)
            self.assertAlmostEqual(numbers["iops"], 0.4)
            self.assertAlmostEqual(numbers["lat_median_us"], 2000)
            with open(d + "/result.json", "w") as f:
                json.dump({"error": "ValueError: no"}, f)
            self.assertEqual(reduce.reduce_case(d, SIZE), {"error": "ValueError: no"})

    def test_every_metric_is_explained(self):
        found = set(reduce.matrix_numbers(
            raw_case(summary={"chunks_guest": 1, "chunks": 4},
                     stall={"began_at": 1.0, "ended_at": 3.0, "wanted_s": 2}),
            [(1001, 1e-3, True, 1), (1001, 1e-3, False, 1)], SIZE))
        found |= set(reduce.special_numbers({
            "writes_per_s": 1, "instructions_per_io": 1, "chunks_pushed": 2, "bytes_read": 4,
            "bytes_written": 2, "latencies_us": [1, 2], "window_ns": 3000, "empty_ns": 1000,
            "setup_ns": 1, "memory_bytes": 10, "slot_bytes": 4, "map_bytes": 5}))
        found = {f for f in found if not f.startswith(("io.", "cpu_s."))}
        self.assertEqual(found, set(reduce.METRICS))

    def test_time_of_a_process(self):
        before = meter.process_seconds(os.getpid())
        begin = time.process_time()
        while time.process_time() - begin < 0.1:
            pass
        # Counted in ticks.
        self.assertAlmostEqual(meter.process_seconds(os.getpid()) - before, 0.1, delta=0.05)

    def test_counters_are_subtracted_at_every_depth(self):
        self.assertEqual(meter.difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 5}, "c": 2}),
                         {"a": {"b": 4}, "c": 0})


class Summary(unittest.TestCase):
    reps = [{"a": {"iops": 100}, "b": {"iops": 50}}, {"a": {"iops": 300}, "b": {"iops": 100}},
            {"a": {"iops": 90}, "b": {"error": "died"}}]

    def test_ratios_are_taken_within_a_repetition(self):
        runs = summary.Runs(self.reps)
        self.assertEqual(runs.ratios("a", "b", "iops"), [2, 3])
        self.assertEqual(runs.spread("a", "iops"),
                         {"median": 100, "min": 90, "max": 300, "n": 3})
        self.assertIsNone(runs.spread("c", "iops"))
        self.assertEqual(runs.errors(), [(3, "b", "died")])

    def test_ratios_of_the_document(self):
        reps = [{"bare/seq64k/none": {"iops": 100}, "ring/seq64k/slow": {"iops": 80},
                 "thin-64k/seq64k/slow": {"iops": iops}} for iops in (40, 20)]
        ratios = summary.Runs(reps).all_ratios()
        self.assertEqual(ratios["ring/seq64k/slow"]["bare"]["iops"]["median"], 0.8)
        self.assertEqual(ratios["ring/seq64k/slow"]["thin-64k"]["iops"],
                         {"median": 3, "min": 2, "max": 4, "n": 2})
        self.assertEqual(list(ratios["thin-64k/seq64k/slow"]), ["bare"])

    def test_the_document_keeps_every_value(self):
        document = summary.Runs(self.reps).document({"reps": 3}, [])
        self.assertEqual(document["cases"]["a"]["iops"]["values"], [100, 300, 90])
        self.assertEqual(document["errors"], [{"repetition": 3, "case": "b", "error": "died"}])
        json.dumps(document)


def made_up(factor):
    """One repetition: every case of the matrix, ours as fast as bare, peers by factor."""
    rep = {}
    for case in cases.select():
        stack = case.split("/")[0]
        good = stack not in cases.PEER_STACKS and stack != "qemu-idle"
        rep[case] = {"iops": 1000 if good else 1000 / factor,
                     "lat_p99_us": 10 if good else 10 * factor,
                     "lat_max_us": 100, "backup_s": 20, "backup_finished": 1,
                     "extra_share": 0 if good else 1.5, "cpu_idle_share": 0.5,
                     "instructions_per_io": 1000, "writes_per_s": 480,
                     "read_per_chunk_bytes": 65536, "written_per_chunk_bytes": 0,
                     "setup_us": 1500, "arm_window_us": 20000, "memory_bytes": 66 * MIB,
                     "memory_over_bytes": MIB // 2, "arm_over_empty_us": 10000}
    return rep


class Targets(unittest.TestCase):
    def met(self, reps):
        return {row["name"]: row["met"] for row in targets.judge(summary.Runs(reps))}

    def test_all_met(self):
        rows = self.met([made_up(3)] * 3)
        self.assertEqual([n for n, m in rows.items() if m is not True], [])

    def test_missed_where_peers_are_as_good(self):
        rows = self.met([made_up(1)])
        missed = {n for n, m in rows.items() if not m}
        self.assertEqual(missed, {f"{p}-{a}-{m}" for p in ("snapshot-64k", "thin-64k")
                                  for a in ("paced", "fast") for m in ("iops", "p99")}
                         | {"qemu-fleece-paced-iops", "qemu-fleece-fast-iops"})

    def test_the_worst_workload_is_judged(self):
        rep = made_up(3)
        rep["idle/seq64k/none"]["iops"] = 980
        self.assertFalse(self.met([rep])["idle-iops"])

    def test_each_can_be_missed(self):
        spoilt = {"iops": 0.4, "lat_p99_us": 100, "writes_per_s": 0.5, "extra_share": 0.5,
                  "instructions_per_io": 2, "backup_s": 3, "lat_max_us": 3}
        rep = made_up(1)
        for case, numbers in rep.items():
            stack = case.split("/")[0]
            if stack in cases.OUR_STACKS + ["idle", "safe"] or case == "first-touch/ring" or \
                    case in ("counted/idle", "counted/safe"):
                for metric, factor in spoilt.items():
                    if metric == "extra_share":
                        numbers[metric] = factor
                    elif metric == "backup_s" and "quiet" in case:
                        numbers[metric] *= 1.2
                    elif metric == "lat_max_us" and "stalled" not in case:
                        continue
                    elif stack == "safe" or case == "counted/safe":
                        numbers[metric] *= factor * factor
                    else:
                        numbers[metric] *= factor
        rep["first-touch/ring"].update(read_per_chunk_bytes=70000, written_per_chunk_bytes=4096)
        rep["arm/8x1T"].update(memory_over_bytes=3 * MIB, arm_over_empty_us=70000)
        rows = self.met([rep])
        self.assertEqual([n for n, m in rows.items() if m is not False], [])

    def test_what_was_not_run_is_not_judged(self):
        rows = self.met([{"bare/rand4k-d32/none": {"iops": 1}}])
        self.assertEqual(set(rows.values()), {None})


class Show(unittest.TestCase):
    parameters = {"reps": 2, "size_bytes": SIZE, "disk_iops": 1000, "request_bytes": 65536,
                  "rate_bytes_per_s": 16 * MIB, "slow_bps": 20000000,
                  "stall_s": 3, "kernel": "6.1"}

    def text(self, reps):
        runs = summary.Runs(reps)
        return table.text(runs, self.parameters, targets.judge(runs))

    def test_table(self):
        second = made_up(4)
        second["ring/seq64k/fast"] = {"error": "died"}
        text = self.text([made_up(2), second])
        for wanted in ("rand4k-d32, backup as fast as it goes", "Targets", "repetition 2: "
                       "ring/seq64k/fast: died", "instructions per I/O"):
            self.assertIn(wanted, text)
        line = [t for t in text.splitlines() if t.startswith("arm/8x1T ")][0].split()
        self.assertEqual(line[1:], ["1.5", "20.0", "10.0", "66.0", "0.50"])
        line = [t for t in text.splitlines() if t.startswith("snapshot-64k ")][0].split()
        # The median of 500 and 250, and how far they are off.
        self.assertEqual(line[1:4], ["375", "-33+33%", "0.50"])
        self.assertNotIn("Doubtful", text)
        second["auto/seq64k/fast"]["cpu_idle_share"] = 0.01
        self.assertIn("Doubtful", self.text([second]))

    def test_pictures(self):
        if not shutil.which("gnuplot"):
            self.skipTest("gnuplot is not installed")
        with tempfile.TemporaryDirectory() as d:
            made = plot.draw(summary.Runs([made_up(2), made_up(3)]), d)
            self.assertEqual(len(made), len(plot.PICTURES))
            for path in made:
                with open(path) as f:
                    svg = f.read()
                self.assertIn("ring", svg)
                xml.dom.minidom.parseString(svg)


class Compare(unittest.TestCase):
    def document(self, *factors):
        runs = summary.Runs([made_up(f) for f in factors])
        # As it is read from the file.
        return json.loads(json.dumps(runs.document({}, targets.judge(runs))))

    def test_same(self):
        rows, lonely = compare.differences(self.document(2, 3), self.document(2, 3))
        self.assertEqual((lonely, {row[0] for row in rows}), (0, {0.0}))

    def test_a_peer_twice_as_slow(self):
        old, new = self.document(2), self.document(4)
        rows, _ = compare.differences(old, new)
        changed = {key: (share, a, b) for share, key, a, b in rows if share}
        self.assertEqual(changed["ring/seq64k/fast", "thin-64k", "iops"], (1.0, 2, 4))
        self.assertEqual(changed["thin-64k/seq64k/fast", "bare", "iops"], (-0.5, 0.5, 0.25))
        self.assertEqual(changed["qemu-fleece/rand4k-d1/slow", "bare", "lat_p99_us"], (1.0, 2, 4))
        self.assertNotIn(("ring/seq64k/fast", "bare", "iops"), changed)
        text = compare.text(old, new)
        self.assertRegex(text, r"\nIOPS +\d+ +\S+ +\S+ +100.0\n")
        self.assertRegex(text, r"\nidle-iops +1 +1 +\+0.0 +both +>= 0.99\n")

    def test_one_has_more(self):
        old, new = self.document(2), self.document(2)
        del new["ratios"]["ring/seq64k/fast"]
        new["targets"] = new["targets"][1:]
        _, lonely = compare.differences(old, new)
        self.assertEqual(lonely, sum(map(len, old["ratios"]["ring/seq64k/fast"].values())))
        self.assertIn(f"{lonely} ratios are in one run only", compare.text(old, new))

    def test_nothing_is_no_ratio(self):
        self.assertIsNone(compare.difference(0, 1))
        self.assertEqual(compare.difference(0, 0), 0)

    def test_files(self):
        with tempfile.TemporaryDirectory() as d:
            paths = [os.path.join(d, name) for name in ("a", "b", "none", "other")]
            for path, factor in zip(paths, (2, 4)):
                with open(path, "w") as f:
                    json.dump(self.document(factor), f)
            with open(paths[3], "w") as f:
                f.write("{}")
            tool = os.path.join(os.path.dirname(HERE), "bench/compare")
            for files, status in ((paths[:2], 0), (paths[1:3], 1), ([paths[0], paths[3]], 1),
                                  (paths[:1], 1)):
                done = subprocess.run([tool] + files, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual((done.returncode, "Traceback" in done.stderr), (status, False))


class Cases(unittest.TestCase):
    def test_selection(self):
        self.assertEqual(len(set(cases.select())), len(cases.select()))
        self.assertEqual(cases.select("ring/*/fast", "rand4k-d*"),
                         ["ring/rand4k-d1/fast", "ring/rand4k-d32/fast"])
        self.assertNotIn("snapshot-64k-n/rand4k-d1/fast", cases.select())
        self.assertIn("snapshot-64k-n/rand4k-d1/fast", cases.select("snapshot-64k-n/*"))
        self.assertNotIn("scale/1x1G", cases.select())
        self.assertIn("scale/1x1G", cases.select("scale/*"))
        self.assertEqual(cases.disks_of("scale/254x64G"), (254, 64 << 30))
        self.assertEqual(cases.select("nothing"), [])

    def test_the_layout_fits(self):
        for size in (32 * MIB, SIZE, 1 << 30):
            self.assertGreaterEqual(
                disks.disk_size(size),
                size + size + size // 16 + disks.COPY_SLACK + disks.META)


class OnFiles(unittest.TestCase):
    """What the guest's half does with devices works on files, too."""

    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.volume = self.file("volume", os.urandom(8 * MIB))

    def file(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def copied(self, rate):
        archive = self.file("archive", b"")
        source, target = copier.pipe()
        both = [children.fork("reader", copier.read_device, self.volume, 8 * MIB - 4096, rate,
                              target, [source]),
                children.fork("writer", copier.write_archive, source, archive, [target])]
        os.close(source)
        os.close(target)
        self.assertEqual([c.wait() for c in both], [0, 0])
        self.assertGreater(sum(c.cpu_s for c in both), 0)
        return self.content(archive)

    def test_copier(self):
        self.assertEqual(self.copied(0), self.content(self.volume)[:-4096])
        begin = time.monotonic()
        self.assertEqual(self.copied(32 * MIB), self.content(self.volume)[:-4096])
        # The last block is not waited for.
        self.assertGreaterEqual(time.monotonic() - begin, 7 / 32)

    def qemu_write(self, daemon, pattern, offset):
        subprocess.run(["qemu-io", "-f", "raw", "-c", f"write -P {pattern} {offset} 64k",
                        f"nbd+unix:///disk?socket={daemon.socket}"], check=True,
                       stdout=subprocess.DEVNULL)

    def qemu_backup(self, how):
        if not shutil.which("qemu-storage-daemon"):
            self.skipTest("qemu-storage-daemon is not installed")
        archive = self.file("archive", bytes(10 * MIB))
        fleece = self.file("fleece", bytes(9 * MIB))
        daemon = Daemon(self.dir)
        try:
            daemon.export(self.volume, 8 * MIB)
            self.qemu_write(daemon, 1, 0)
            at_instant = self.content(self.volume)
            self.assertEqual(at_instant[:65536], b"\1" * 65536)
            if how == "fleece":
                daemon.insert_filter(fleece)
                self.qemu_write(daemon, 2, 65536)
                daemon.back_up_snapshot(archive, 32 * MIB)
            else:
                daemon.back_up("top", archive, 8 * MIB)
            self.qemu_write(daemon, 3, 6 * MIB)
            while not daemon.ended():
                time.sleep(0.01)
            self.assertEqual(self.content(archive), at_instant + bytes(2 * MIB))
            self.assertNotEqual(self.content(self.volume), at_instant)
        finally:
            self.assertEqual(daemon.stop(), 0)

    def test_qemu_direct(self):
        self.qemu_backup("direct")

    def test_qemu_fleece(self):
        self.qemu_backup("fleece")

    def test_qemu_cancelled(self):
        if not shutil.which("qemu-storage-daemon"):
            self.skipTest("qemu-storage-daemon is not installed")
        daemon = Daemon(self.dir)
        try:
            daemon.export(self.volume, 8 * MIB)
            daemon.back_up("top", self.file("archive", bytes(8 * MIB)), MIB)
            daemon.cancel()
            with self.assertRaises(BackupFailed):
                while not daemon.ended():
                    time.sleep(0.01)
        finally:
            self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    sys.exit(tap.run(sys.modules[__name__]))
