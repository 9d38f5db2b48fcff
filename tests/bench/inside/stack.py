# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's disk can lie on: what all stacks have in common, and those without a peer's
machinery.

A stack is put up once per case, and taken down after it. begin() starts a backup while the
guest works; it calls mark() at the instant that the backup shows.
"""
import json
import os
import signal

from inside import children, copier

# Seconds until a program of ours has armed its session. The machine's clock leaps ahead while
# nothing runs but what waits for the host's files.
ARM_SECONDS = 600


class BackupFailed(Exception):
    pass


class Stack:
    def __init__(self, bed):
        self.bed = bed
        self.mapper = bed.mapper
        self.disks = bed.disks
        self.backup = []

    def up(self):
        """Returns the path of the guest's device."""
        raise NotImplementedError

    def begin(self, rate, archive, mark):
        """rate: bytes per second, or 0; archive: path of its device."""
        raise NotImplementedError

    def ended(self):
        """Is the backup complete? Raises if it failed."""
        states = [c.poll() for c in self.backup]
        for child, state in zip(self.backup, states):
            if state not in (None, 0):
                raise BackupFailed(f"{child.name} ended with status {state}")
        return None not in states

    def cut(self):
        """The backup has taken too long."""
        for child in self.backup:
            child.finish(signal.SIGTERM)

    def space(self):
        """Bytes that the backup occupies at the moment, beside the volume and the archive."""
        return 0

    def cpu(self):
        """CPU seconds of processes that did not end, by name."""
        return {}

    def down(self):
        for child in self.backup:
            child.finish(signal.SIGKILL)

    # --- for those that copy with a reader and a writer ---

    def copy(self, device, rate, archive):
        source, target = copier.pipe()
        size = self.disks.size
        self.backup = [
            children.fork("reader", copier.read_device, device, size, rate, target, [source]),
            children.fork("writer", copier.write_archive, source, archive, [target])]
        os.close(source)
        os.close(target)


class Bare(Stack):
    """The volume itself. Its backup is dd, which is right only while nobody writes."""

    def up(self):
        return self.disks.volume

    def begin(self, rate, archive, mark):
        mark()
        self.backup = [children.start("dd", [
            "dd", f"if={self.disks.volume}", f"of={archive}", "bs=1M", "iflag=direct",
            "oflag=direct", "status=none"])]


class Linear(Stack):
    """One more layer of dm-linear."""

    def up(self):
        return self.mapper.create("top", f"0 {self.disks.sectors} linear {self.disks.volume} 0")


class Idle(Stack):
    """The target of this project, without a session."""

    def up(self):
        return self.mapper.create("top", f"0 {self.disks.sectors} vmabackup {self.disks.volume}")


class Safe(Idle):
    """A session is armed and lives, but all chunks that the guest can touch are safe: all
    but the last one were forgotten before."""

    def up(self):
        top = super().up()
        self.session = Session(self.bed, "hold", [top], forget=self.disks.size // (64 << 10) - 1)
        return top

    def down(self):
        self.session.end()
        super().down()


class Ours(Stack):
    """A backup by vmactl."""

    def __init__(self, bed, policy):
        super().__init__(bed)
        self.policy = policy

    def up(self):
        features = ""
        if self.policy != "ring":
            features = f" 2 fleece {self.disks.beside()}"
        return self.mapper.create(
            "top", f"0 {self.disks.sectors} vmabackup {self.disks.volume}{features}")

    def begin(self, rate, archive, mark):
        source, target = copier.pipe()
        argv = [self.bed.vmactl, "backup", "--disk", "drive=" + self.mapper.path("top"),
                "--output", "-", "--policy", self.policy,
                "--json-summary", self.bed.path("summary")]
        if rate:
            argv += ["--bwlimit", str(rate)]
        # The writer first: its copy of this program must not delay it.
        writer = children.fork("writer", copier.write_archive, source, archive, [target])
        with open(self.bed.path("vmactl.err"), "wb") as err:
            vmactl = children.start("vmactl", argv, stdout=target, stderr=err)
        os.close(source)
        os.close(target)
        self.backup = [vmactl, writer]

        def armed():
            self.check_vmactl()
            return vmactl.ended == 0 or self.mapper.status("top")[0] == "armed"
        self.bed.until(ARM_SECONDS, "vmactl armed", armed)
        mark()

    def check_vmactl(self):
        if self.backup[0].poll() not in (None, 0):
            with open(self.bed.path("vmactl.err")) as f:
                raise BackupFailed("vmactl: " + f.read().strip())

    def ended(self):
        self.check_vmactl()
        return super().ended()

    def space(self):
        if self.policy == "ring":
            return 0
        words = self.mapper.status("top")
        return int(words[words.index("fleece_used") + 1]) * 512


class Session:
    """A session of tests/tools/ioctl-abuse: "hold", or "drain", which takes what guests push."""

    def __init__(self, bed, what, disks, slots=256, forget=0, options=()):
        self.bed = bed
        ready = bed.path("session-ready")
        argv = [bed.tool("ioctl-abuse"), what, "--slots", str(slots), "--ready-file", ready,
                *options]
        if what == "hold":
            argv.append("--ignore-stdin")
        if forget:
            argv += ["--forget", str(forget)]
        self.out = bed.path("session.out")
        with open(self.out, "wb") as out:
            self.child = children.start("session", argv + disks, stdout=out, stderr=out)

        def armed():
            if self.child.poll() is not None:
                raise BackupFailed("session: " + self.said())
            return os.path.exists(ready)
        bed.until(ARM_SECONDS, "session armed", armed)

    def said(self):
        with open(self.out) as f:
            return f.read().strip()

    def end(self):
        """Its last STATUS, or None if it said none."""
        self.child.finish(signal.SIGTERM)
        lines = [line for line in self.said().splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else None
