#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A second, independent reader of VMA archives, for tests only.

It shares no code with libvma and is written from the description of the format alone, so
that a mistake in one of them shows as a disagreement.  By default it is strict: it refuses
everything that a writer should not do, also where every known reader would shrug.  With
--lenient it takes what a robust reader must take.

Only forward reads are done: an archive may be a pipe ("-") and may be compressed with zstd
or gzip, which is recognised by its first bytes.
"""

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

BLOCK = 4096
CLUSTER = 65536
BLOCKS_PER_CLUSTER = 16
FULL_MASK = 0xFFFF
HEADER_FIXED = 12288
HEADER_MAX_WRITTEN = 524288     # official writers stay within this
HEADER_MAX_READ = 64 << 20      # above every table that 512 blobs of 64 KiB can need
EXTENT_HEADER = 512
EXTENT_SLOTS = 59
SUM_SLOT = 58                   # the blockinfo that may hold a sum of the data
SUM_TAG = 0x58
MAX_DEV = 254
PIPE_SIZE = 1 << 20             # fewer wakeups between the decompressor and us
VMSTATE = "vmstate"

ZERO_BLOCK = bytes(BLOCK)
POPCOUNT = bytes(bin(i).count("1") for i in range(256))


class VmaError(Exception):
    """What is wrong with the archive, and where in it (None: not tied to a place)."""

    def __init__(self, what, offset=None):
        super().__init__(what)
        self.what = what
        self.offset = offset

    def __str__(self):
        return self.what if self.offset is None else f"{self.what} at offset {self.offset}"


class UsageError(Exception):
    """The caller asked for something that can't be done."""


def popcount(mask):
    return POPCOUNT[mask & 0xFF] + POPCOUNT[mask >> 8]


def md5(*parts):
    h = hashlib.md5()
    for p in parts:
        h.update(p)
    return h.digest()


def load_xxh3():
    """XXH3_64bits(bytes) of the C library: any Python has ctypes, hardly any an xxhash."""
    try:
        func = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    except (OSError, AttributeError) as e:
        raise UsageError(f"libxxhash is needed to check this archive: {e}") from None
    func.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    func.restype = ctypes.c_uint64

    def xxh3(data):
        data = bytes(data)
        return func(data, len(data))

    return xxh3


# --- where the bytes come from ------------------------------------------------------------


class PlainSource:
    """Uncompressed bytes of a file descriptor, after what was already read of it."""

    def __init__(self, fd, head):
        self.fd = fd
        self.head = head

    def readinto(self, view):
        if self.head:
            n = min(len(view), len(self.head))
            view[:n] = self.head[:n]
            self.head = self.head[n:]
            return n
        return os.readv(self.fd, [view])

    def finish(self):
        pass


class ZstdSource:
    """Output of `zstd -dc`.  Its own limits apply, notably the window of 128 MiB."""

    def __init__(self, fd, head):
        self.feeder = None
        stdin = fd
        if head:
            # What was peeked can't be put back into a pipe: a child passes it on.
            r, w = os.pipe()
            self.feeder = os.fork()
            if self.feeder == 0:
                status = 1
                try:
                    os.close(r)
                    data = head
                    while data:
                        while data:
                            data = data[os.write(w, data):]
                        data = os.read(fd, PIPE_SIZE)
                    status = 0
                except BrokenPipeError:
                    status = 0
                finally:
                    os._exit(status)
            os.close(w)
            stdin = r
        self.proc = subprocess.Popen(["zstd", "-q", "-d", "-c"], stdin=stdin,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                     pipesize=PIPE_SIZE)
        if stdin != fd:
            os.close(stdin)

    def readinto(self, view):
        return self.proc.stdout.readinto(view)

    def finish(self):
        self.proc.stdout.close()
        err = self.proc.stderr.read().decode(errors="replace").strip().replace("\n", "; ")
        status = self.proc.wait()
        if self.feeder:
            _, feeder_status = os.waitpid(self.feeder, 0)
            if feeder_status:
                raise VmaError("reading the compressed archive failed")
        if status:
            raise VmaError(f"zstd exits {status}: {err}")


class GzipSource:
    """One or more gzip members, nothing else."""

    def __init__(self, fd, head):
        self.fd = fd
        self.raw = head
        self.out = memoryview(b"")
        self.z = zlib.decompressobj(31)
        self.started = False

    def readinto(self, view):
        while not self.out:
            if not self.raw:
                self.raw = os.read(self.fd, PIPE_SIZE)
                if not self.raw:
                    if self.started:
                        raise VmaError("gzip stream ends early")
                    return 0
            try:
                self.out = memoryview(self.z.decompress(self.raw, 4 << 20))
            except zlib.error as e:
                raise VmaError(f"gzip: {e}") from None
            self.started = True
            if self.z.eof:
                self.raw = self.z.unused_data
                self.z = zlib.decompressobj(31)
                self.started = False
            else:
                self.raw = self.z.unconsumed_tail
        n = min(len(view), len(self.out))
        view[:n] = self.out[:n]
        self.out = self.out[n:]
        return n

    def finish(self):
        pass


def open_source(path):
    fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    head = b""
    while len(head) < 4:
        more = os.read(fd, 4 - len(head))
        if not more:
            break
        head += more
    magic = int.from_bytes(head, "little") if len(head) == 4 else 0
    if magic == 0xFD2FB528 or magic & 0xFFFFFFF0 == 0x184D2A50:
        kind = ZstdSource
    elif head[:2] == b"\x1f\x8b":
        kind = GzipSource
    elif head == b"\x89LZO":
        raise UsageError("lzop archives are not supported, unpack it first")
    else:
        kind = PlainSource
    if kind is not GzipSource:
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            head = b""
        except OSError:
            pass
    return kind(fd, head)


# --- header -------------------------------------------------------------------------------


class Device:
    """One archived disk and what was seen of it so far."""

    def __init__(self, dev_id, name, size):
        self.id = dev_id
        self.name = name
        self.size = size
        self.clusters = (size + CLUSTER - 1) // CLUSTER
        self.blocks = (size + BLOCK - 1) // BLOCK
        self.seen = bytearray(self.clusters)
        self.seen_count = 0
        self.last = -1

    @property
    def file_name(self):
        return "vmstate.bin" if self.name == VMSTATE else f"disk-{self.name}.raw"

    def allowed_mask(self, cluster):
        """Mask bits of the blocks that begin before the end of the device."""
        left = self.blocks - cluster * BLOCKS_PER_CLUSTER
        return FULL_MASK if left >= BLOCKS_PER_CLUSTER else (1 << left) - 1


class Extent:
    """One extent: used clusters as (device, cluster, mask, place of the data in .data)."""

    def __init__(self, offset, entries, data, unused):
        self.offset = offset
        self.data_offset = offset + EXTENT_HEADER
        self.entries = entries
        self.data = data
        self.unused = unused

    def runs(self):
        """(device, byte offset, place, length) of stored data, neighbours joined."""
        out = []
        for dev, cluster, mask, place in self.entries:
            base = cluster * CLUSTER
            bit = 0
            while mask >> bit:
                if not mask >> bit & 1:
                    bit += 1
                    continue
                end = bit
                while mask >> end & 1:
                    end += 1
                off = base + bit * BLOCK
                length = (end - bit) * BLOCK
                if out and out[-1][0] is dev and out[-1][1] + out[-1][3] == off \
                        and out[-1][2] + out[-1][3] == place:
                    out[-1][3] += length
                else:
                    out.append([dev, off, place, length])
                place += length
                bit = end
        for run in out:
            # A robust reader clips what lies past the end; a strict one never sees it.
            run[3] = min(run[3], run[0].size - run[1])
        return [run for run in out if run[3] > 0]

    def holes(self):
        """(device, byte offset, length) of what the masks say is zero, neighbours joined."""
        out = []
        for dev, cluster, mask, _ in self.entries:
            base = cluster * CLUSTER
            bit = 0
            while bit < BLOCKS_PER_CLUSTER:
                if mask >> bit & 1:
                    bit += 1
                    continue
                end = bit
                while end < BLOCKS_PER_CLUSTER and not mask >> end & 1:
                    end += 1
                off = base + bit * BLOCK
                if out and out[-1][0] is dev and out[-1][1] + out[-1][2] == off:
                    out[-1][2] += (end - bit) * BLOCK
                else:
                    out.append([dev, off, (end - bit) * BLOCK])
                bit = end
        for hole in out:
            hole[2] = min(hole[2], hole[0].size - hole[1])
        return [hole for hole in out if hole[2] > 0]


def bad_config_name(name):
    """Why a config name is not a plain base name, or None."""
    if name in ("", ".", ".."):
        return "is no file name"
    if "/" in name:
        return "holds a slash"
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "holds a control character"
    return None


def bad_device_name(name):
    if name in ("", ".", ".."):
        return "is no name"
    if "/" in name:
        return "holds a slash"
    if any(c.isspace() or ord(c) < 33 or ord(c) == 127 or c in "=:" for c in name):
        return "holds white space, '=', ':' or a control character"
    return None


class Archive:
    """Header on construction, then extents() once, to the end."""

    def __init__(self, path, lenient=False):
        self.lenient = lenient
        self.source = open_source(path)
        self.pos = 0
        self.configs = []       # (name, content)
        self.devices = {}       # dev_id -> Device
        self.extents_seen = 0
        self.extents_summed = 0
        self.xxh3 = None
        self.read_header()

    def rule(self, what, offset):
        """A rule for writers that a robust reader does not insist on."""
        if not self.lenient:
            raise VmaError(what, offset)

    def read(self, length, what, eof_ok=False):
        buf = bytearray(length)
        view = memoryview(buf)
        got = 0
        while got < length:
            n = self.source.readinto(view[got:])
            if not n:
                break
            got += n
        if got < length and not (eof_ok and got == 0):
            # The decompressor's own complaint says more than "truncated".
            self.source.finish()
            raise VmaError(f"truncated: {what} has {got} of {length} bytes", self.pos + got)
        self.pos += got
        return view[:got]

    # The header

    def read_header(self):
        fixed = self.read(HEADER_FIXED, "header")
        if fixed[:4] != b"VMA\0":
            raise VmaError("bad magic", 0)
        version, = struct.unpack_from(">I", fixed, 4)
        if version != 1:
            raise VmaError(f"version {version} is not 1", 4)
        self.uuid = bytes(fixed[8:24])
        self.ctime, = struct.unpack_from(">q", fixed, 24)
        digest = bytes(fixed[32:48])
        blob_off, blob_size, header_size = struct.unpack_from(">III", fixed, 48)
        if header_size <= HEADER_FIXED:
            raise VmaError(f"header_size {header_size} is not above {HEADER_FIXED}", 56)
        if header_size > HEADER_MAX_READ:
            raise VmaError(f"header_size {header_size} is beyond {HEADER_MAX_READ}", 56)
        blobs = self.read(header_size - HEADER_FIXED, "blob buffer")
        if md5(fixed[:32], bytes(16), fixed[48:], blobs) != digest:
            raise VmaError("MD5 of the header is wrong", 32)
        self.header_size = header_size

        if self.uuid == bytes(16):
            self.rule("uuid is all zero", 8)
        if self.ctime < 0:
            self.rule(f"ctime {self.ctime} is negative", 24)
        if blob_off != HEADER_FIXED:
            raise VmaError(f"blob_buffer_offset {blob_off} is not {HEADER_FIXED}", 48)
        if blob_size > len(blobs):
            raise VmaError(f"blob_buffer_size {blob_size} runs past the header", 52)
        if header_size % 512:
            self.rule(f"header_size {header_size} is no multiple of 512", 56)
        if header_size > HEADER_MAX_WRITTEN:
            self.rule(f"header_size {header_size} is beyond {HEADER_MAX_WRITTEN}", 56)
        if blob_size < 1:
            self.rule("blob_buffer_size is 0, not even the byte that means none", 52)
        if len(blobs) - blob_size >= 512:
            self.rule(f"header_size {header_size} is more than blob_buffer_size {blob_size} "
                      "rounded up", 56)
        for first, end in ((60, 2044), (4092, 4096)):
            if any(fixed[first:end]):
                self.rule("reserved bytes of the header are not zero", first)

        self.blobs = blobs
        self.blob_size = blob_size
        self.blob_ranges = []
        self.read_configs(fixed)
        self.read_devices(fixed)
        self.check_blob_ranges()

    def blob(self, pointer, field):
        """Bytes of the blob that the pointer at header offset FIELD names."""
        if pointer + 2 > self.blob_size:
            raise VmaError(f"blob pointer {pointer} is past the blob buffer", field)
        length, = struct.unpack_from("<H", self.blobs, pointer)
        if pointer + 2 + length > self.blob_size:
            raise VmaError(f"blob of {length} bytes runs past the blob buffer",
                           HEADER_FIXED + pointer)
        self.blob_ranges.append((pointer, pointer + 2 + length))
        return bytes(self.blobs[pointer + 2:pointer + 2 + length])

    def name_blob(self, pointer, field):
        raw = self.blob(pointer, field)
        where = HEADER_FIXED + pointer
        if not raw or raw[-1]:
            raise VmaError("name does not end with a NUL", where)
        if 0 in raw[:-1]:
            raise VmaError("name holds a NUL", where)
        try:
            return raw[:-1].decode("utf-8")
        except UnicodeDecodeError:
            raise VmaError("name is not UTF-8", where) from None

    def read_configs(self, fixed):
        names = struct.unpack_from(">256I", fixed, 2044)
        data = struct.unpack_from(">256I", fixed, 3068)
        known = set()
        for i in range(256):
            field = 2044 + 4 * i
            if not names[i] or not data[i]:
                if names[i] or data[i]:
                    self.rule(f"config {i} has a name without data or data without a name", field)
                continue
            name = self.name_blob(names[i], field)
            why = bad_config_name(name)
            if why:
                raise VmaError(f"config name {name!r} {why}", HEADER_FIXED + names[i])
            if name in known:
                raise VmaError(f"config name {name!r} comes twice", HEADER_FIXED + names[i])
            known.add(name)
            self.configs.append((name, self.blob(data[i], 3068 + 4 * i)))

    def read_devices(self, fixed):
        known = set()
        for dev_id in range(256):
            field = 4096 + 32 * dev_id
            info = fixed[field:field + 32]
            pointer, reserved, size = struct.unpack_from(">IIQ", info)
            if dev_id in (0, 255):
                if any(info):
                    self.rule(f"dev_info of dev_id {dev_id}, which can't be used, is not zero",
                              field)
                continue
            if reserved or any(info[16:]):
                self.rule(f"reserved bytes of dev_info {dev_id} are not zero", field)
            if not pointer:
                if size:
                    self.rule(f"device {dev_id} has a size and no name", field)
                continue
            name = self.name_blob(pointer, field)
            why = bad_device_name(name)
            if why:
                raise VmaError(f"device name {name!r} {why}", HEADER_FIXED + pointer)
            if name in known:
                raise VmaError(f"device name {name!r} comes twice", HEADER_FIXED + pointer)
            known.add(name)
            if size == 0 or size % 512:
                raise VmaError(f"size {size} of device {name} is no positive multiple of 512",
                               field + 8)
            if size > 1 << 62:
                raise VmaError(f"size {size} of device {name} is absurd", field + 8)
            self.devices[dev_id] = Device(dev_id, name, size)

    def check_blob_ranges(self):
        """No blob overlaps another and nothing lies between or behind them."""
        pos = 0
        for first, end in sorted(self.blob_ranges):
            if first < pos:
                self.rule("blobs overlap", HEADER_FIXED + first)
            if any(self.blobs[pos:first]):
                self.rule("bytes of the blob buffer that belong to no blob are not zero",
                          HEADER_FIXED + pos)
            pos = max(pos, end)
        if any(self.blobs[pos:]):
            self.rule("bytes behind the last blob are not zero", HEADER_FIXED + pos)

    # The extents

    def extents(self):
        """Check and yield every extent; at the end check that nothing is missing."""
        while True:
            offset = self.pos
            head = self.read(EXTENT_HEADER, "extent header", eof_ok=True)
            if not head:
                break
            yield self.read_extent(offset, head)
            self.extents_seen += 1
        self.source.finish()
        for dev in self.devices.values():
            if dev.seen_count != dev.clusters:
                raise VmaError(f"device {dev.name}: {dev.clusters - dev.seen_count} of "
                               f"{dev.clusters} clusters are missing, the first is "
                               f"{dev.seen.index(0)}", self.pos)

    def read_extent(self, offset, head):
        if head[:4] != b"VMAE":
            raise VmaError("bad extent magic", offset)
        reserved, block_count = struct.unpack_from(">HH", head, 4)
        if md5(head[:24], bytes(16), head[40:]) != head[24:40]:
            raise VmaError("MD5 of the extent header is wrong", offset + 24)
        if reserved:
            raise VmaError(f"reserved field {reserved} of the extent is not 0", offset + 4)
        if head[8:24] != self.uuid:
            raise VmaError("uuid of the extent is not the archive's", offset + 8)

        entries = []
        sum_bytes = []
        kept_sum = self.kept_sum(offset, head)
        unused = 0
        blocks = 0
        for i, info in enumerate(struct.unpack_from(f">{EXTENT_SLOTS}Q", head, 40)):
            where = offset + 40 + 8 * i
            mask = info >> 48
            dev_id = info >> 32 & 0xFF
            cluster = info & 0xFFFFFFFF
            if not dev_id:
                if i == SUM_SLOT and kept_sum is not None:
                    continue
                if info:
                    self.rule("unused blockinfo is not zero", where)
                unused += 1
                continue
            sum_bytes.append(info >> 40 & 0xFF)
            if info >> 40 & 0xFF and kept_sum is None:
                self.rule("reserved byte of a blockinfo is not 0", where)
            dev = self.devices.get(dev_id)
            if dev is None:
                raise VmaError(f"unknown dev_id {dev_id}", where)
            if cluster >= dev.clusters:
                raise VmaError(f"cluster {cluster} of device {dev.name} is past the end", where)
            if dev.seen[cluster]:
                raise VmaError(f"cluster {cluster} of device {dev.name} comes twice", where)
            if mask & ~dev.allowed_mask(cluster):
                self.rule(f"mask {mask:#06x} of cluster {cluster} of device {dev.name} has bits "
                          "past the end", where)
            if dev.name == VMSTATE and cluster != dev.last + 1:
                raise VmaError(f"cluster {cluster} of vmstate is out of order", where)
            dev.seen[cluster] = 1
            dev.seen_count += 1
            dev.last = cluster
            entries.append((dev, cluster, mask, blocks * BLOCK))
            blocks += popcount(mask)
        if blocks != block_count:
            raise VmaError(f"block_count {block_count} but {blocks} mask bits are set",
                           offset + 6)
        data = self.read(blocks * BLOCK, "data of an extent")
        if kept_sum is not None:
            self.check_sums(offset, entries, data, sum_bytes, kept_sum)
            self.extents_summed += 1
        extent = Extent(offset, entries, data, unused)
        self.check_tails(extent)
        return extent

    def kept_sum(self, offset, head):
        """The 48 bits that the last blockinfo holds, or None; all extents have them, or none."""
        info, = struct.unpack_from(">Q", head, 40 + 8 * SUM_SLOT)
        if info >> 32 & 0xFF or info >> 40 & 0xFF != SUM_TAG:
            if self.extents_summed:
                raise VmaError("the sum of the extent's data is missing", offset)
            return None
        if self.extents_seen and not self.extents_summed:
            self.rule("a sum of the extent's data that extents before it lack", offset)
        return info >> 48 << 32 | info & 0xFFFFFFFF

    def check_sums(self, offset, entries, data, sum_bytes, kept_sum):
        """One XXH3 per cluster, of which 8 bits are kept, and of all of these one with 48."""
        if self.xxh3 is None:
            self.xxh3 = load_xxh3()
        sums = []
        wrong = []
        for (dev, cluster, mask, place), kept in zip(entries, sum_bytes):
            value = self.xxh3(data[place:place + popcount(mask) * BLOCK])
            sums.append(value)
            if value & 0xFF != kept:
                wrong.append(f"cluster {cluster} of device {dev.name}")
        total = self.xxh3(struct.pack(f">{len(sums)}Q", *sums)) & (1 << 48) - 1
        if wrong or total != kept_sum:
            raise VmaError("the extent's data differs from its sum: " +
                           (", ".join(wrong) or "which cluster's can't be told"), offset)

    def check_tails(self, extent):
        """The last block's part past the end of the device holds nothing."""
        for dev, cluster, mask, place in extent.entries:
            used = dev.size - cluster * CLUSTER
            bit = used // BLOCK
            if used >= CLUSTER or used % BLOCK == 0 or not mask >> bit & 1:
                continue
            place += popcount(mask & (1 << bit) - 1) * BLOCK
            if any(extent.data[place + used % BLOCK:place + BLOCK]):
                self.rule(f"the last block of device {dev.name} is not zero past the end",
                          extent.data_offset + place + used % BLOCK)


# --- commands -----------------------------------------------------------------------------


def cmd_check(args):
    archive = Archive(args.archive, args.lenient)
    for _ in archive.extents():
        pass
    if not args.quiet:
        print(f"ok: {len(archive.devices)} devices, {len(archive.configs)} configs, "
              f"{archive.extents_seen} extents, {archive.extents_summed} with sums, "
              f"{archive.pos} bytes")


def cmd_list(args):
    archive = Archive(args.archive, args.lenient)
    if args.json:
        print(json.dumps({
            "uuid": archive.uuid.hex(), "ctime": archive.ctime,
            "header_size": archive.header_size,
            "configs": [{"name": n, "size": len(c)} for n, c in archive.configs],
            "devices": [{"dev_id": d.id, "name": d.name, "size": d.size}
                        for d in archive.devices.values()]}))
        return
    for name, content in archive.configs:
        print(f"config {name} {len(content)}")
    for dev in archive.devices.values():
        print(f"device {dev.id} {dev.name} {dev.size}")
    print(f"ctime {archive.ctime}")
    print(f"uuid {archive.uuid.hex()}")


def pwrite_all(fd, view, offset):
    while view:
        n = os.pwrite(fd, view, offset)
        view = view[n:]
        offset += n


def cmd_extract(args):
    if os.path.lexists(args.dir):
        raise UsageError(f"{args.dir} exists already")
    work = f"{args.dir.rstrip('/')}.partial-{os.getpid()}"
    os.mkdir(work)
    try:
        archive = Archive(args.archive, args.lenient)
        taken = set()
        files = {}
        for name, content in archive.configs:
            taken.add(name)
            with open(os.path.join(work, name), "xb") as f:
                f.write(content)
        for dev in archive.devices.values():
            if dev.file_name in taken:
                raise VmaError(f"a config and a device are both called {dev.file_name}")
            taken.add(dev.file_name)
            fd = os.open(os.path.join(work, dev.file_name),
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.ftruncate(fd, dev.size)
            files[dev.id] = fd
        for extent in archive.extents():
            for dev, off, place, length in extent.runs():
                pwrite_all(files[dev.id], extent.data[place:place + length], off)
        for fd in files.values():
            os.close(fd)
        os.rename(work, args.dir)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


class Target:
    """A file or block device that a device of the archive is compared with."""

    def __init__(self, dev, path):
        self.dev = dev
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.lseek(self.fd, 0, os.SEEK_END)
        if size != dev.size:
            raise UsageError(f"{path} has {size} bytes, device {dev.name} has {dev.size}")
        self.first = None
        self.clusters = set()

    def read(self, off, length):
        parts = []
        while length:
            part = os.pread(self.fd, length, off)
            if not part:
                raise UsageError(f"{self.path} ends early, at offset {off}")
            parts.append(part)
            off += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def compare(self, off, expected):
        """Compare with the bytes EXPECTED, and note where they differ."""
        got = self.read(off, len(expected))
        if got == expected:
            return
        pos = 0
        while pos < len(got):
            end = min(len(got), (off + pos) // CLUSTER * CLUSTER + CLUSTER - off)
            if got[pos:end] != expected[pos:end]:
                self.clusters.add((off + pos) // CLUSTER)
                at = next(i for i in range(pos, end) if got[i] != expected[i]) + off
                if self.first is None or at < self.first:
                    self.first = at
            pos = end


def cmd_compare(args):
    archive = Archive(args.archive, args.lenient)
    by_name = {dev.name: dev for dev in archive.devices.values()}
    targets = {}
    for spec in args.targets:
        name, eq, path = spec.partition("=")
        if not eq or not path:
            raise UsageError(f"{spec} is not NAME=PATH")
        if name not in by_name:
            raise UsageError(f"no device {name} in the archive")
        if by_name[name].id in targets:
            raise UsageError(f"device {name} is given twice")
        targets[by_name[name].id] = Target(by_name[name], path)
    left_out = sorted(set(by_name) - {t.dev.name for t in targets.values()})
    if left_out and not args.partial:
        raise UsageError(f"nothing to compare device {left_out[0]} with (--partial allows that)")

    for extent in archive.extents():
        for dev, off, place, length in extent.runs():
            if dev.id in targets:
                targets[dev.id].compare(off, bytes(extent.data[place:place + length]))
        for dev, off, length in extent.holes():
            if dev.id in targets:
                targets[dev.id].compare(off, bytes(length))
    differ = False
    for target in targets.values():
        if target.clusters:
            differ = True
            print(f"vmaread: {args.archive}: device {target.dev.name} differs from {target.path}: "
                  f"first at offset {target.first}, {len(target.clusters)} of "
                  f"{target.dev.clusters} clusters", file=sys.stderr)
        elif not args.quiet:
            print(f"same: {target.dev.name} {target.path} {target.dev.size} bytes")
    return 1 if differ else 0


def cmd_stats(args):
    archive = Archive(args.archive, args.lenient)
    per_dev = {dev.id: {"dev_id": dev.id, "name": dev.name, "size": dev.size,
                        "clusters": dev.clusters, "zero_clusters": 0, "stored_blocks": 0,
                        "stored_zero_blocks": 0, "descents": 0}
               for dev in archive.devices.values()}
    last = {}
    order = []
    extents = {"count": 0, "empty": 0, "full": 0, "unused_blockinfo": 0, "summed": 0}
    for extent in archive.extents():
        extents["count"] += 1
        extents["unused_blockinfo"] += extent.unused
        extents["empty"] += not extent.entries
        extents["full"] += not extent.unused
        for dev, cluster, mask, place in extent.entries:
            stats = per_dev[dev.id]
            blocks = popcount(mask)
            stats["zero_clusters"] += not mask
            stats["stored_blocks"] += blocks
            for i in range(blocks):
                at = place + i * BLOCK
                if bytes(extent.data[at:at + BLOCK]) == ZERO_BLOCK:
                    stats["stored_zero_blocks"] += 1
            stats["descents"] += cluster < last.get(dev.id, -1)
            last[dev.id] = cluster
            if order and order[-1][0] == dev.name and order[-1][1] + order[-1][2] == cluster:
                order[-1][2] += 1
            else:
                order.append([dev.name, cluster, 1])
    extents["summed"] = archive.extents_summed
    result = {"bytes": archive.pos, "header_size": archive.header_size, "extents": extents,
              "devices": list(per_dev.values()), "order": order}
    if args.json:
        print(json.dumps(result))
        return
    print(f"bytes {archive.pos} extents {extents['count']} empty {extents['empty']} "
          f"full {extents['full']}")
    for s in per_dev.values():
        print(f"device {s['name']} clusters {s['clusters']} zero {s['zero_clusters']} "
              f"stored-blocks {s['stored_blocks']} stored-zero-blocks {s['stored_zero_blocks']} "
              f"descents {s['descents']}")


def parse_args(argv):
    parser = argparse.ArgumentParser(prog="vmaread", description=__doc__.split("\n", 1)[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--lenient", action="store_true",
                        help="take what a robust reader must take")
    common.add_argument("-q", "--quiet", action="store_true", help="print nothing on success")
    common.add_argument("archive", metavar="ARCHIVE", help="file, or - for standard input")
    sub = parser.add_subparsers(dest="command", required=True)
    for name, func, text in (
            ("check", cmd_check, "check every rule of the format"),
            ("list", cmd_list, "print what the header says"),
            ("extract", cmd_extract, "write configs and sparse raw files to a new directory"),
            ("compare", cmd_compare, "compare with files or block devices"),
            ("stats", cmd_stats, "count clusters, zeroes, extents; the order of clusters")):
        p = sub.add_parser(name, parents=[common], help=text)
        p.set_defaults(func=func)
        if name in ("list", "stats"):
            p.add_argument("--json", action="store_true")
        elif name == "extract":
            p.add_argument("dir", metavar="DIR")
        elif name == "compare":
            p.add_argument("--partial", action="store_true",
                           help="not every device of the archive needs a NAME=PATH")
            p.add_argument("targets", metavar="NAME=PATH", nargs="+")
    return parser.parse_args(argv)


def main(argv=None):
    """0 good, 1 the archive is bad or differs, 2 wrong use."""
    args = parse_args(argv)
    try:
        return args.func(args) or 0
    except VmaError as e:
        print(f"vmaread: {args.archive}: {e}", file=sys.stderr)
        return 1
    except (UsageError, OSError) as e:
        print(f"vmaread: {args.archive}: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
