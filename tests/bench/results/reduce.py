# SPDX-License-Identifier: GPL-2.0-or-later
"""What one case left in its directory becomes a few numbers with stable names (METRICS)."""
import glob
import json
import os

SECTOR = 512
# The guest among the processes.
GUEST = "fio"

# Everything is about the window, from the backup's instant to its end, unless it says "whole",
# which is the whole case with nothing under way at either end.
#
# Beside these there are, for each device, io.DEVICE.reads, .writes, .bytes_read and .bytes_written
# (in the window; disk is the shared one, guest the guest's own, beside a snapshot's exceptions
# or a fleece device, pool-data and pool-meta the pool's), and for each process that took part
# cpu_s.NAME, its CPU seconds ("fio" is the guest).
METRICS = {
    "iops": "I/Os of the guest that ended, per second",
    "read_iops": "of them reads",
    "write_iops": "of them writes",
    "throughput_bytes_s": "bytes of these I/Os per second",
    "lat_min_us": "latency of the guest's writes that overlap the window, microseconds",
    "lat_median_us": "",
    "lat_p99_us": "",
    "lat_max_us": "",
    "read_lat_median_us": "the same of its reads",
    "read_lat_p99_us": "",
    "read_lat_max_us": "",
    "backup_s": "from the instant until all was in the archive; none if over the limit",
    "backup_finished": "1, or 0: over the limit",
    "disk_ios_per_io": "I/Os of the shared disk for each of the guest",
    "disk_bytes_read": "bytes read from the shared disk, whole",
    "disk_bytes_written": "bytes written to it, whole",
    "guest_bytes_read": "bytes that the guest read, whole",
    "guest_bytes_written": "bytes that the guest wrote, whole",
    "extra_bytes": "bytes moved on the shared disk beyond the guest's own and one read of the "
                   "volume, whole",
    "extra_share": "of the volume's size",
    "archive_bytes_written": "bytes written to the archive's disk, whole",
    "cpu_us_per_io": "busy time of all CPUs for each I/O of the guest, microseconds",
    "cpu_idle_share": "of all CPU time; near 0 means that the CPU was the limit",
    "backup_cpu_s": "CPU time of the programs that did the backup",
    "space_bytes": "the most that the backup occupied beside volume and archive",
    "chunks_pushed_share": "part of the volume that guest writes pushed (ours only)",
    "stall_s": "for how long the archive's disk stood still",
    # first-touch, arm, scale, counted
    "writes_per_s": "first-touch writes per second",
    "read_per_chunk_bytes": "bytes read from the disk for each chunk that was pushed",
    "written_per_chunk_bytes": "bytes written for each beside the guest's own write",
    "arm_window_us": "from the first suspend to the last resume, microseconds",
    "arm_over_empty_us": "the same less a suspend and resume of the same disks for nothing",
    "setup_us": "all of a session's ioctls before the first suspend, microseconds",
    "memory_bytes": "kernel memory of the session",
    "memory_over_bytes": "the same less slots and 2 bits per chunk",
    "instructions_per_io": "of one 4 KiB write and its completion, kernel and fio",
}


class BadCase(Exception):
    pass


def percentile(values, p):
    """Of a sorted list: the smallest value that p percent of them do not exceed."""
    return values[max(0, -(-len(values) * p // 100) - 1)]


def latencies(values_us):
    values = sorted(values_us)
    return {"min": values[0], "median": percentile(values, 50), "p99": percentile(values, 99),
            "max": values[-1]}


def read_log(path):
    """fio's: (end in s since 1970, latency in s, is it a write, bytes) of each I/O."""
    with open(path) as f:
        for line in f:
            ended, latency, direction, size = [int(w) for w in line.split(",")[:4]]
            yield ended / 1e3, latency / 1e9, direction == 1, size


def guest_numbers(ios, begin, end):
    """ios as read_log() has them."""
    seconds = end - begin
    inside = [i for i in ios if begin <= i[0] < end]
    overlapping = [i for i in ios if i[0] >= begin and i[0] - i[1] < end]
    writes = [i[1] * 1e6 for i in overlapping if i[2]]
    reads = [i[1] * 1e6 for i in overlapping if not i[2]]
    if not writes:
        raise BadCase("the guest wrote nothing in the window")
    numbers = {
        "iops": len(inside) / seconds,
        "read_iops": sum(not i[2] for i in inside) / seconds,
        "write_iops": sum(i[2] for i in inside) / seconds,
        "throughput_bytes_s": sum(i[3] for i in inside) / seconds,
    }
    for name, value in latencies(writes).items():
        numbers[f"lat_{name}_us"] = value
    if reads:
        found = latencies(reads)
        for name in ("median", "p99", "max"):
            numbers[f"read_lat_{name}_us"] = found[name]
    return numbers, len(inside)


def matrix_numbers(raw, ios, size):
    """raw is what inside/matrix.py wrote; ios is None for a guest that did nothing."""
    begin, end = raw["instant_at"], raw["end_at"]
    window, whole = raw["window"], raw["whole"]
    disk, guest = whole["devices"]["disk"], whole["devices"]["guest"]
    archive = whole["devices"].get("archive")
    numbers = {}
    done = 0
    if ios is not None:
        numbers, done = guest_numbers(ios, begin, end)
    for name, counters in (("disk", disk), ("guest", guest)):
        if name == "guest" and ios is None:
            continue
        numbers[f"{name}_bytes_read"] = counters["sectors_read"] * SECTOR
        numbers[f"{name}_bytes_written"] = counters["sectors_written"] * SECTOR
    for name, c in window["devices"].items():
        numbers[f"io.{name}.reads"] = c["reads"]
        numbers[f"io.{name}.writes"] = c["writes"]
        numbers[f"io.{name}.bytes_read"] = c["sectors_read"] * SECTOR
        numbers[f"io.{name}.bytes_written"] = c["sectors_written"] * SECTOR
    for name, seconds in raw["process_cpu_s"].items():
        numbers[f"cpu_s.{name}"] = seconds
    cpu = window["cpu"]
    numbers["cpu_idle_share"] = cpu["idle"] / (cpu["idle"] + cpu["busy"])
    if done:
        numbers["cpu_us_per_io"] = cpu["busy"] * 1e6 / done
        shared = window["devices"]["disk"]
        numbers["disk_ios_per_io"] = (shared["reads"] + shared["writes"]) / done
    if archive is None:
        return numbers
    numbers["backup_finished"] = int(raw["finished"])
    numbers["space_bytes"] = raw["space_bytes"]
    numbers["archive_bytes_written"] = archive["sectors_written"] * SECTOR
    numbers["backup_cpu_s"] = sum(
        seconds for name, seconds in raw["process_cpu_s"].items() if name != GUEST)
    if raw["finished"]:
        numbers["backup_s"] = end - begin
        # The guest of a quiet case has the same device as a backup that reads it.
        own = 0 if ios is None else guest["sectors_read"] + guest["sectors_written"]
        extra = (disk["sectors_read"] + disk["sectors_written"] - own) * SECTOR - size
        numbers["extra_bytes"] = extra
        numbers["extra_share"] = extra / size
    stall = raw.get("stall")
    if stall:
        numbers["stall_s"] = stall["ended_at"] - stall["began_at"] if stall["began_at"] else 0
        if numbers["stall_s"] < stall["wanted_s"]:
            raise BadCase("the backup was over before the archive had stood still for "
                          f"{stall['wanted_s']} s")
    if raw["summary"]:
        numbers["chunks_pushed_share"] = raw["summary"]["chunks_guest"] / raw["summary"]["chunks"]
    return numbers


def special_numbers(raw):
    numbers = {k: raw[k] for k in ("writes_per_s", "instructions_per_io") if k in raw}
    if "chunks_pushed" in raw:
        numbers["read_per_chunk_bytes"] = raw["bytes_read"] / raw["chunks_pushed"]
        numbers["written_per_chunk_bytes"] = raw["bytes_written"] / raw["chunks_pushed"]
        for name, value in latencies(raw["latencies_us"]).items():
            numbers[f"lat_{name}_us"] = value
    if "window_ns" in raw:
        numbers["arm_window_us"] = raw["window_ns"] / 1e3
        numbers["arm_over_empty_us"] = (raw["window_ns"] - raw["empty_ns"]) / 1e3
        numbers["setup_us"] = raw["setup_ns"] / 1e3
        numbers["memory_bytes"] = raw["memory_bytes"]
        numbers["memory_over_bytes"] = raw["memory_bytes"] - raw["slot_bytes"] - raw["map_bytes"]
    return numbers


def reduce_case(directory, size):
    """The numbers of a case, or {"error": text}."""
    try:
        with open(os.path.join(directory, "result.json")) as f:
            raw = json.load(f)
    except FileNotFoundError:
        return {"error": "it was not reached: the machine died, or was ended"}
    if "error" in raw:
        return {"error": raw["error"]}
    if "window" not in raw:
        return special_numbers(raw)
    logs = sorted(glob.glob(os.path.join(directory, "latency.*.log")))
    ios = [io for path in logs for io in read_log(path)] if logs else None
    try:
        return matrix_numbers(raw, ios, size)
    except BadCase as e:
        return {"error": str(e)}
