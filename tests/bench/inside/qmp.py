# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor protocol, as much as a storage daemon needs here."""
import json
import socket
import time

# Seconds for the daemon to make its socket; the machine's clock leaps ahead while nothing runs
# but what waits for the host's files.
CONNECT_SECONDS = 600


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path):
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.call("qmp_capabilities")

    def call(self, command, **arguments):
        """Names have "_" here where QMP has "-"."""
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                raise QmpError(f"{command}: the daemon is gone")
            answer = json.loads(line)
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.stream.close()
        self.socket.close()
