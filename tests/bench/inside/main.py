#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The inside of make bench: runs the cases that /results/parameters.json names, one after the
other, and leaves /results/CASE/result.json for each. A case that fails says why there, in
"error"; the others go on. Exit status: 0 if none failed.
"""
import json
import os
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import cases  # noqa: E402
from inside import counted, disks, special  # noqa: E402
from inside.bed import Bed  # noqa: E402
from inside.matrix import MatrixCase  # noqa: E402

RESULTS = "/results"
MODULES = ["dm-mod", "dm-snapshot", "dm-thin-pool", "dm-zero", "nbd", "ext4"]


def warm_up():
    """Programs are read once, so that starting one costs what its code costs, each time."""
    for argv in (["fio", "--version"], ["dd", "--version"], ["qemu-storage-daemon", "--version"],
                 ["dmsetup", "version"], ["nbd-client", "-V"], ["mkfs.ext4", "-V"],
                 [os.path.join(os.environ["BED_BUILD"], "userspace/vmactl/vmactl"), "--version"]):
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def run_case(parameters, name, directory):
    bed = Bed(parameters)
    case = None
    try:
        if name in special.CASES:
            return special.CASES[name](bed, directory, parameters["seed"])
        if name in cases.COUNTED:
            return counted.run(bed, name, parameters["seed"])
        case = MatrixCase(bed, name, parameters["seed"])
        return case.run(directory)
    finally:
        try:
            if case:
                case.down()
        finally:
            bed.close()


def main():
    with open(os.path.join(RESULTS, "parameters.json")) as f:
        parameters = json.load(f)
    for module in MODULES:
        subprocess.run(["modprobe", module], check=True)
    subprocess.run(["insmod", os.environ["BED_KO"]], check=True)
    # Whoever waits for this machine's files, waits without time limit: its clock does not stop.
    with open("/proc/sys/kernel/hung_task_timeout_secs", "w") as f:
        f.write("0\n")
    disks.make(parameters)
    warm_up()
    failed = 0
    for i, name in enumerate(parameters["cases"]):
        directory = os.path.join(RESULTS, name)
        os.makedirs(directory, exist_ok=True)
        begin = time.monotonic()
        try:
            result = run_case(parameters, name, directory)
            said = "done"
        except Exception as error:
            traceback.print_exc()
            result = {"error": f"{type(error).__name__}: {error}"}
            said = "FAILED: " + result["error"]
            failed += 1
        with open(os.path.join(directory, "result.json"), "w") as f:
            json.dump(result, f)
            f.write("\n")
        print(f"{i + 1:3}/{len(parameters['cases'])} {name:32} "
              f"{time.monotonic() - begin:6.1f} s  {said}", flush=True)
    subprocess.run(["rmmod", "dm_vmabackup"], check=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
