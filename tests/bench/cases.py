#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What make bench can measure: the names of all cases, and those that were asked for.

A case of the matrix is STACK/WORKLOAD/ARCHIVE: what the guest's disk lies on, what the guest
does with it, and where and how fast the backup goes meanwhile ("none": no backup). Others are
GROUP/NAME. Both the host and the machine use this file, so that they mean the same.

usage: cases.py [--cases "GLOB ..."] [--workloads "GLOB ..."]
"""
import argparse
import fnmatch

# Without a backup or a snapshot.
CALM_STACKS = ["bare", "linear", "idle", "safe", "qemu-idle"]
# With one that is live while the guest works. "-n": not persistent.
PEER_STACKS = ["snapshot-4k", "snapshot-64k", "snapshot-64k-n", "thin-64k", "qemu-direct",
               "qemu-fleece"]
OUR_STACKS = ["ring", "fleece", "auto"]
LIVE_STACKS = PEER_STACKS + OUR_STACKS

WORKLOADS = ["rand4k-d1", "rand4k-d32", "seq64k", "mixed4k-d16", "ext4-fsync"]
# The guest does nothing: how long a backup takes by itself.
QUIET = "quiet"

# fast: as fast as it goes. paced: every reader at the same rate. slow: the archive's disk
# takes 20 MB/s. stalled: fast, but it stands still for a time.
ARCHIVES = ["fast", "paced", "slow", "stalled"]

# Not part of a run unless CASES names them: LVM has no such snapshots; hundreds of disks take
# long to make, and what they show is the same each time.
ONLY_IF_NAMED = ["snapshot-64k-n", "scale"]

FIRST_TOUCH = ["first-touch/model", "first-touch/ring"]
# Disks and the size of each; one of 64 TiB is what the machine's memory has room for.
ARM = ["arm/8x1T"]
SCALE = ["scale/1x1G", "scale/1x64G", "scale/1x1T", "scale/1x16T", "scale/1x64T",
         "scale/8x64G", "scale/32x64G", "scale/128x64G", "scale/254x64G"]
# Instructions per I/O.
COUNTED = ["counted/bare", "counted/linear", "counted/idle", "counted/safe"]


def matrix():
    names = []
    for workload in WORKLOADS:
        names += [f"{stack}/{workload}/none" for stack in CALM_STACKS]
    for archive in ARCHIVES:
        for workload in WORKLOADS:
            names += [f"{stack}/{workload}/{archive}" for stack in LIVE_STACKS]
    names += [f"{stack}/{QUIET}/fast" for stack in ["bare"] + LIVE_STACKS]
    return names


def disks_of(case):
    """Of a case of ARM or SCALE: how many, and the bytes of each."""
    nr, size = case.split("/")[1].split("x")
    return int(nr), int(size[:-1]) << {"G": 30, "T": 40}[size[-1]]


def is_matrix(case):
    return case.count("/") == 2


def select(cases="*", workloads="*"):
    """The cases that match one of the globs of cases; of the matrix, also of workloads."""
    chosen = []
    for case in matrix() + FIRST_TOUCH + ARM + SCALE + COUNTED:
        patterns = [p for p in cases.split() if fnmatch.fnmatchcase(case, p)]
        if not patterns:
            continue
        stack = case.split("/")[0]
        if stack in ONLY_IF_NAMED and not any(stack in p for p in patterns):
            continue
        if is_matrix(case) and not any(fnmatch.fnmatchcase(case.split("/")[1], p)
                                       for p in workloads.split()):
            continue
        chosen.append(case)
    return chosen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="*")
    parser.add_argument("--workloads", default="*")
    args = parser.parse_args()
    for case in select(args.cases, args.workloads):
        print(case)


if __name__ == "__main__":
    main()
