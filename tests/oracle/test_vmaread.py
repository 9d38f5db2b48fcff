#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of vmaread.py: every rule is broken once and must be noticed, by name and place.

The archives are put together here, byte by byte, by a builder that knows nothing of the
reader.  Prints TAP; exit status 1 if anything failed.
"""

import ctypes
import gzip
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap      # noqa: E402
import vmaread  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
VMAREAD = os.path.join(HERE, "vmaread.py")
UUID = bytes(range(1, 17))


def fix_md5(data, at):
    data[at:at + 16] = bytes(16)
    data[at:at + 16] = hashlib.md5(data).digest()
    return data


class Builder:
    """A header and a list of extents, all of them open to mischief before build()."""

    def __init__(self, configs=(), devices=()):
        self.head = bytearray(12288)
        self.head[0:4] = b"VMA\0"
        self.head[7] = 1
        self.head[8:24] = UUID
        self.head[24:32] = (1700000000).to_bytes(8, "big")
        self.blobs = bytearray(1)
        self.blob_size = None
        self.header_size = None
        self.extents = []       # [header bytearray, data, refresh MD5?]
        self.head_md5 = True
        self.tail = b""
        for i, (name, content) in enumerate(configs):
            self.put32(2044 + 4 * i, self.blob(name.encode() + b"\0"))
            self.put32(3068 + 4 * i, self.blob(content))
        for dev_id, name, size in devices:
            self.put32(4096 + 32 * dev_id, self.blob(name.encode() + b"\0"))
            self.head[4096 + 32 * dev_id + 8:4096 + 32 * dev_id + 16] = size.to_bytes(8, "big")

    def blob(self, content):
        at = len(self.blobs)
        self.blobs += len(content).to_bytes(2, "little") + content
        return at

    def put32(self, at, value):
        self.head[at:at + 4] = value.to_bytes(4, "big")

    def get32(self, at):
        return int.from_bytes(self.head[at:at + 4], "big")

    def extent(self, infos, data, block_count=None, reserved=0):
        """infos: (dev_id, cluster, mask) or a raw 64-bit blockinfo."""
        h = bytearray(512)
        h[0:4] = b"VMAE"
        raw = [i if isinstance(i, int) else i[2] << 48 | i[0] << 32 | i[1] for i in infos]
        if block_count is None:
            block_count = sum(bin(i >> 48).count("1") for i in raw)
        struct.pack_into(">HH", h, 4, reserved, block_count)
        h[8:24] = UUID
        struct.pack_into(f">{len(raw)}Q", h, 40, *raw)
        self.extents.append([h, data, True])
        return h

    def build(self):
        head = bytearray(self.head)
        used = len(self.blobs) if self.blob_size is None else self.blob_size
        size = 12288 + (len(self.blobs) + 511) // 512 * 512
        if self.header_size is not None:
            size = self.header_size
        if not head[48:60].strip(b"\0"):
            struct.pack_into(">III", head, 48, 12288, used, size)
        head += self.blobs + bytes(max(0, size - 12288 - len(self.blobs)))
        if self.head_md5:
            whole = head[:size] if size >= 12288 else head
            fix_md5(whole, 32)
            head[:len(whole)] = whole
        out = bytes(head)
        for h, data, md5 in self.extents:
            out += bytes(fix_md5(h, 24) if md5 else h) + data
        return out + self.tail


def add_sums(b, tag=0x58):
    """As Documentation/vma-checksums.rst has it."""
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    xxh3.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    xxh3.restype = ctypes.c_uint64
    for h, data, _ in b.extents:
        at, sums = 0, b""
        for i in range(58):
            info, = struct.unpack_from(">Q", h, 40 + 8 * i)
            if not info >> 32 & 0xFF:
                continue
            size = bin(info >> 48).count("1") * 4096
            sums += xxh3(data[at:at + size], size).to_bytes(8, "big")
            h[40 + 8 * i + 2] = sums[-1]
            at += size
        total = xxh3(sums, len(sums))
        struct.pack_into(">HBBI", h, 40 + 8 * 58, total >> 32 & 0xFFFF, tag, 0,
                         total & 0xFFFFFFFF)


def blocks(*letters):
    return b"".join(c.encode() * 4096 for c in letters)


def good():
    """Two disks, out of order and interleaved, a short last block, unused blockinfos."""
    b = Builder([("qemu-server.conf", b"memory: 512\n"), ("qemu-server.fw", b"")],
                [(1, "drive-scsi0", 3 * 65536), (2, "drive-scsi1", 65536 + 4096 + 512)])
    b.extent([(2, 1, 0b11), (1, 2, 0), 0, (1, 0, 0x8001)],
             blocks("a") + b"b" * 512 + bytes(3584) + blocks("c", "d"))
    b.extent([(1, 1, 0xFFFF), (2, 0, 0x0010)], blocks(*"ABCDEFGHIJKLMNOP", "q"))
    return b


IMAGE1 = (blocks("c") + bytes(14 * 4096) + blocks("d") + blocks(*"ABCDEFGHIJKLMNOP")
          + bytes(65536))
IMAGE2 = bytes(4 * 4096) + blocks("q") + bytes(11 * 4096) + blocks("a") + b"b" * 512


class Base(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory(prefix="vmaread-")
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def run_tool(self, *args, data=None):
        return subprocess.run([sys.executable, "-B", VMAREAD, *args], input=data,
                              capture_output=True, check=False)

    def refuse(self, builder, what, lenient=False, offset=None):
        """Refused, with WHAT in the message, at OFFSET; and with --lenient if it says so."""
        path = self.write("bad.vma", builder if isinstance(builder, bytes) else builder.build())

        def whole(lenient):
            for _ in vmaread.Archive(path, lenient).extents():
                pass

        with self.assertRaises(vmaread.VmaError) as caught:
            whole(False)
        self.assertIn(what, str(caught.exception))
        if offset is not None:
            self.assertEqual(offset, caught.exception.offset)
        if lenient:
            whole(True)
        else:
            with self.assertRaises(vmaread.VmaError):
                whole(True)


class Good(Base):
    def check_extracted(self, directory):
        for name, content in (("disk-drive-scsi0.raw", IMAGE1), ("disk-drive-scsi1.raw", IMAGE2),
                              ("qemu-server.conf", b"memory: 512\n"), ("qemu-server.fw", b"")):
            with open(os.path.join(directory, name), "rb") as f:
                self.assertEqual(f.read(), content, name)
        self.assertEqual(len(os.listdir(directory)), 4)

    def test_check(self):
        r = self.run_tool("check", self.write("a.vma", good().build()))
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        self.assertIn(b"2 devices, 2 configs, 2 extents", r.stdout)

    def test_list(self):
        r = self.run_tool("list", "--json", self.write("a.vma", good().build()))
        self.assertEqual(r.returncode, 0)
        j = json.loads(r.stdout)
        self.assertEqual(j["ctime"], 1700000000)
        self.assertEqual(j["uuid"], UUID.hex())
        self.assertEqual(j["configs"], [{"name": "qemu-server.conf", "size": 12},
                                        {"name": "qemu-server.fw", "size": 0}])
        self.assertEqual(j["devices"][1], {"dev_id": 2, "name": "drive-scsi1", "size": 70144})
        r = self.run_tool("list", self.path("a.vma"))
        self.assertIn(b"device 1 drive-scsi0 196608\n", r.stdout)

    def test_extract(self):
        r = self.run_tool("extract", self.write("a.vma", good().build()), self.path("out"))
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        self.check_extracted(self.path("out"))

    def test_extract_is_sparse(self):
        b = Builder([], [(1, "big", 64 << 20)])
        for first in range(0, 1024, 59):
            b.extent([(1, c, 0) for c in range(first, min(1024, first + 59))], b"")
        r = self.run_tool("extract", self.write("a.vma", b.build()), self.path("out"))
        self.assertEqual(r.returncode, 0)
        st = os.stat(self.path("out/disk-big.raw"))
        self.assertEqual(st.st_size, 64 << 20)
        self.assertLess(st.st_blocks * 512, 1 << 20)

    def test_extract_from_pipes(self):
        plain = good().build()
        zstd = subprocess.run(["zstd", "-q", "-c"], input=plain, capture_output=True,
                              check=True).stdout
        skippable = struct.pack("<II", 0x184D2A50, 3) + b"abc"
        half = len(plain) // 2
        frames = b"".join(subprocess.run(["zstd", "-q", "-c"], input=part, capture_output=True,
                                         check=True).stdout
                          for part in (plain[:half], plain[half:]))
        members = gzip.compress(plain[:half]) + gzip.compress(plain[half:])
        for i, data in enumerate((plain, zstd, skippable + zstd, frames, gzip.compress(plain),
                                  members)):
            with self.subTest(kind=i):
                r = self.run_tool("extract", "-", self.path(f"pipe{i}"), data=data)
                self.assertEqual((r.returncode, r.stderr), (0, b""))
                self.check_extracted(self.path(f"pipe{i}"))
                r = self.run_tool("extract", self.write(f"{i}.vma", data), self.path(f"file{i}"))
                self.assertEqual((r.returncode, r.stderr), (0, b""))
                self.check_extracted(self.path(f"file{i}"))

    def test_extract_leaves_nothing(self):
        r = self.run_tool("extract", self.write("a.vma", good().build()[:-1]), self.path("out"))
        self.assertEqual(r.returncode, 1)
        self.assertEqual(os.listdir(self.dir), ["a.vma"])
        os.mkdir(self.path("out"))
        r = self.run_tool("extract", self.path("a.vma"), self.path("out"))
        self.assertEqual(r.returncode, 2)
        self.assertEqual(os.listdir(self.path("out")), [])

    def test_config_and_disk_of_one_name(self):
        b = Builder([("disk-a.raw", b"x")], [(1, "a", 512)])
        b.extent([(1, 0, 0)], b"")
        r = self.run_tool("extract", self.write("a.vma", b.build()), self.path("out"))
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"both called disk-a.raw", r.stderr)
        self.assertEqual(os.listdir(self.dir), ["a.vma"])

    def test_stats(self):
        b = good()
        b.extents[1][1] = bytes(4096) + b.extents[1][1][4096:]
        b.extent([], b"")
        r = self.run_tool("stats", "--json", self.write("a.vma", b.build()))
        self.assertEqual(r.returncode, 0)
        j = json.loads(r.stdout)
        one, two = j["devices"]
        self.assertEqual((one["clusters"], one["zero_clusters"], one["stored_blocks"],
                          one["stored_zero_blocks"], one["descents"]), (3, 1, 18, 1, 1))
        self.assertEqual((two["clusters"], two["zero_clusters"], two["stored_blocks"],
                          two["stored_zero_blocks"], two["descents"]), (2, 0, 3, 0, 1))
        self.assertEqual(j["order"], [["drive-scsi1", 1, 1], ["drive-scsi0", 2, 1],
                                      ["drive-scsi0", 0, 2], ["drive-scsi1", 0, 1]])
        self.assertEqual(j["extents"], {"count": 3, "empty": 1, "full": 0,
                                        "unused_blockinfo": 56 + 57 + 59, "summed": 0})

    def test_no_devices(self):
        b = Builder([("a.conf", b"x")], [])
        self.assertEqual(self.run_tool("check", self.write("a.vma", b.build())).returncode, 0)

    def test_59_clusters_and_random_content(self):
        rnd = random.Random(7)
        size = 59 * 65536 - 512
        image = bytearray(size)
        infos, data = [], b""
        order = list(range(59))
        rnd.shuffle(order)
        for cluster in order:
            mask = rnd.choice((0, 0xFFFF, rnd.getrandbits(16)))
            for bit in range(16):
                if mask >> bit & 1:
                    at = cluster * 65536 + bit * 4096
                    block = rnd.randbytes(4096)[:size - at]
                    image[at:at + 4096] = block
                    data += block + bytes(4096 - len(block))
            infos.append((1, cluster, mask))
        b = Builder([], [(1, "d", size)])
        b.extent(infos, data)
        self.assertEqual(len(image), size)
        r = self.run_tool("extract", self.write("a.vma", b.build()), self.path("out"))
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        with open(self.path("out/disk-d.raw"), "rb") as f:
            self.assertEqual(f.read(), image)

    def test_vmstate(self):
        b = Builder([], [(1, "vmstate", 65536 * 2)])
        b.extent([(1, 0, 1), (1, 1, 0)], blocks("v"))
        r = self.run_tool("extract", self.write("a.vma", b.build()), self.path("out"))
        self.assertEqual(r.returncode, 0)
        self.assertEqual(os.listdir(self.path("out")), ["vmstate.bin"])


class Sums(Base):
    def check(self, b, *extra):
        return self.run_tool("check", *extra, self.write("a.vma", b.build()))

    def refused(self, b, *words):
        r = self.check(b)
        self.assertEqual(r.returncode, 1)
        for word in words:
            self.assertIn(word, r.stderr)

    def test_good(self):
        b = good()
        add_sums(b)
        r = self.check(b)
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        self.assertIn(b"2 with sums", r.stdout)

    def test_changed_data(self):
        b = good()
        add_sums(b)
        b.extents[0][1] = b.extents[0][1][:4097] + b"X" + b.extents[0][1][4098:]
        self.refused(b, b"differs from its sum: cluster 1 of device drive-scsi1")

    def test_changed_sum(self):
        b = good()
        add_sums(b)
        b.extents[1][0][40 + 8 * 58 + 7] ^= 1
        self.refused(b, b"which cluster's can't be told")

    def test_missing_sum(self):
        b = good()
        add_sums(b)
        h = b.extents[1][0]
        h[40 + 8 * 58:] = bytes(8)
        self.refused(b, b"sum of the extent's data is missing")

    def test_other_tag(self):
        b = good()
        add_sums(b, 0x59)
        self.refused(b, b"reserved byte of a blockinfo")
        self.assertEqual(self.check(b, "--lenient").returncode, 0)


class Compare(Base):
    def compare(self, one, two, *extra):
        self.write("a.vma", good().build())
        return self.run_tool("compare", *extra, self.path("a.vma"),
                             "drive-scsi0=" + self.write("1", one),
                             "drive-scsi1=" + self.write("2", two))

    def test_same(self):
        r = self.compare(IMAGE1, IMAGE2)
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        self.assertEqual(r.stdout.count(b"same:"), 2)

    def test_stored_byte_differs(self):
        bad = bytearray(IMAGE1)
        bad[65536 + 5000] ^= 1
        bad[65536 + 5001] ^= 1
        bad[70] ^= 1
        r = self.compare(bytes(bad), IMAGE2)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"device drive-scsi0 differs", r.stderr)
        self.assertIn(b"first at offset 70, 2 of 3 clusters", r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1)

    def test_zero_byte_differs(self):
        bad = bytearray(IMAGE1)
        bad[2 * 65536 + 65535] = 1
        bad[4096] = 1
        r = self.compare(bytes(bad), IMAGE2)
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"first at offset 4096, 2 of 3 clusters", r.stderr)

    def test_last_byte_differs(self):
        r = self.compare(IMAGE1, IMAGE2[:-1] + b"c")
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"drive-scsi1 differs", r.stderr)
        self.assertIn(b"first at offset 70143, 1 of 2 clusters", r.stderr)

    def test_wrong_use(self):
        for spec, what in ((["drive-scsi0=" + self.write("x", IMAGE1)], b"drive-scsi1"),
                           (["nope=" + self.path("x")], b"no device nope"),
                           (["drive-scsi1=" + self.path("x")], b"has 196608 bytes"),
                           (["drive-scsi0=" + self.path("x")] * 2, b"given twice"),
                           (["drive-scsi0"], b"NAME=PATH"),
                           (["drive-scsi0=" + self.path("none")], b"No such file")):
            self.write("a.vma", good().build())
            r = self.run_tool("compare", self.path("a.vma"), *spec)
            self.assertEqual(r.returncode, 2, spec)
            self.assertIn(what, r.stderr)
        r = self.run_tool("compare", "--partial", self.path("a.vma"),
                          "drive-scsi0=" + self.path("x"))
        self.assertEqual(r.returncode, 0)

    def test_bad_archive(self):
        data = good().build()
        self.write("a.vma", data[:-1])
        r = self.run_tool("compare", self.path("a.vma"), "drive-scsi0=" + self.write("1", IMAGE1),
                          "drive-scsi1=" + self.write("2", IMAGE2))
        self.assertEqual(r.returncode, 1)
        self.assertIn(b"truncated", r.stderr)


class BadHeader(Base):
    def test_magic(self):
        b = good()
        b.head[3] = 1
        self.refuse(b, "bad magic", offset=0)

    def test_empty_and_short(self):
        self.refuse(b"", "truncated", offset=0)
        self.refuse(good().build()[:12000], "truncated", offset=12000)
        self.refuse(good().build()[:12290], "truncated", offset=12290)

    def test_version(self):
        b = good()
        b.head[7] = 2
        self.refuse(b, "version 2", offset=4)

    def test_md5(self):
        b = good()
        b.head_md5 = False
        self.refuse(b, "MD5 of the header", offset=32)

    def test_every_header_byte_is_under_the_md5(self):
        data = good().build()
        for at in list(range(60)) + [2044, 3068, 4096, 12287, 12288, 12799]:
            bad = bytearray(data)
            bad[at] ^= 0x80
            with self.subTest(at=at):
                path = self.write("bad.vma", bytes(bad))
                with self.assertRaises(vmaread.VmaError):
                    vmaread.Archive(path)

    def test_header_size(self):
        b = good()
        b.header_size = 12288
        self.refuse(b, "header_size 12288", offset=56)
        struct.pack_into(">III", b.head, 48, 12288, 1, 0xFFFFFFFF)
        self.refuse(bytes(b.head) + bytes(512), "is beyond", offset=56)

    def test_header_size_rules(self):
        b = good()
        b.header_size = 12288 + 600
        self.refuse(b, "no multiple of 512", lenient=True, offset=56)
        b.header_size = 12288 + 1024
        self.refuse(b, "more than blob_buffer_size", lenient=True, offset=56)
        b = Builder([(f"c{i}", b"x" * 65535) for i in range(8)], [])
        self.refuse(b, "beyond 524288", lenient=True, offset=56)

    def test_blob_buffer(self):
        b = good()
        b.blob_size = 513
        self.refuse(b, "runs past the header", offset=52)
        b = good()
        b.blob_size = 512
        self.write("a.vma", b.build())
        self.assertEqual(self.run_tool("check", self.path("a.vma")).returncode, 0)
        b = Builder()
        b.blob_size = 0
        b.header_size = 12800
        self.refuse(b, "blob_buffer_size is 0", lenient=True)
        b = good()
        struct.pack_into(">III", b.head, 48, 12289, len(b.blobs), 12800)
        self.refuse(b, "blob_buffer_offset", offset=48)

    def test_blob_past_the_buffer(self):
        b = good()
        b.put32(2044, 0xFFFFFFFF)
        self.refuse(b, "past the blob buffer", offset=2044)
        b = good()
        b.put32(3068, len(b.blobs) - 1)
        self.refuse(b, "past the blob buffer", offset=3068)
        b = good()
        b.blobs[b.get32(3072) + 1] = 0xFF
        self.refuse(b, "runs past the blob buffer")

    def test_blob_length_is_little_endian(self):
        b = good()
        at = b.get32(3068)
        b.blobs[at:at + 2] = b.blobs[at:at + 2][::-1]
        self.refuse(b, "runs past the blob buffer", offset=12288 + at)

    def test_bytes_between_blobs(self):
        b = good()
        b.blobs[0] = 1
        self.refuse(b, "belong to no blob", lenient=True, offset=12288)
        b = good()
        b.blobs += b"x"
        self.refuse(b, "behind the last blob", lenient=True)
        b = good()
        b.put32(3072, b.get32(3068))
        self.refuse(b, "blobs overlap", lenient=True)

    def test_reserved(self):
        for at in (60, 1000, 2043, 4092, 4095):
            b = good()
            b.head[at] = 1
            self.refuse(b, "reserved bytes of the header", lenient=True)
        for at in (4096, 4096 + 15, 4096 + 255 * 32 + 15):
            b = good()
            b.head[at] = 1
            self.refuse(b, "can't be used", lenient=True)
        for at in (4128 + 7, 4128 + 16, 4128 + 31, 4096 + 100 * 32 + 20):
            b = good()
            b.head[at] = 1
            self.refuse(b, "reserved bytes of dev_info", lenient=True)

    def test_zero_uuid_and_negative_time(self):
        b = good()
        b.head[8:24] = bytes(16)
        for h, _, _ in b.extents:
            h[8:24] = bytes(16)
        self.refuse(b, "uuid is all zero", lenient=True)
        b = good()
        b.head[24] = 0x80
        self.refuse(b, "negative", lenient=True)

    def test_names_without_terminator(self):
        for name in (b"", b"abc", b"a\0c\0"):
            b = Builder()
            b.put32(2044, b.blob(name))
            b.put32(3068, b.blob(b"x"))
            self.refuse(b, "NUL", offset=12289)
        b = Builder()
        b.put32(2044, b.blob(b"\xff\xfe\0"))
        b.put32(3068, b.blob(b"x"))
        self.refuse(b, "UTF-8")

    def test_config_names(self):
        for name in ("", "a/b", "/etc/passwd", "..", ".", "../x", "a\nb", "a\x7f"):
            with self.subTest(name=name):
                self.refuse(Builder([(name, b"x")]), "config name")
        self.refuse(Builder([("a", b"x"), ("a", b"y")]), "comes twice")

    def test_half_configs(self):
        b = good()
        b.put32(2044 + 40, b.blob(b"n\0"))
        self.refuse(b, "name without data", lenient=True, offset=2044 + 40)
        b = good()
        b.put32(3068 + 40, b.blob(b"n"))
        self.refuse(b, "data without a name", lenient=True, offset=2044 + 40)

    def test_device_names(self):
        for name in ("", "a b", "a\tb", "a=b", "a:b", "../x", "..", "a/b", "a\u00a0b", "a\x01"):
            with self.subTest(name=name):
                self.refuse(Builder([], [(1, name, 512)]), "device name")
        self.refuse(Builder([], [(1, "a", 512), (2, "a", 512)]), "comes twice")

    def test_device_sizes(self):
        for size in (0, 511, 65537, 1 << 63):
            with self.subTest(size=size):
                self.refuse(Builder([], [(1, "a", size)]), f"size {size}", offset=4136)
        b = good()
        b.head[4096 + 32 * 9 + 15] = 1
        self.refuse(b, "a size and no name", lenient=True)


class BadExtent(Base):
    def first(self, b):
        return len(b.build()) - sum(512 + len(d) for _, d, _ in b.extents)

    def test_magic(self):
        b = good()
        b.extents[1][0][3] = 0
        self.refuse(b, "bad extent magic", offset=len(b.build()) - 512 - 17 * 4096)

    def test_garbage_at_the_end(self):
        for tail, what in ((b"x", "truncated"), (bytes(512), "bad extent magic"),
                           (b"VMAE" + bytes(508), "MD5")):
            b = good()
            b.tail = tail
            self.refuse(b, what)

    def test_md5(self):
        b = good()
        b.build()
        b.extents[0][0][511] ^= 1
        b.extents[0][2] = False
        self.refuse(b, "MD5 of the extent", offset=self.first(b) + 24)

    def test_reserved(self):
        b = good()
        b.extents[0][0][5] = 1
        self.refuse(b, "reserved field", offset=self.first(b) + 4)
        b = good()
        b.extents[0][0][41 + 1] = 1
        self.refuse(b, "reserved byte of a blockinfo", lenient=True, offset=self.first(b) + 40)

    def test_unused_blockinfo_not_zero(self):
        b = good()
        b.extents[0][0][511] = 1
        self.refuse(b, "unused blockinfo", lenient=True, offset=self.first(b) + 504)

    def test_uuid(self):
        b = good()
        b.extents[0][0][8] ^= 1
        self.refuse(b, "uuid", offset=self.first(b) + 8)

    def test_block_count(self):
        for count in (0, 3, 5, 65535):
            b = good()
            struct.pack_into(">H", b.extents[0][0], 6, count)
            self.refuse(b, "block_count", offset=self.first(b) + 6)

    def test_unknown_device(self):
        b = good()
        b.extent([(3, 0, 0)], b"")
        self.refuse(b, "unknown dev_id 3")
        b = good()
        b.extent([(255, 0, 0)], b"")
        self.refuse(b, "unknown dev_id 255")

    def test_past_the_end(self):
        b = good()
        b.extent([(1, 3, 0)], b"")
        self.refuse(b, "cluster 3 of device drive-scsi0 is past the end")
        b = good()
        b.extent([(1, 0xFFFFFFFF, 0)], b"")
        self.refuse(b, "past the end")

    def test_twice(self):
        b = good()
        b.extent([(1, 0, 0)], b"")
        self.refuse(b, "cluster 0 of device drive-scsi0 comes twice")
        b = Builder([], [(1, "a", 512)])
        b.extent([(1, 0, 0), (1, 0, 0)], b"")
        self.refuse(b, "comes twice")

    def test_missing(self):
        b = good()
        b.extents.pop()
        self.refuse(b, "device drive-scsi0: 1 of 3 clusters are missing, the first is 1",
                    offset=len(b.build()))
        self.refuse(Builder([], [(1, "a", 512)]), "missing")

    def test_truncated(self):
        data = good().build()
        for cut in (1, 4096, 17 * 4096, 17 * 4096 + 1, 17 * 4096 + 511):
            self.refuse(data[:-cut], "truncated", offset=len(data) - cut)

    def test_mask_past_the_end(self):
        b = Builder([], [(1, "a", 4096)])
        b.extent([(1, 0, 0b10)], blocks("a"))
        self.refuse(b, "bits past the end", lenient=True)
        b = Builder([], [(1, "a", 65536 + 512)])
        b.extent([(1, 0, 0), (1, 1, 0xFFFF)], blocks(*"abcdefghijklmnop"))
        self.refuse(b, "bits past the end", lenient=True)
        r = self.run_tool("extract", "--lenient", self.path("bad.vma"), self.path("out"))
        self.assertEqual(r.returncode, 0)
        with open(self.path("out/disk-a.raw"), "rb") as f:
            self.assertEqual(f.read(), bytes(65536) + b"a" * 512)

    def test_tail_not_zero(self):
        b = Builder([], [(1, "a", 4096 + 512)])
        b.extent([(1, 0, 0b11)], blocks("a") + b"b" * 512 + bytes(3583) + b"!")
        self.refuse(b, "not zero past the end", lenient=True, offset=self.first(b) + 512 + 4608)
        b = Builder([], [(1, "a", 4096 + 512)])
        b.extent([(1, 0, 0b10)], b"b" * 513 + bytes(3583))
        self.refuse(b, "not zero past the end", lenient=True)

    def test_vmstate_order(self):
        b = Builder([], [(1, "vmstate", 65536 * 2)])
        b.extent([(1, 1, 0), (1, 0, 0)], b"")
        self.refuse(b, "out of order")

    def test_every_extent_header_byte_matters(self):
        data = good().build()
        first = self.first(good())
        for at in range(first, first + 512):
            bad = bytearray(data)
            bad[at] ^= 0x01
            path = self.write("bad.vma", bytes(bad))
            with self.assertRaises(vmaread.VmaError, msg=f"byte {at}"):
                for _ in vmaread.Archive(path).extents():
                    pass


class BadCompression(Base):
    def test_truncated_and_damaged(self):
        plain = good().build()
        zstd = subprocess.run(["zstd", "-q", "-c", "--check"], input=plain, capture_output=True,
                              check=True).stdout
        flipped = bytearray(zstd)
        flipped[len(zstd) // 2] ^= 0xFF
        gz = gzip.compress(plain)
        for name, data, what in (("cut zstd", zstd[:-10], b"zstd"),
                                 ("damaged zstd", bytes(flipped), b"vmaread"),
                                 ("zstd and garbage", zstd + b"garbage", b"zstd"),
                                 ("cut gzip", gz[:-10], b"gzip"),
                                 ("gzip and garbage", gz + b"garbage", b"gzip")):
            with self.subTest(name):
                r = self.run_tool("check", self.write("bad", data))
                self.assertEqual(r.returncode, 1)
                self.assertIn(what, r.stderr)
                self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
                r = self.run_tool("check", "-", data=data)
                self.assertEqual(r.returncode, 1)

    def test_lzop_is_refused(self):
        r = self.run_tool("check", self.write("bad", b"\x89LZO\0\r\n\x1a\n" + bytes(100)))
        self.assertEqual(r.returncode, 2)


if __name__ == "__main__":
    sys.exit(tap.run(sys.modules[__name__]))
