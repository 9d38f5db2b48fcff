# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases outside of the matrix, each for one target.

first-touch: 4 KiB random writes, 32 at a time, each to a chunk that no write had touched, while
FETCH rests: a session that takes what guests push and asks for nothing. "model" is what the
disk allows at most: 64 KiB reads and 4 KiB writes, one for one, without any of our code.

arm and scale: the time for which so many disks of that size are suspended, over suspending and
resuming them for nothing; what setting up takes before that; and the kernel's memory for the
session.
"""
import json
import subprocess
import time

import cases
from inside import children, disks, meter
from inside.stack import Session

FIRST_TOUCH_DEPTH = 32
# pacer is never behind such a rate: each thread goes on at once.
NO_RATE = 100000
CHUNK = 64 << 10
# Writes before all chunks were touched: this part of them.
TOUCHED_PART = 0.8
ARM_SLOTS = 1024
# What the model runs, seconds.
MODEL_SECONDS = 10


def first_touch_model(bed, directory, seed):
    output = bed.path("fio.json")
    subprocess.run(["fio", "--name=model", f"--randseed={seed}", "--rw=randrw",
                    "--rwmixread=50", "--bs=64k,4k", "--direct=1", "--ioengine=libaio",
                    f"--iodepth={2 * FIRST_TOUCH_DEPTH}", f"--filename={bed.disks.volume}",
                    f"--size={bed.size}", "--time_based", f"--runtime={MODEL_SECONDS}",
                    "--eta=never", "--output-format=json", f"--output={output}"], check=True)
    with open(output) as f:
        job = json.load(f)["jobs"][0]
    return {"writes_per_s": job["write"]["iops"], "reads_per_s": job["read"]["iops"]}


def first_touch_ring(bed, directory, seed):
    top = bed.mapper.create("top", f"0 {bed.disks.sectors} vmabackup {bed.disks.volume}")
    session = Session(bed, "drain", [top], options=["--no-fetch", "--batch", "64",
                                                    "--policy", "ring"])
    counters = meter.Meter({"disk": disks.DISK, "guest": top})
    chunks = bed.size // CHUNK
    records = bed.path("pacer")
    try:
        before = counters.read()
        pacer = children.start("pacer", [
            bed.tool("pacer"), "--rate", str(NO_RATE), "--seconds", "3600", "--threads",
            str(FIRST_TOUCH_DEPTH), "--out", records, top])

        def touched():
            if pacer.poll() is not None:
                raise RuntimeError(f"pacer ended by itself, with status {pacer.ended}")
            writes = meter.device_counters(top)["writes"] - \
                before["devices"]["guest"]["writes"]
            return writes >= chunks * TOUCHED_PART
        bed.until(bed.parameters["limit_s"], "first-touch writes", touched)
        if pacer.finish():
            raise RuntimeError(f"pacer ended with status {pacer.ended}")
        after = counters.read()
    finally:
        status = session.end()
    with open(records) as f:
        writes = [[int(w) for w in line.split()] for line in f]
    begin = min(w[1] for w in writes)
    end = max(w[2] for w in writes)
    moved = meter.difference(before, after)["devices"]
    return {"writes_per_s": len(writes) * 1e6 / (end - begin),
            "latencies_us": sorted(w[2] - w[1] for w in writes),
            "chunks_pushed": status["chunks_guest"],
            "bytes_read": (moved["disk"]["sectors_read"] - moved["guest"]["sectors_read"]) * 512,
            "bytes_written": (moved["disk"]["sectors_written"]
                              - moved["guest"]["sectors_written"]) * 512}


def arm(nr, size):
    """The case with so many disks of size bytes. They lie on nothing: nobody reads them."""
    def run(bed, directory, seed):
        tops = []
        for i in range(nr):
            table = f"0 {size >> 9}"
            nothing = bed.mapper.create(f"nothing{i}", f"{table} zero")
            tops.append(bed.mapper.create(f"top{i}", f"{table} vmabackup {nothing}"))
        free = meter.memory_free()
        session = Session(bed, "hold", tops, slots=ARM_SLOTS,
                          options=["--empty-first", "--policy", "ring"])
        # What only its start needed is given back.
        time.sleep(1)
        used = free - meter.memory_free()
        with open(f"/proc/{session.child.pid}/status") as f:
            process = [int(line.split()[1]) * 1024 for line in f
                       if line.startswith("RssAnon:")][0]
        status = session.end()
        begin, end = status["armed_ns"]
        return {"window_ns": end - begin, "empty_ns": status["empty_ns"],
                "setup_ns": status["setup_ns"], "memory_bytes": used - process,
                "slot_bytes": ARM_SLOTS * CHUNK, "map_bytes": nr * (size // CHUNK // 4)}
    return run


CASES = {"first-touch/model": first_touch_model, "first-touch/ring": first_touch_ring}
CASES.update({name: arm(*cases.disks_of(name)) for name in cases.ARM + cases.SCALE})
