# SPDX-License-Identifier: GPL-2.0-or-later
"""How far two runs of make bench differ: the medians of the ratios that both have."""
import statistics

# What bench.json has ratios of.
WORDS = {"iops": "IOPS", "lat_p99_us": "p99", "backup_s": "backup's time"}
# How many of the ratios that differ most are named.
MOST = 10


def ratios(document):
    """{(case, other, metric): median}"""
    return {(case, other, metric): spread["median"]
            for case, others in document["ratios"].items()
            for other, metrics in others.items() for metric, spread in metrics.items()}


def difference(a, b):
    """Of b from a, as a share of a; None if there is none to tell."""
    if a == b:
        return 0.0
    return b / a - 1 if a else None


def percentile(values, percent):
    return values[min(len(values) - 1, len(values) * percent // 100)]


def differences(old, new):
    """[(share, key, old, new)], the largest first; and how many only one of them has."""
    a, b = ratios(old), ratios(new)
    both = [(difference(a[key], b[key]), key, a[key], b[key]) for key in a if key in b]
    both = [row for row in both if row[0] is not None]
    return sorted(both, key=lambda row: -abs(row[0])), len(set(a) ^ set(b))


def of_metric(rows, metric):
    shares = sorted(abs(row[0]) for row in rows if row[1][2] == metric)
    if not shares:
        return []
    return [f"{WORDS.get(metric, metric):16} {len(shares):6} {100 * statistics.median(shares):9.1f} "
            f"{100 * percentile(shares, 90):9.1f} {100 * shares[-1]:9.1f}"]


def target_rows(old, new):
    out = []
    others = {row["name"]: row for row in new["targets"]}
    for a in old["targets"]:
        b = others.get(a["name"])
        if not b or not a["value"] or not b["value"]:
            continue
        x, y = a["value"]["median"], b["value"]["median"]
        share = difference(x, y)
        both = {True: "both", False: "neither"}.get(a["met"]) if a["met"] == b["met"] else "one"
        out.append(f"{a['name']:28} {x:10.4g} {y:10.4g} "
                   f"{'' if share is None else f'{100 * share:+.1f}':>9} {both:>8}  {a['wanted']}")
    return out


def text(old, new):
    rows, lonely = differences(old, new)
    lines = ["Ratios of two runs (medians of each run's repetitions), differences in %", "",
             f"{'ratio of':16} {'number':>6} {'median':>9} {'90 % <=':>9} {'largest':>9}"]
    for metric in WORDS:
        lines += of_metric(rows, metric)
    if lonely:
        lines.append(f"{lonely} ratios are in one run only")
    lines += ["", f"{'those that differ most':58} {'first':>8} {'second':>8} {'%':>8}"]
    for share, (case, other, metric), a, b in rows[:MOST]:
        name = f"{case} over {other}, {WORDS.get(metric, metric)}"
        lines.append(f"{name:58} {a:8.3f} {b:8.3f} {100 * share:+8.1f}")
    lines += ["", f"{'target':28} {'first':>10} {'second':>10} {'%':>9} {'met by':>8}  wanted"]
    return "\n".join(lines + target_rows(old, new)) + "\n"
