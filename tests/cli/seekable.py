#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a zstd file with a seek table, by the published description of that format.

    seekable.py IN OUT FRAME_BYTES [checksums] [empty] [skip]

checksums: entries with checksums (of zero: they are optional to check); empty: a frame
without content after each; skip: a skippable frame after each, which is in the table.
"""

import struct
import subprocess
import sys


def frame(data):
    return subprocess.run(["zstd", "-q", "-c", "--no-check"], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


def main():
    source, target, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    flags = sys.argv[4:]
    with open(source, "rb") as f:
        data = f.read()
    out, entries = b"", []
    for at in range(0, len(data), size):
        piece = data[at:at + size]
        entries.append((frame(piece), len(piece)))
        if "empty" in flags:
            entries.append((frame(b""), 0))
        if "skip" in flags:
            entries.append((struct.pack("<II", 0x184D2A50, 5) + b"hello", 0))
    table = b""
    for packed, length in entries:
        out += packed
        table += struct.pack("<II", len(packed), length)
        if "checksums" in flags:
            table += struct.pack("<I", 0)
    table += struct.pack("<IBI", len(entries), 0x80 if "checksums" in flags else 0, 0x8F92EAB1)
    with open(target, "xb") as f:
        f.write(out + struct.pack("<II", 0x184D2A5E, len(table)) + table)


main()
