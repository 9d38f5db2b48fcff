# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that a case starts: how they ended, and what CPU time they took."""
import os
import signal
import subprocess
import traceback


class Child:
    """A process by its id; ended is None while it runs, then its exit status."""

    def __init__(self, name, pid):
        self.name = name
        self.pid = pid
        self.ended = None
        self.cpu_s = None

    def poll(self, block=False):
        if self.ended is None:
            pid, status, usage = os.wait4(self.pid, 0 if block else os.WNOHANG)
            if pid:
                self.ended = os.waitstatus_to_exitcode(status)
                self.cpu_s = usage.ru_utime + usage.ru_stime
        return self.ended

    def wait(self):
        return self.poll(block=True)

    def send(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def finish(self, number=signal.SIGTERM):
        self.send(number)
        return self.wait()


def start(name, argv, **how):
    """A program; output as subprocess.Popen has it."""
    process = subprocess.Popen(argv, **how)
    # Waited for here, not there.
    process.returncode = 0
    return Child(name, process.pid)


def fork(name, function, *args):
    """A function of this program, in a process of its own: starting Python costs a second."""
    pid = os.fork()
    if pid:
        return Child(name, pid)
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        function(*args)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
