# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest does: fio jobs that run until they are stopped. Each I/O leaves a line with
its time and latency, so that the host can look at any part of the run.
"""
import glob
import os
import shutil
import signal
import subprocess

from inside import children

# Longer than any case; each is ended by a signal.
FOREVER = 86400
# fio's exit status after SIGINT.
INTERRUPTED = 128
STOP_STATUSES = (0, INTERRUPTED)

# Jobs on the whole disk. Depth 8 for the sequential one: a guest's write-back.
BLOCK_JOBS = {
    "rand4k-d1": ["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    "rand4k-d32": ["--rw=randwrite", "--bs=4k", "--iodepth=32"],
    "seq64k": ["--rw=write", "--bs=64k", "--iodepth=8"],
    "mixed4k-d16": ["--rw=randrw", "--rwmixread=70", "--bs=4k", "--iodepth=16"],
}
# ext4-fsync: so many processes write 4 KiB each to a file of its own, of that part of the
# disk, with O_SYNC: what ends a write() is the same as fsync() after it, and the latency in
# the log holds both.
FSYNC_JOBS = 4
FSYNC_FILE_PART = 16


class Load:
    def __init__(self, workload, device, size, work, seed):
        self.workload = workload
        self.device = device
        self.mount = None
        self.log = os.path.join(work, "fio")
        self.output = os.path.join(work, "fio.json")
        for old in glob.glob(self.log + "_*"):
            os.unlink(old)
        argv = ["fio", "--name=guest", "--thread", f"--randseed={seed}", "--time_based",
                f"--runtime={FOREVER}", f"--write_lat_log={self.log}", "--log_unix_epoch=1",
                "--eta=never", "--output-format=json", f"--output={self.output}"]
        if workload == "ext4-fsync":
            self.mount = os.path.join(work, "mount")
            self.make_file_system()
            argv += [f"--directory={self.mount}", "--ioengine=psync", "--sync=1",
                     "--rw=randwrite", "--bs=4k", f"--size={size // FSYNC_FILE_PART}",
                     f"--numjobs={FSYNC_JOBS}", "--group_reporting"]
        else:
            argv += [f"--filename={device}", f"--size={size}", "--direct=1",
                     "--ioengine=libaio"] + BLOCK_JOBS[workload]
        self.argv = argv

    def make_file_system(self):
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0",
                        self.device], check=True)
        os.makedirs(self.mount, exist_ok=True)
        subprocess.run(["mount", "-t", "ext4", self.device, self.mount], check=True)

    def start(self):
        self.child = children.start("fio", self.argv, stderr=subprocess.DEVNULL)

    def check(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"fio ended by itself, with status {self.child.ended}")

    def stop(self):
        status = self.child.finish(signal.SIGINT)
        if status not in STOP_STATUSES:
            raise RuntimeError(f"fio ended with status {status}")

    def keep(self, directory):
        """The logs of whole latencies; one per process."""
        logs = glob.glob(self.log + "_lat.*.log")
        if not logs:
            raise RuntimeError("fio left no log")
        for i, path in enumerate(sorted(logs)):
            shutil.copy(path, os.path.join(directory, f"latency.{i}.log"))

    def down(self):
        if hasattr(self, "child"):
            self.child.finish(signal.SIGKILL)
        if self.mount and os.path.ismount(self.mount):
            subprocess.run(["umount", self.mount], check=True)
