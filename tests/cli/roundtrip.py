#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random sets of disks, there and back: vmactl's writer against the tests' reader, the tests'
writer against vmactl's reader, each with every compression.

usage: roundtrip.py VMACTL RUNS SEED

Run N of seed S is run 1 of seed S + N - 1; the seed is in the name of each test point.
Prints TAP, two points for each run and compression.
"""
import filecmp
import os
import random
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE = os.path.join(HERE, "../oracle/vmaread.py")
MKVMA = os.path.join(HERE, "mkvma.py")
VMACTL, RUNS, SEED = os.path.realpath(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

# Compression: suffix, and what others pack and unpack it with.
CODECS = {
    "none": ("", None, None),
    "zstd": (".zst", ["zstd", "-q", "-c"], None),
    "gzip": (".gz", ["gzip", "-c"], None),
    # The tests' reader knows the two above by itself.
    "lzo": (".lzo", ["lzop", "-c"], ["lzop", "-dc"]),
}

SECTOR, BLOCK, CLUSTER = 512, 4096, 65536
# Bytes of data in all disks of a run: many runs find more than large ones.
BUDGET = 12 << 20
MAX_DISKS = 254
# Of a disk that is all holes but for a little: more clusters than one group of a cluster set
# has, and than a page of an index.
WIDE = 5 << 30
NAME_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+@#%~"


class Wrong(Exception):
    pass


def sh(*command, stdin=None, binary=False):
    """What the command prints; it succeeds without a word on stderr."""
    done = subprocess.run(command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode or done.stderr:
        raise Wrong(f"{' '.join(command)[:300]}: exit status {done.returncode}: "
                    f"{done.stderr.decode(errors='replace')[:500]}")
    return done.stdout if binary else done.stdout.decode()


def through(command, source, target):
    with open(source, "rb") as i, open(target, "xb") as o:
        subprocess.run(command, stdin=i, stdout=o, check=True)


def same(a, b):
    if not filecmp.cmp(a, b, shallow=False):
        raise Wrong(f"{a} and {b} differ")


def names(rng, count):
    found = {}
    while len(found) < count:
        name = rng.choice(NAME_CHARS[:62])
        name += "".join(rng.choices(NAME_CHARS, k=rng.choice((0, 1, 6, 12, 30))))
        found[name] = True
    return list(found)


def nr_disks(rng):
    return rng.choice((1, rng.randint(2, 6), rng.randint(2, 6), rng.randint(7, 60),
                       rng.randint(61, MAX_DISKS), MAX_DISKS))


def disk_size(rng, room, unit):
    """Of all kinds of oddness; a multiple of unit."""
    size = rng.choice((unit, rng.randint(1, room), rng.randint(1, CLUSTER),
                       rng.randint(1, room // BLOCK + 1) * BLOCK,
                       rng.randint(1, room // CLUSTER + 1) * CLUSTER +
                       rng.choice((0, 0, -unit, unit))))
    return max(size - size % unit, unit)


def stuff(rng, size):
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(size)
    if kind == 1:
        return bytes([rng.randrange(256)]) * size
    if kind == 2:
        return (b"%d lines of text\n" % rng.randrange(1000) * (size // 12 + 1))[:size]
    return rng.randbytes(size)


def make_image(rng, path, size):
    """Holes, and whatever is written into them, at any byte."""
    with open(path, "xb") as f:
        f.truncate(size)
        if rng.random() < 0.1:
            return
        dense = rng.random() < 0.5
        at = 0
        while at < size:
            length = min(size - at, rng.choice((1, 700, BLOCK, 3 * BLOCK, CLUSTER, 5 * CLUSTER)))
            if dense or rng.random() < 0.4:
                f.seek(at)
                f.write(stuff(rng, length))
            at += length


def make_wide(rng, path):
    size = WIDE + rng.randint(-300, 300) * SECTOR
    with open(path, "xb") as f:
        f.truncate(size)
        for _ in range(rng.randint(1, 20)):
            f.seek(rng.randrange(size - CLUSTER))
            f.write(stuff(rng, rng.randint(1, CLUSTER)))


class Set:
    """Image files and configurations that vmactl makes archives of."""

    def __init__(self, rng):
        self.rng = rng
        count = nr_disks(rng)
        self.disks = names(rng, count)
        if rng.random() < 0.3:
            self.disks[rng.randrange(count)] = "vmstate"
        for name in self.disks:
            make_image(rng, f"image-{name}", disk_size(rng, max(BUDGET // count, SECTOR),
                                                       rng.choice((1, SECTOR, SECTOR))))
        if rng.random() < 0.25 and self.disks[0] != "vmstate":
            os.unlink(f"image-{self.disks[0]}")
            make_wide(rng, f"image-{self.disks[0]}")
        self.configs = names(rng, rng.choice((0, 1, 2, 2, 30)))
        os.mkdir("configs")
        for name in self.configs:
            with open(f"configs/{name}", "xb") as f:
                f.write(stuff(rng, rng.choice((0, 1, 200, 4000, rng.randint(0, 65535)))))

    def pad(self):
        """What is no multiple of a sector is filled up with zeroes in an archive."""
        for name in self.disks:
            path = f"image-{name}"
            size = os.path.getsize(path)
            os.truncate(path, size + -size % SECTOR)

    def create(self, archive, codec):
        command = [VMACTL, "create"]
        if CODECS[codec][0] and self.rng.random() < 0.5:
            command.append(f"--compress={codec}")
        if codec in ("none", "zstd"):
            command.append("--index")
        command.append(archive)
        for name in self.configs:
            command += ["-c", f"configs/{name}"]
        for name in self.disks:
            if self.rng.random() < 0.5:
                command += ["-d", f"format=raw:{name}=image-{name}"]
            else:
                command += ["-d", f"{name}=image-{name}"]
        sh(*command)

    def judge(self, archive, codec):
        """By the tests' reader, and by vmactl's."""
        unpack = CODECS[codec][2]
        if unpack:
            through(unpack, archive, "unpacked")
        read = "unpacked" if unpack else archive
        sh(sys.executable, ORACLE, "compare", "-q", read,
           *(f"{name}=image-{name}" for name in self.disks))
        sh(VMACTL, "verify", archive)
        sh(VMACTL, "extract", archive, "out")
        for name in self.disks:
            same(f"image-{name}", result_name("out", name))
        for name in self.configs:
            same(f"configs/{name}", f"out/{name}")
        for name in self.rng.sample(self.disks, min(3, len(self.disks))):
            if codec in ("none", "zstd"):
                check_range(self.rng, archive, name, f"image-{name}")
        shutil.rmtree("out")


def result_name(directory, name):
    return f"{directory}/vmstate.bin" if name == "vmstate" else f"{directory}/disk-{name}.raw"


def check_range(rng, archive, name, expected):
    size = os.path.getsize(expected)
    at = rng.randrange(size)
    length = min(size - at, rng.choice((1, 513, BLOCK, 3 * CLUSTER + 1)))
    got = sh(VMACTL, "cat", archive, "--disk", name, "--offset", str(at), "--length", str(length),
             binary=True)
    with open(expected, "rb") as f:
        f.seek(at)
        if got != f.read(length):
            raise Wrong(f"bytes {at} to {at + length} of {name} in {archive} are wrong")


class Described:
    """An archive that the tests' writer makes; clusters in any order, extents of any size."""

    def __init__(self, rng):
        self.rng = rng
        count = nr_disks(rng)
        self.disks = names(rng, count)
        if rng.random() < 0.3:
            self.disks[rng.randrange(count)] = "vmstate"
        ids = rng.sample(range(1, MAX_DISKS + 1), count)
        self.sizes = {n: disk_size(rng, max(BUDGET // count, SECTOR), SECTOR) for n in self.disks}
        self.configs = names(rng, rng.choice((0, 1, 2, 2, 20)))
        lines = [f"ctime {rng.randint(0, 1 << 33)}"]
        for name in self.configs:
            data = stuff(rng, rng.choice((0, 1, 100, 1000)))
            lines.append(f"config {name} " + "".join(f"\\x{b:02x}" for b in data))
        for number, name in zip(ids, self.disks):
            lines.append(f"device {number} {self.sizes[name]} {name}")
        lines += self.clusters(dict(zip(ids, self.disks)))
        with open("description", "x", encoding="latin-1") as f:
            f.write("\n".join(lines) + "\n")
        with open("description", "rb") as f:
            sh(sys.executable, MKVMA, "made.vma", "expected", stdin=f)

    def clusters(self, disks):
        rng = self.rng
        todo = [(d, n) for d, name in disks.items()
                for n in range((self.sizes[name] + CLUSTER - 1) // CLUSTER)]
        if rng.random() < 0.7:
            rng.shuffle(todo)
        # Of a machine's memory alone the order is fixed.
        memory = [d for d, name in disks.items() if name == "vmstate"]
        if memory:
            ordered = iter(sorted(t for t in todo if t[0] == memory[0]))
            todo = [next(ordered) if t[0] == memory[0] else t for t in todo]
        full = rng.choice((1, 5, 58, 59))
        used = full
        for d, n in todo:
            if used >= full:
                yield "extent"
                used = 0
            while used + 1 < full and rng.random() < 0.05:
                yield "unused"
                used += 1
            mask = rng.choice((0, 0, 0xFFFF, 0xFFFF, rng.randrange(1 << 16), 1, 0x8000))
            yield f"cluster {d} {n} {mask:04x} {rng.randrange(256):02x}"
            used += 1

    def judge(self, codec):
        suffix, pack, _ = CODECS[codec]
        archive = "made.vma" + suffix
        if pack:
            through(pack, "made.vma", archive)
        listed = sh(VMACTL, "list", archive)
        for name in self.disks:
            line = f" size: {self.sizes[name]} devname: {name}\n"
            if name == "vmstate":
                line = f" memory: {self.sizes[name]}\n"
            if line not in listed:
                raise Wrong(f"{archive}: {name} is not listed as it is:\n{listed[:500]}")
        sh(VMACTL, "verify", archive)
        sh(VMACTL, "extract", archive, "out")
        want = sorted(os.listdir("expected"))
        if sorted(os.listdir("out")) != want:
            raise Wrong(f"{archive}: extracted {sorted(os.listdir('out'))}, wanted {want}")
        for name in want:
            same(f"expected/{name}", f"out/{name}")
        for name in self.configs[:2]:
            with open(f"expected/{name}", "rb") as f:
                if sh(VMACTL, "config", archive, "-c", name, binary=True) != f.read():
                    raise Wrong(f"{archive}: configuration {name} is wrong")
        if codec == "none":
            for name in self.rng.sample(self.disks, min(3, len(self.disks))):
                check_range(self.rng, archive, name, result_name("expected", name))
        shutil.rmtree("out")


class Tap:
    def __init__(self, planned):
        self.seen = self.bad = 0
        print(f"TAP version 13\n1..{planned}", flush=True)

    def point(self, name, work):
        self.seen += 1
        try:
            work()
            print(f"ok {self.seen} - {name}", flush=True)
        except (Wrong, OSError, subprocess.CalledProcessError) as e:
            self.bad += 1
            print(f"not ok {self.seen} - {name}")
            for line in str(e).splitlines():
                print(f"# {line}")


def one_run(tap, seed):
    rng = random.Random(seed)
    ours = Set(rng)
    made = Described(rng)

    def there(codec):
        archive = "ours.vma" + CODECS[codec][0]
        ours.create(archive, codec)
        ours.pad()
        ours.judge(archive, codec)

    # Only the first one of ours gets images that are no multiple of a sector.
    for codec in rng.sample(list(CODECS), len(CODECS)):
        shutil.rmtree("out", ignore_errors=True)
        if os.path.exists("unpacked"):
            os.unlink("unpacked")
        tap.point(f"seed {seed}: {len(ours.disks)} disks, {len(ours.configs)} configurations by "
                  f"vmactl, {codec}", lambda c=codec: there(c))
        shutil.rmtree("out", ignore_errors=True)
        tap.point(f"seed {seed}: {len(made.disks)} disks, {len(made.configs)} configurations by "
                  f"the tests' writer, {codec}", lambda c=codec: made.judge(c))


def main():
    tap = Tap(RUNS * 2 * len(CODECS))
    for seed in range(SEED, SEED + RUNS):
        with tempfile.TemporaryDirectory(prefix="vmactl-roundtrip.") as directory:
            os.chdir(directory)
            one_run(tap, seed)
            os.chdir("/")
    sys.exit(tap.bad > 0)


main()
