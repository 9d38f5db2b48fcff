# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case finds in the machine: its parameters, programs, a directory for scratch."""
import json
import os
import shutil
import tempfile
import time

from inside import disks, dm

POLL_SECONDS = 0.02


class Bed:
    """All that is left over from one case is gone before the next: see close()."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.size = parameters["size_bytes"]
        build = os.environ["BED_BUILD"]
        self.vmactl = os.path.join(build, "userspace/vmactl/vmactl")
        self.tools = os.path.join(build, "tests")
        self.work = tempfile.mkdtemp(prefix="bench.", dir="/tmp")
        self.mapper = dm.Mapper()
        self.disks = disks.Disks(self.mapper, self.size)

    def tool(self, name):
        return os.path.join(self.tools, name)

    def path(self, name):
        return os.path.join(self.work, name)

    def summary(self):
        """What vmactl said about its backup, or None."""
        try:
            with open(self.path("summary")) as f:
                return json.load(f)
        except FileNotFoundError:
            return None

    @staticmethod
    def until(seconds, what, condition):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {what}")
            time.sleep(POLL_SECONDS)

    def close(self):
        self.mapper.close()
        shutil.rmtree(self.work)
