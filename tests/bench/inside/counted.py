# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions per I/O, in a machine whose clock counts them (tests/vm/run --icount).

A disk in memory completes each request at once, in the caller's context, and one process
writes one block after the other: the one CPU never waits, so the time that passes is a number
of instructions, the same in each run but for the timer's ticks.
"""
import json
import os
import subprocess

from inside.stack import Session

# tests/vm/run --icount: 2^1 ns each.
NS_PER_INSTRUCTION = 2
DISK_MIB = 64
WRITES = 10000
CONFIG = "/sys/kernel/config"


def null_disk():
    """/dev/nullb0, as good as memory; made once."""
    if os.path.exists("/dev/nullb0"):
        return "/dev/nullb0"
    subprocess.run(["modprobe", "null_blk", "nr_devices=0"], check=True)
    if not os.path.ismount(CONFIG):
        subprocess.run(["mount", "-t", "configfs", "none", CONFIG], check=True)
    disk = CONFIG + "/nullb/nullb0"
    os.mkdir(disk)
    for name, value in [("size", DISK_MIB), ("blocksize", 4096), ("memory_backed", 1),
                        ("irqmode", 0), ("queue_mode", 2), ("power", 1)]:
        with open(f"{disk}/{name}", "w") as f:
            f.write(str(value))
    # Every page is there before anything is counted.
    subprocess.run(["dd", "if=/dev/zero", "of=/dev/nullb0", "bs=1M", f"count={DISK_MIB}",
                    "oflag=direct", "status=none"], check=True)
    return "/dev/nullb0"


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
