#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns archive.json, which tests/bench/archive has measured, into tables.

usage: archive-report.py FILE
"""
import json
import statistics
import sys

# (what, the case, what it is held against, target): ratio of their speeds.
RATIOS = [
    ("create none : dd O_DIRECT", "create none", "dd O_DIRECT", 0.9),
    ("create zstd : zstd -T0, same bytes", "create zstd", "zstd -T0 of the bare archive", 1.0),
    ("create zstd : zstd -T0 of the disk", "create zstd", "zstd -T0 of the disk", None),
    ("restore : zstd -dc | dd conv=sparse", "restore", "zstd -dc | dd conv=sparse", 1.5),
    ("verify : restore", "verify", "restore", 1.0),
]
SIZE_TARGET = 1.03      # create zstd : zstd -T0 of the same bytes
MEMORY_TARGET = 128     # MiB
MIB = 1 << 20


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def verdict(value, target, at_most=False):
    if target is None:
        return ""
    met = value <= target if at_most else value >= target
    return f"{'at most' if at_most else 'at least'} {target:g}: {'met' if met else 'MISSED'}"


def column(result, case, field):
    return [run[field] for run in result["cases"][case]]


def print_cases(result):
    print(f"{'':34}{'seconds':>22}{'CPU seconds':>22}{'MiB/s':>9}{'peak MiB':>10}")
    for name, runs in result["cases"].items():
        wall, cpu = column(result, name, "wall_s"), column(result, name, "cpu_s")
        peak = max(run["peak_bytes"] for run in runs) / MIB
        speed = result["size_bytes"] / MIB / statistics.median(wall)
        print(f"{name:34}{spread(wall):>22}{spread(cpu):>22}{speed:>9.0f}{peak:>10.0f}")


def print_ratios(result):
    """Of each repetition, in which both ran within minutes; then the median of these."""
    print(f"\n{'ratio of speeds':34}{'by time':>22}{'by CPU time':>22}  target, by time")
    for what, ours, theirs, target in RATIOS:
        by = {}
        for field in ("wall_s", "cpu_s"):
            by[field] = [t / o for t, o in zip(column(result, theirs, field),
                                               column(result, ours, field))]
        print(f"{what:34}{spread(by['wall_s']):>22}{spread(by['cpu_s']):>22}  "
              f"{verdict(statistics.median(by['wall_s']), target)}")
    ours = result["cases"]["create zstd"][0]["output_bytes"]
    theirs = result["cases"]["zstd -T0 of the bare archive"][0]["output_bytes"]
    print(f"\nsize, create zstd : zstd -T0 of the same bytes: {ours / theirs:.4f} "
          f"({ours} : {theirs} bytes)  {verdict(ours / theirs, SIZE_TARGET, at_most=True)}")


def print_random(result):
    print("\nrandom 64 KiB reads of the zstd archive through nbdkit, its index beside it")
    for depth, runs in result["random"].items():
        peak = max(r["peak_bytes"] for r in runs) / MIB
        print(f"  depth {depth:>2}: {spread([r['reads_per_s'] for r in runs])} reads/s, median "
              f"{spread([r['median_us'] for r in runs])} us, p99 "
              f"{spread([r['p99_us'] for r in runs])} us, peak {peak:.0f} MiB")


def print_memory(result):
    sparse = result["sparse"]
    print(f"\na disk of {result['sparse_bytes'] >> 30} GiB, nearly all of it holes; archive of "
          f"{sparse['archive_bytes'] / MIB:.0f} MiB")
    for name, run in sparse.items():
        if name == "archive_bytes":
            continue
        peak = run["peak_bytes"] / MIB
        print(f"  {name:15} {run['wall_s']:8.1f} s, CPU {run['cpu_s']:7.1f} s, peak {peak:5.0f} MiB  "
              f"{verdict(peak, MEMORY_TARGET, at_most=True)}")


def main():
    result = json.load(open(sys.argv[1], encoding="utf-8"))
    machine = result["machine"]
    print(f"{result['size_bytes'] / MIB:.0f} MiB, seed {result['seed']}: a third zero, a third "
          f"like text, a third random; zstd level {result['level']}")
    print(f"{result['runs']} repetitions, interleaved; medians (least-most)")
    print(f"{machine['processors']} x {machine['cpu']}, {machine['kernel']}, "
          f"{machine['file_system']}; {machine['zstd'].strip('* ')}; {machine['dd']}; {machine['fio']}")
    print("load when a repetition began: " + " ".join(f"{x:.1f}" for x in result["load"]))
    print("inputs are out of the page cache before each run, outputs on stable storage (fsync)")
    print("at its end; dd reads and writes with O_DIRECT, vmactl reads disks and writes")
    print("archives and restored disks with it; what reads archives, zstd, and dd conv=sparse do not\n")
    print_cases(result)
    print_ratios(result)
    print_random(result)
    print_memory(result)


main()
