# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of null_blk: the kernel's own model of a disk, which keeps its time by the kernel's
timers. Made by configfs; they stay as long as the machine.
"""
import os
import subprocess

CONFIG = "/sys/kernel/config"
# While reads and writes wait, they go in turn, each first come, first served: neither is
# preferred, nor who has more of them waiting, as with what limits the volumes of clouds. The
# scheduler's own defaults prefer reads two to one, and sort them.
#
# async_depth: 6.1 reckons how many writes may be queued from nr_requests as it was before.
SCHEDULER = {"scheduler": "mq-deadline", "nr_requests": 256, "iosched/async_depth": 256,
             "iosched/fifo_batch": 1, "iosched/writes_starved": 1, "iosched/read_expire": 0, "iosched/write_expire": 0}


def create(number, **attributes):
    """/dev/nullb<number>, with these attributes of null_blk; made in order, from 0."""
    if not os.path.isdir("/sys/module/null_blk"):
        subprocess.run(["modprobe", "null_blk", "nr_devices=0"], check=True)
    if not os.path.ismount(CONFIG):
        subprocess.run(["mount", "-t", "configfs", "none", CONFIG], check=True)
    disk = f"{CONFIG}/nullb/nullb{number}"
    os.mkdir(disk)
    for name, value in {**attributes, "power": 1}.items():
        with open(f"{disk}/{name}", "w") as f:
            f.write(str(value))
    return f"/dev/nullb{number}"


def one_at_a_time(number, size, request_bytes, ns, memory):
    """A disk that takes ns for each request of up to request_bytes (larger ones are cut) and
    does one after the other; memory: whether it holds what is written."""
    path = create(number, size=size >> 20, blocksize=4096, memory_backed=int(memory),
                  discard=int(memory), queue_mode=2, submit_queues=1, hw_queue_depth=1,
                  max_sectors=request_bytes // 512, irqmode=2, completion_nsec=ns)
    queue = f"/sys/block/nullb{number}/queue/"
    for name, value in SCHEDULER.items():
        with open(queue + name, "w") as f:
            f.write(str(value))
    return path
