# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of the results, by gnuplot: one bar per stack, its spread as a line."""
import os
import subprocess

import cases

# The workload that shows most: each write meets a chunk that was not written before.
WORKLOAD = "rand4k-d32"

# file, title, metric, divided by, archive, logarithmic
PICTURES = [
    ("iops-paced", "Guest writes per second while a backup reads at a steady rate", "iops", 1,
     "paced", False),
    ("iops-fast", "Guest writes per second while a backup reads as fast as it can", "iops", 1,
     "fast", False),
    ("p99-paced", "99th percentile of guest writes' latency, ms, same backup rate", "lat_p99_us",
     1000, "paced", True),
    ("longest-stalled", "Longest guest write, ms, the archive's disk stood still", "lat_max_us",
     1000, "stalled", True),
    ("backup-time", "Seconds until the backup was complete, busy guest", "backup_s", 1, "fast",
     False),
    ("extra-io", "Moved beyond the guest's own and one read, parts of the volume", "extra_share",
     1, "fast", False),
]

SCRIPT = """set terminal svg size 760,340 font "sans-serif,13" background "white"
set output "{output}"
set title "{title}"
set style fill solid 0.85 noborder
set boxwidth 0.7
set grid ytics linecolor "#dddddd"
set border 3
set tics nomirror
set xtics rotate by -25
set xrange [-0.6:{last}.6]
{scale}
unset key
$bars << EOD
{bars}
EOD
plot $bars using 0:2:5:xtic(1) with boxes linecolor rgb variable, \\
     $bars using 0:2:3:4 with yerrorbars pointtype 0 linecolor "#333333"
"""
OURS, PEER, CALM = "0x2a7f62", "0xb0563b", "0x8a8f98"


def colour(stack):
    return OURS if stack in cases.OUR_STACKS else PEER if stack in cases.PEER_STACKS else CALM


def bars_of(runs, metric, divisor, archive):
    bars = []
    stacks = cases.LIVE_STACKS if metric in ("backup_s", "extra_share") else \
        ["bare"] + cases.LIVE_STACKS
    for stack in stacks:
        found = runs.spread(f"{stack}/{WORKLOAD}/{'none' if stack == 'bare' else archive}", metric)
        if found:
            bars.append(f'"{stack}" {found["median"] / divisor:.6g} {found["min"] / divisor:.6g} '
                        f'{found["max"] / divisor:.6g} {colour(stack)}')
    return bars


def draw(runs, directory):
    """Makes those pictures that there are figures for; returns their names."""
    made = []
    for name, title, metric, divisor, archive, logarithmic in PICTURES:
        bars = bars_of(runs, metric, divisor, archive)
        if not bars:
            continue
        output = os.path.join(directory, name + ".svg")
        script = SCRIPT.format(output=output, title=title, last=len(bars) - 1,
                               scale="set logscale y" if logarithmic else "set yrange [0:*]",
                               bars="\n".join(bars))
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
        made.append(output)
    return made
