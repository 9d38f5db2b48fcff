# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions per I/O: the machine's clock counts them (tests/vm/run --icount).

A disk in memory completes each request at once, in the caller's context, and one process
writes one block after the other: the one CPU never waits, so the time that passes is a number
of instructions, the same in each run but for the timer's ticks.
"""
import json
import os
import subprocess

from inside import nulldisk
from inside.stack import Session

# tests/vm/run --icount: 2^0 ns each.
NS_PER_INSTRUCTION = 1
NUMBER = 3
DISK_MIB = 64
WRITES = 10000


def null_disk():
    """As good as memory; made once."""
    path = f"/dev/nullb{NUMBER}"
    if os.path.exists(path):
        return path
    nulldisk.create(NUMBER, size=DISK_MIB, blocksize=4096, memory_backed=1, irqmode=0,
                    queue_mode=2)
    # Every page is there before anything is counted.
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={DISK_MIB}",
                    "oflag=direct", "status=none"], check=True)
    return path


def run(bed, name, seed):
    stack = name.split("/")[1]
    disk = null_disk()
    sectors = DISK_MIB * 2048
    session = None
    if stack == "bare":
        top = disk
    elif stack == "linear":
        top = bed.mapper.create("top", f"0 {sectors} linear {disk} 0")
    else:
        top = bed.mapper.create("top", f"0 {sectors} vmabackup {disk}")
    if stack == "safe":
        session = Session(bed, "hold", [top], forget=DISK_MIB * 16 - 1)
    output = bed.path("fio.json")
    try:
        # The last chunk is left out: under "safe" it is the one that is not.
        subprocess.run(["fio", "--name=counted", f"--randseed={seed}", "--rw=randwrite",
                        "--bs=4k", "--direct=1", "--ioengine=psync", "--norandommap",
                        f"--filename={top}", f"--size={DISK_MIB - 1}m",
                        f"--io_size={WRITES * 4}k", "--eta=never", "--output-format=json",
                        f"--output={output}"], check=True)
    finally:
        if session:
            session.end()
    with open(output) as f:
        write = json.load(f)["jobs"][0]["write"]
    return {"instructions_per_io": write["lat_ns"]["mean"] / NS_PER_INSTRUCTION,
            "ios": write["total_ios"]}
