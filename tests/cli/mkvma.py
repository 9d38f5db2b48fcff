#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes archives for tests from a description, byte by byte, good ones and bad ones.

    mkvma.py FILE [DIR] <description

Knows the format from its description only. Nothing is checked: what a line asks for is
written. With DIR, the files that extracting the archive has to give are made there.

    ctime N                 seconds since the epoch
    config NAME TEXT        \\n, \\0 and \\xNN are understood, in all texts and names
    device ID SIZE NAME
    extent                  begins an extent; so does the first cluster of all
    cluster DEV N MASK BYTE mask and byte in hex; each stored block is full of that byte
    zero DEV N              the same with mask 0
    zeroes DEV FIRST LAST   as many extents as it takes
    unused                  leaves out one blockinfo
    count N                 block_count of this extent, instead of the right one
    patch AT HEX            bytes within this extent's header, before its checksum
    header AT HEX           bytes within the archive's header, before its checksum
    poke AT HEX             bytes of the archive, after all checksums
    append HEX              bytes after the end
    cut N                   drops bytes from the end
    drop AT N               drops bytes at a place of the archive
    sums                    extents from here on carry sums of their data
"""

import ctypes
import hashlib
import os
import struct
import sys

FIXED = 12288
CLUSTER = 65536
BLOCK = 4096
UUID = bytes(range(0x40, 0x50))


def text(s):
    return s.encode("latin-1").decode("unicode_escape").encode("latin-1")


def with_sum(data, at):
    data = bytearray(data)
    data[at:at + 16] = bytes(16)
    data[at:at + 16] = hashlib.md5(data).digest()
    return data


def xxh3(data):
    func = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    func.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    func.restype = ctypes.c_uint64
    return func(data, len(data))


class Archive:
    def __init__(self):
        self.sums = False
        self.ctime = 0
        self.configs = []
        self.devices = {}
        self.header_patches = []
        self.extents = []
        self.disks = {}
        self.tail = []

    # --- lines of the description ---

    def do_ctime(self, seconds):
        self.ctime = int(seconds)

    def do_config(self, name, *rest):
        self.configs.append((text(name), text(" ".join(rest))))

    def do_device(self, number, size, name):
        self.devices[int(number)] = (int(size), text(name))
        if int(size) <= 64 << 20:
            self.disks[int(number)] = bytearray(int(size))

    def do_extent(self):
        self.extents.append({"infos": [], "data": [], "count": None, "patches": [],
                             "sums": self.sums})

    def current(self):
        if not self.extents:
            self.do_extent()
        return self.extents[-1]

    def do_unused(self):
        self.current()["infos"].append(0)

    def do_cluster(self, dev, number, mask, byte):
        dev, number, mask, fill = int(dev), int(number), int(mask, 16), int(byte, 16)
        extent = self.current()
        extent["infos"].append(mask << 48 | dev << 32 | number)
        for bit in range(16):
            if not mask & 1 << bit:
                continue
            block = bytes([fill]) * BLOCK
            extent["data"].append(block)
            disk = self.disks.get(dev)
            at = number * CLUSTER + bit * BLOCK
            if disk is not None and at < len(disk):
                end = min(at + BLOCK, len(disk))
                disk[at:end] = block[:end - at]

    def do_zero(self, dev, number):
        self.do_cluster(dev, number, "0", "0")

    def do_zeroes(self, dev, first, last):
        for number in range(int(first), int(last) + 1):
            if len(self.current()["infos"]) == (58 if self.sums else 59):
                self.do_extent()
            self.do_zero(dev, number)

    def do_count(self, count):
        self.current()["count"] = int(count)

    def do_patch(self, at, data):
        self.current()["patches"].append((int(at), bytes.fromhex(data)))

    def do_header(self, at, data):
        self.header_patches.append((int(at), bytes.fromhex(data)))

    def do_poke(self, at, data):
        self.tail.append(("poke", int(at), bytes.fromhex(data)))

    def do_append(self, data):
        self.tail.append(("append", 0, bytes.fromhex(data)))

    def do_drop(self, at, count):
        self.tail.append(("drop", int(at), bytes(int(count))))

    def do_sums(self):
        self.sums = True

    def do_cut(self, count):
        self.tail.append(("cut", int(count), b""))

    # --- bytes ---

    def header(self):
        fixed = bytearray(FIXED)
        blobs = bytearray(1)

        def blob(data):
            at = len(blobs)
            blobs.extend(struct.pack("<H", len(data)) + data)
            return at

        for i, (name, data) in enumerate(self.configs):
            struct.pack_into(">I", fixed, 2044 + 4 * i, blob(name + b"\0"))
            struct.pack_into(">I", fixed, 3068 + 4 * i, blob(data))
        for number, (size, name) in self.devices.items():
            struct.pack_into(">IIQ", fixed, 4096 + 32 * number, blob(name + b"\0"), 0, size)
        used = len(blobs)
        blobs.extend(bytes(-used % 512))
        struct.pack_into(">4sI16sq", fixed, 0, b"VMA\0", 1, UUID, self.ctime)
        struct.pack_into(">III", fixed, 48, FIXED, used, FIXED + len(blobs))
        whole = fixed + blobs
        for at, data in self.header_patches:
            whole[at:at + len(data)] = data
        return with_sum(whole, 32)

    @staticmethod
    def add_sums(head, data):
        at, sums = 0, b""
        for i in range(58):
            mask, _, dev = struct.unpack_from(">HBB", head, 40 + 8 * i)
            if not dev:
                continue
            size = bin(mask).count("1") * BLOCK
            sums += struct.pack(">Q", xxh3(data[at:at + size]))
            head[40 + 8 * i + 2] = sums[-1]
            at += size
        total = xxh3(sums)
        struct.pack_into(">HBBI", head, 40 + 8 * 58, total >> 32 & 0xFFFF, 0x58, 0,
                         total & 0xFFFFFFFF)

    @staticmethod
    def extent_bytes(extent):
        count = len(extent["data"]) if extent["count"] is None else extent["count"]
        head = bytearray(512)
        struct.pack_into(">4sHH16s", head, 0, b"VMAE", 0, count, UUID)
        for i, info in enumerate(extent["infos"]):
            struct.pack_into(">Q", head, 40 + 8 * i, info)
        if extent["sums"]:
            Archive.add_sums(head, b"".join(extent["data"]))
        for at, data in extent["patches"]:
            head[at:at + len(data)] = data
        return bytes(with_sum(head, 24)) + b"".join(extent["data"])

    def archive(self):
        data = self.header()
        for extent in self.extents:
            data += self.extent_bytes(extent)
        for what, at, extra in self.tail:
            if what == "poke":
                data[at:at + len(extra)] = extra
            elif what == "append":
                data += extra
            elif what == "drop":
                del data[at:at + len(extra)]
            else:
                del data[-at:]
        return data

    def expected(self, directory):
        os.mkdir(directory)
        files = {name.decode("latin-1"): data for name, data in self.configs}
        for number, disk in self.disks.items():
            name = self.devices[number][1].decode("latin-1")
            files["vmstate.bin" if name == "vmstate" else f"disk-{name}.raw"] = disk
        for name, data in files.items():
            with open(os.path.join(directory, name), "xb") as f:
                f.write(data)


def main():
    archive = Archive()
    for line in sys.stdin:
        words = line.split()
        if words and not words[0].startswith("#"):
            # A configuration's text keeps its blanks.
            if words[0] == "config":
                words = line.strip().split(" ", 2)
            getattr(archive, "do_" + words[0])(*words[1:])
    with open(sys.argv[1], "xb") as f:
        f.write(archive.archive())
    if len(sys.argv) > 2:
        archive.expected(sys.argv[2])


main()
