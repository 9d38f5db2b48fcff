# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's storage daemon between the guest and its volume, and QEMU's own backup job.

The guest's device is an NBD export of the node "top", which lies on the volume, from the
beginning; for fleecing, a copy-before-write filter is put between the two while the guest
works, by blockdev-reopen. "direct" is what a backup job does by itself: the old data of a
guest's write goes straight to the archive's disk, and the write waits for it.

This module knows nothing of device-mapper: it works on files as well.
"""
import os
import subprocess

from inside import children, meter
from inside.qmp import Qmp
from inside.stack import BackupFailed, Stack

JOB = "backup"
NBD = "/dev/nbd0"
# As in QEMU's documentation and in Proxmox VE: the guest wins, after 45 s.
CBW_TIMEOUT = 45
# Requests of the job at the same time, each of up to 1 MiB, as Proxmox VE sets it. With QEMU's
# default, 64, a guest's write waits for two seconds of this disk's time.
WORKERS = 16
# Seconds for the job to end when it was cancelled: its requests under way have to.
CANCEL_SECONDS = 60


class Daemon:
    """One qemu-storage-daemon; directory is for its sockets."""

    def __init__(self, directory):
        monitor = os.path.join(directory, "qmp.sock")
        self.socket = os.path.join(directory, "nbd.sock")
        for path in (monitor, self.socket):
            if os.path.exists(path):
                os.unlink(path)
        self.child = children.start("qemu-storage-daemon", [
            "qemu-storage-daemon", "--chardev", f"socket,id=qmp,path={monitor},server=on,wait=off",
            "--monitor", "chardev=qmp"])
        self.qmp = Qmp(monitor)

    def add_disk(self, node, path):
        """As large as the volume, which the job insists on, though the device is larger."""
        driver = "host_device" if path.startswith("/dev/") else "file"
        self.qmp.call("blockdev-add", driver="raw", node_name=node, size=self.size,
                      file={"driver": driver, "filename": path, "cache": {"direct": True},
                            "aio": "native"})

    def export(self, volume, size):
        self.size = size
        self.add_disk("volume", volume)
        self.qmp.call("blockdev-add", driver="raw", node_name="top", file="volume")
        self.qmp.call("nbd-server-start", addr={"type": "unix", "data": {"path": self.socket}})
        self.qmp.call("block-export-add", id="guest", type="nbd", name="disk", node_name="top",
                      writable=True)

    def insert_filter(self, fleece):
        """The instant is when this returns."""
        self.add_disk("fleece", fleece)
        self.qmp.call("blockdev-add", driver="copy-before-write", node_name="filter",
                      file="volume", target="fleece", on_cbw_error="break-snapshot",
                      cbw_timeout=CBW_TIMEOUT)
        self.qmp.call("blockdev-reopen",
                      options=[{"driver": "raw", "node-name": "top", "file": "filter"}])

    def back_up(self, node, archive, rate):
        self.add_disk("archive", archive)
        self.qmp.call("blockdev-backup", job_id=JOB, device=node, target="archive", sync="full",
                      auto_dismiss=False, speed=rate, x_perf={"max-workers": WORKERS})

    def back_up_snapshot(self, archive, rate):
        self.qmp.call("blockdev-add", driver="snapshot-access", node_name="snapshot",
                      file="filter")
        self.back_up("snapshot", archive, rate)

    def ended(self):
        jobs = [j for j in self.qmp.call("query-jobs") if j["id"] == JOB]
        if not jobs or jobs[0]["status"] != "concluded":
            return False
        if "error" in jobs[0]:
            raise BackupFailed(f"QEMU's job: {jobs[0]['error']}")
        return True

    def cancel(self):
        self.qmp.call("job-cancel", id=JOB)

    def stop(self):
        self.qmp.call("quit")
        self.qmp.close()
        return self.child.wait()


class Qemu(Stack):
    """how: "idle" (no backup), "direct" or "fleece"."""

    def __init__(self, bed, how):
        super().__init__(bed)
        self.how = how
        self.begun = self.attached = False
        self.daemon = None

    def up(self):
        if self.how == "fleece":
            self.beside = self.disks.beside()
        self.daemon = Daemon(self.bed.work)
        self.daemon.export(self.disks.volume, self.disks.size)
        subprocess.run(["nbd-client", "-unix", self.daemon.socket, "-N", "disk", "-b", "4096",
                        NBD], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.attached = True
        return NBD

    def begin(self, rate, archive, mark):
        if self.how == "fleece":
            self.daemon.insert_filter(self.beside)
            self.written_before = meter.device_counters(self.beside)["sectors_written"]
            mark()
            self.daemon.back_up_snapshot(archive, rate)
        else:
            # Within the call; what the guest waits for until it returns is the backup's doing.
            mark()
            self.daemon.back_up("top", archive, rate)
        self.begun = True

    def ended(self):
        return self.daemon.ended()

    def cut(self):
        self.daemon.cancel()

        def gone():
            try:
                return self.daemon.ended()
            except BackupFailed:
                return True
        self.bed.until(CANCEL_SECONDS, "QEMU's job cancelled", gone)

    def space(self):
        """What was written to the fleecing volume: QEMU 7.2 gives nothing of it back."""
        if self.how != "fleece" or not self.begun:
            return 0
        written = meter.device_counters(self.beside)["sectors_written"] - self.written_before
        return written * 512

    def cpu(self):
        return {"qemu": meter.process_seconds(self.daemon.child.pid)} if self.daemon else {}

    def down(self):
        if self.attached:
            subprocess.run(["nbd-client", "-d", NBD], check=True, stdout=subprocess.DEVNULL)
        if self.daemon:
            status = self.daemon.stop()
            if status:
                raise BackupFailed(f"qemu-storage-daemon ended with status {status}")
