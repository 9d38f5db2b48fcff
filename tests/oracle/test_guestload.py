#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of guestload's judgement, on files: images taken at one instant are told from others.

The instant is made by stopping the writing process with SIGSTOP while files are copied.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import tap  # noqa: E402

BUILD = os.environ.get("VMAB_BUILD") or os.path.join(HERE, "..", "..", "build")
GUESTLOAD = os.path.join(BUILD, "tests", "guestload")
SIZES = {"a": 9 << 20, "b": (5 << 20) + 70144}
SECTOR = 512


class Base(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory(prefix="guestload-")
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        for name, size in SIZES.items():
            with open(self.path(name), "wb") as f:
                f.truncate(size)

    def path(self, name):
        return os.path.join(self.dir, name)

    def disks(self, *names):
        return [self.path(n) for n in names or SIZES]

    def call(self, *args):
        """Exit status, the JSON line, stderr."""
        r = subprocess.run([GUESTLOAD, *args], capture_output=True, text=True, check=False)
        return r.returncode, json.loads(r.stdout or "null"), r.stderr

    def load(self, *args):
        return self.call("--buffered", "--seed", "5", "--threads", "3", *args, *self.disks())

    def copy(self, suffix):
        for name in SIZES:
            shutil.copyfile(self.path(name), self.path(name + suffix))
        return self.disks(*(n + suffix for n in SIZES))

    def patch(self, name, offset, data):
        with open(self.path(name), "r+b") as f:
            f.seek(offset)
            f.write(data)

    def sector(self, name, offset):
        with open(self.path(name), "rb") as f:
            f.seek(offset)
            return f.read(SECTOR)


class Verify(Base):
    def test_good_then_damaged(self):
        status, report, _ = self.load("--fill", "--writes", "600", "--zero-percent", "10",
                                      "--discard-percent", "10", "--verify",
                                      "--state", self.path("state"))
        self.assertEqual((status, report["mismatches"], report["errors"]), (0, 0, 0))
        self.assertEqual(report["writes"] + report["zeroes"] + report["discards"], 600)
        self.assertEqual(report["verified_sectors"], sum(SIZES.values()) // SECTOR)
        at = next(i for i in range(0, SIZES["b"], SECTOR) if any(self.sector("b", i)))
        old = self.sector("b", at)
        for bad in (bytes(SECTOR), os.urandom(SECTOR), old[:-5] + b"x" + old[-4:],
                    self.sector("a", at)):
            self.patch("b", at, bad)
            status, report, err = self.call("--buffered", "--verify", "--state",
                                            self.path("state"), *self.disks())
            self.assertEqual((status, report["mismatches"]), (1, 1))
            self.assertIn(f"offset {at}:", err)
        self.patch("b", at, old)
        status, report, _ = self.call("--buffered", "--verify", "--state", self.path("state"),
                                      *self.disks())
        self.assertEqual(status, 0)

    def test_same_seed_same_writes(self):
        self.load("--fill-percent", "50", "--writes", "300", "--nowait-percent", "0")
        first = [self.sector(n, i) for n in SIZES for i in range(0, SIZES[n], SECTOR)]
        self.load("--fill-percent", "50", "--writes", "300", "--nowait-percent", "0")
        again = [self.sector(n, i) for n in SIZES for i in range(0, SIZES[n], SECTOR)]
        self.assertEqual(first, again)
        zero = sum(not any(s) for s in first)
        self.assertTrue(0 < zero < len(first))

    def test_only_the_beginning(self):
        status, report, _ = self.load("--fill", "--writes", "100", "--use", str(1 << 20),
                                      "--verify")
        self.assertEqual((status, report["mismatches"]), (0, 0))
        self.assertEqual(report["verified_sectors"], len(SIZES) * (1 << 20) // SECTOR)
        for name in SIZES:
            self.assertFalse(any(self.sector(name, 1 << 20)))

    def test_killed_in_the_middle(self):
        load = subprocess.Popen([GUESTLOAD, "--buffered", "--fill", "--seconds", "60", "--state",
                                 self.path("state"), "--ready-file", self.path("ready"),
                                 *self.disks()], stdout=subprocess.PIPE)
        while not os.path.exists(self.path("ready")):
            time.sleep(0.01)
        time.sleep(0.3)
        load.kill()
        load.communicate()
        time.sleep(0.2)
        status, report, err = self.call("--buffered", "--verify", "--state", self.path("state"),
                                        *self.disks())
        self.assertEqual((status, report["mismatches"]), (0, 0), err)

    def test_wrong_use(self):
        self.load("--fill", "--state", self.path("state"))
        for args in (["--seed", "6", "--verify", "--state", self.path("state")],
                     ["--verify"], [], ["--writes", "0"], ["--writes", "x"],
                     ["--discard-percent", "60", "--zero-percent", "60", "--writes", "1"]):
            status, _, err = self.call("--buffered", *args, *self.disks())
            self.assertEqual(status, 2, args)
            self.assertTrue(err)


class Check(Base):
    def test_sectors(self):
        self.load("--fill-percent", "60")
        status, report, _ = self.call("check", *self.disks())
        self.assertEqual((status, report["foreign"], report["bad"]), (0, 0, 0))
        self.assertTrue(report["zero"] and report["stamps"])
        at = next(i for i in range(SECTOR, SIZES["a"], SECTOR)
                  if any(self.sector("a", i)) and any(self.sector("a", i - SECTOR)))
        good = self.sector("a", at)
        self.patch("a", at, good[:100] + bytes([good[100] ^ 1]) + good[101:])
        status, _, err = self.call("check", *self.disks())
        self.assertEqual(status, 1)
        self.assertIn("torn", err)
        self.patch("a", at, self.sector("a", at - SECTOR))
        status, _, err = self.call("check", *self.disks())
        self.assertEqual(status, 1)
        self.assertIn("misplaced", err)
        self.patch("a", at, b"\1" * SECTOR)
        status, report, _ = self.call("check", *self.disks())
        self.assertEqual((status, report["foreign"]), (0, 1))
        status, _, err = self.call("check", "--no-foreign", *self.disks())
        self.assertEqual(status, 1)

    def test_instant(self):
        load = subprocess.Popen([GUESTLOAD, "--buffered", "--fill-percent", "70", "--seconds", "60",
                                 "--threads", "3", "--seed", "9", "--zero-percent", "8",
                                 "--discard-percent", "8", "--pause-us", "200",
                                 "--log", self.path("log"), "--stop-file", self.path("stop"),
                                 "--ready-file", self.path("ready"), *self.disks()],
                                stdout=subprocess.PIPE)
        while not os.path.exists(self.path("ready")):
            time.sleep(0.01)
        time.sleep(0.5)
        with open(f"/proc/{load.pid}/task/{load.pid}/children", encoding="ascii") as f:
            writer = int(f.read().split()[0])
        snapshots = []
        for i in range(3):
            os.kill(writer, signal.SIGSTOP)
            time.sleep(0.1)
            before = time.monotonic_ns()
            snapshots.append((self.copy(f".{i}"), before))
            os.kill(writer, signal.SIGCONT)
            time.sleep(0.4)
        with open(self.path("stop"), "wb"):
            pass
        load.communicate()
        self.assertEqual(load.returncode, 0)

        log = ["check", "--log", self.path("log")]
        for images, when in snapshots:
            status, report, err = self.call(*log, *images)
            self.assertEqual((status, report["bad"]), (0, 0), err)
            low, high = report["instant_ns"]
            self.assertLessEqual(low, when)
            self.assertGreaterEqual(high, when)
        # One disk of one instant, the other of another.
        status, _, err = self.call(*log, snapshots[0][0][0], snapshots[1][0][1])
        self.assertEqual(status, 1)
        self.assertIn("lacks", err)
        # Half of one disk is older.
        mixed = self.path("mixed")
        shutil.copyfile(snapshots[2][0][0], mixed)
        with open(snapshots[1][0][0], "rb") as old:
            self.patch("mixed", 0, old.read(SIZES["a"] // 2))
        status, _, err = self.call(*log, mixed, snapshots[2][0][1])
        self.assertEqual(status, 1)
        # One stripe, of one thread, is older.
        differ = [s for s in range(SIZES["a"] >> 20)
                  if self.stripe(snapshots[1][0][0], s) != self.stripe(snapshots[2][0][0], s)]
        shutil.copyfile(snapshots[2][0][0], mixed)
        self.patch("mixed", differ[0] << 20, self.stripe(snapshots[1][0][0], differ[0]))
        status, _, err = self.call(*log, mixed, snapshots[2][0][1])
        self.assertEqual(status, 1)
        # Neither needs the other disk, nor an image that goes no further than the log.
        with open(mixed, "ab") as f:
            f.write(bytes(1 << 20))
        status, _, err = self.call(*log, "--use", str(SIZES["a"]), mixed, "-")
        self.assertEqual(status, 1, err)
        status, report, err = self.call(*log, snapshots[2][0][0], "-")
        self.assertEqual((status, report["bad"]), (0, 0), err)
        self.assertLessEqual(report["instant_ns"][0], snapshots[2][1])
        status, _, err = self.call("check", snapshots[2][0][0], "-")
        self.assertEqual(status, 2)
        self.assertIn("--log", err)

    def stripe(self, path, nr):
        with open(path, "rb") as f:
            f.seek(nr << 20)
            return f.read(1 << 20)


def main():
    made = subprocess.run(["make", "-s", "-C", os.path.join(HERE, "..", "tools"),
                           "OUT=" + os.path.abspath(os.path.join(BUILD, "tests"))],
                          capture_output=True, text=True, check=False)
    if made.returncode:
        print("Bail out! guestload can't be built")
        print("".join(f"# {line}\n" for line in made.stderr.splitlines()), end="")
        return 1
    return tap.run(sys.modules[__name__])


if __name__ == "__main__":
    sys.exit(main())
