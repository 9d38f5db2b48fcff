# SPDX-License-Identifier: GPL-2.0-or-later
"""The text that make bench prints."""
import cases

MIB = 1 << 20
# Less idle CPU than this, and the CPU may have been the limit, not the disk.
LITTLE_IDLE = 0.10

# heading, metric, divided by, decimals
COLUMNS = [
    ("IOPS", "iops", 1, 0),
    ("MiB/s", "throughput_bytes_s", MIB, 1),
    ("min ms", "lat_min_us", 1000, 1),
    ("median", "lat_median_us", 1000, 1),
    ("p99", "lat_p99_us", 1000, 1),
    ("max", "lat_max_us", 1000, 0),
    ("backup s", "backup_s", 1, 1),
    ("extra MiB", "extra_bytes", MIB, 1),
    ("space MiB", "space_bytes", MIB, 1),
    ("disk I/Os", "disk_ios_per_io", 1, 2),
    ("CPU us", "cpu_us_per_io", 1, 0),
    ("idle %", "cpu_idle_share", 0.01, 0),
]

ARM_COLUMNS = [
    ("setup ms", "setup_us", 1000, 1),
    ("suspended ms", "arm_window_us", 1000, 1),
    ("over empty", "arm_over_empty_us", 1000, 1),
    ("memory MiB", "memory_bytes", MIB, 1),
    ("over slots and map", "memory_over_bytes", MIB, 2),
]
COUNTED_COLUMNS = [("instructions per I/O", "instructions_per_io", 1, 0)]

WORDS = {
    "none": "no backup",
    "fast": "backup as fast as it goes",
    "paced": "every backup reads at the same rate",
    "slow": "the archive's disk takes little",
    "stalled": "the archive's disk stands still for a time",
}


def number(value, divisor, decimals):
    return "-" if value is None else f"{value / divisor:.{decimals}f}"


def with_spread(found, divisor, decimals):
    """The median, and how far the others are from it: "812 -3 +1 %"."""
    if not found:
        return "-"
    median = found["median"]
    text = number(median, divisor, decimals)
    if found["n"] > 1 and median:
        low, high = ((found[end] / median - 1) * 100 for end in ("min", "max"))
        text += f" {low:+.0f}{high:+.0f}%"
    return text


def lines_of(rows):
    """Columns as wide as they must be; the first one to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                      for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def block(runs, workload, archive):
    stacks = (cases.CALM_STACKS if archive == "none" else ["bare"] + cases.LIVE_STACKS)
    rows = []
    for stack in stacks:
        case = f"{stack}/{workload}/{archive}"
        if not any(runs.spread(case, c[1]) for c in COLUMNS):
            continue
        row = [stack]
        for heading, metric, divisor, decimals in COLUMNS:
            found = runs.spread(case, metric)
            if metric == "backup_s" and 0 in runs.values(case, "backup_finished"):
                row.append("too long")
            elif metric in ("iops", "lat_p99_us", "backup_s"):
                row.append(with_spread(found, divisor, decimals))
            else:
                row.append(number(found and found["median"], divisor, decimals))
        ratios = runs.ratios(case, f"bare/{workload}/none", "iops")
        row.insert(2, f"{sorted(ratios)[len(ratios) // 2]:.2f}" if ratios else "-")
        rows.append(row)
    if not rows:
        return []
    heading = ["", COLUMNS[0][0], "of bare"] + [c[0] for c in COLUMNS[1:]]
    return [f"{workload}, {WORDS[archive]}", ""] + lines_of([heading] + rows) + [""]


def special_block(runs, heading, columns, names):
    rows = [[name] + [number(found and found["median"], c[2], c[3]) for c in columns
                      for found in [runs.spread(name, c[1])]]
            for name in names if runs.spread(name, columns[0][1])]
    if not rows:
        return []
    return [heading, ""] + lines_of([[""] + [c[0] for c in columns]] + rows) + [""]


def target_lines(rows):
    out = [["", "wanted", "measured", "", ""]]
    for row in rows:
        value = row["value"]
        if value is None:
            measured, met = "-", "not run"
        else:
            measured = f"{value['median']:.3f} ({value['min']:.3f} to {value['max']:.3f})"
            met = "met" if row["met"] else "MISSED"
        out.append([row["text"], f"{row['wanted']} {row['unit']}".strip(), measured, met,
                    row["note"]])
    return lines_of(out)


def warnings(runs):
    out = []
    for case in runs.cases():
        idle = runs.median(case, "cpu_idle_share")
        if idle is not None and idle < LITTLE_IDLE:
            out.append(f"{case}: only {idle * 100:.0f} % of the CPU was idle: this may be the "
                       "CPU's speed, not the disk's")
    return out


def text(runs, parameters, targets):
    p = parameters
    out = [
        f"{p['reps']} repetitions; volume {p['size_bytes'] // MIB} MiB; shared disk "
        f"{p['disk_iops']} I/Os/s of up to {p['request_bytes'] >> 10} KiB;",
        f"paced: {p['rate_bytes_per_s'] / MIB:.1f} MiB/s; slow archive {p['slow_bps'] / 1e6:.0f} "
        f"MB/s; stall {p['stall_s']} s; kernel {p['kernel']}.",
        "Medians; at IOPS, p99 and backup s also how far lowest and highest are off.", ""]
    for workload in cases.WORKLOADS + [cases.QUIET]:
        for archive in ["none"] + cases.ARCHIVES:
            out += block(runs, workload, archive)
    out += special_block(runs, "arming, and the kernel's memory", ARM_COLUMNS,
                         cases.SCALE + cases.ARM)
    out += special_block(runs, "instructions", COUNTED_COLUMNS, cases.COUNTED)
    out += ["Targets", ""] + target_lines(targets) + [""]
    for heading, lines in (("Doubtful", warnings(runs)),
                           ("Failed", [f"repetition {n}: {c}: {e}"
                                       for n, c, e in runs.errors()])):
        if lines:
            out += [heading, ""] + lines + [""]
    return "\n".join(out)
