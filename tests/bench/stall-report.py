#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns what stall-guest has measured into a table, histograms and stall.json.

usage: stall-report.py DIRECTORY
"""
import json
import os
import sys

CASES = [
    ("none", "no backup"),
    ("auto", "auto, no stall"),
    ("ring-stalled", "ring, stalled"),
    ("auto-stalled", "auto, stalled"),
]
BAR = 50


def percentile(values, p):
    """Of a sorted list: the smallest value that p percent of them do not exceed."""
    return values[max(0, -(-len(values) * p // 100) - 1)]


def numbers(values):
    values = sorted(values)
    return {
        "writes": len(values),
        "min": values[0],
        "median": percentile(values, 50),
        "p99": percentile(values, 99),
        "max": values[-1],
    }


def histogram(values):
    """Counts of powers of two: {upper bound in us: writes}."""
    counts = {}
    for v in values:
        bound = 1 << max(0, v - 1).bit_length()
        counts[bound] = counts.get(bound, 0) + 1
    return counts


def load(directory, name):
    path = os.path.join(directory, name)
    writes = [tuple(map(int, line.split())) for line in open(path + ".writes")]
    times = {k: float(v) * 1e6 for k, v in (line.split() for line in open(path + ".times"))}
    summary = json.load(open(path + ".summary")) if os.path.exists(path + ".summary") else None
    if summary and summary["outcome"] != "ok":
        sys.exit(f"{name}: the backup failed: {summary['error']}")
    during = [w for w in writes if times["begin"] <= w[0] < times["end"]]
    stalled = [w for w in writes if "stall" in times and times["stall"] <= w[0] < times["go"]]
    if not during:
        sys.exit(f"{name}: no write was due during the backup")
    result = {"backup_s": (times["end"] - times["begin"]) / 1e6}
    if stalled and times["go"] - times["stall"] > 1e6:
        result["stall_s"] = (times["go"] - times["stall"]) / 1e6
        result["writes_done_in_stall"] = sum(times["stall"] <= w[2] < times["go"] for w in writes)
        result["writes_due_in_stall"] = len(stalled)
    result["since_due_us"] = numbers([w[2] - w[0] for w in during])
    result["since_issued_us"] = numbers([w[2] - w[1] for w in during])
    result["histogram_since_due_us"] = histogram([w[2] - w[0] for w in during])
    result["histogram_since_issued_us"] = histogram([w[2] - w[1] for w in during])
    result["summary"] = summary
    return result


def ms(us):
    return f"{us / 1000:.1f}"


def table(results, key, title):
    print(f"\n{title}, milliseconds\n")
    print(f"{'':16} {'writes':>7} {'min':>9} {'median':>9} {'p99':>9} {'max':>9}")
    for name, label in CASES:
        n = results[name][key]
        print(f"{label:16} {n['writes']:7} {ms(n['min']):>9} {ms(n['median']):>9} "
              f"{ms(n['p99']):>9} {ms(n['max']):>9}")


def show_histograms(results):
    bounds = sorted({b for r in results.values() for b in r["histogram_since_due_us"]})
    for name, label in CASES:
        counts = results[name]["histogram_since_due_us"]
        top = max(counts.values())
        print(f"\n{label}: writes by latency since due (up to, milliseconds)")
        for b in bounds:
            n = counts.get(b, 0)
            bar = "#" * max(1, n * BAR // top) if n else ""
            print(f"{ms(b):>9} {n:6} {bar}".rstrip())


def main():
    directory = sys.argv[1]
    results = {name: load(directory, name) for name, _ in CASES}
    table(results, "since_due_us", "Guest writes during the backup, from when each was due")
    table(results, "since_issued_us", "The same, from when each was issued")
    print(f"\n{'':16} {'backup s':>9} {'stall s':>8} {'writes done in it':>18} "
          f"{'held':>6} {'guest':>6} {'spilled':>8}")
    for name, label in CASES:
        r = results[name]
        s = r["summary"] or {}
        done = f"{r['writes_done_in_stall']} of {r['writes_due_in_stall']}" if "stall_s" in r else "-"
        stall = f"{r['stall_s']:.1f}" if "stall_s" in r else "-"
        print(f"{label:16} {r['backup_s']:9.1f} {stall:>8} {done:>18} "
              f"{s.get('guest_writes_held', '-'):>6} {s.get('chunks_guest', '-'):>6} "
              f"{s.get('chunks_spilled', '-'):>8}")
    calm = results["auto"]["since_issued_us"]["max"]
    print("\nlongest write, auto: stalled / not stalled = "
          f"{results['auto-stalled']['since_issued_us']['max'] / calm:.2f}")
    show_histograms(results)
    with open(os.path.join(directory, "stall.json"), "w") as f:
        json.dump({"cases": results, "rate_per_s": int(os.environ.get("VMAB_TEST_RATE", "0"))}, f,
                  indent=1)
        f.write("\n")


main()
