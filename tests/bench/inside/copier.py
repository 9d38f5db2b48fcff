# SPDX-License-Identifier: GPL-2.0-or-later
"""What reads a snapshot and what writes an archive: two processes with a pipe between them,
so that reading and writing overlap. Blocks of 1 MiB and O_DIRECT, as dd would be told to.
"""
import mmap
import os
import time

BLOCK = 1 << 20
PAGE = 4096
F_SETPIPE_SZ = 1031


def pipe():
    """As large as a block, so that neither side waits for less."""
    import fcntl

    source, target = os.pipe()
    fcntl.fcntl(target, F_SETPIPE_SZ, BLOCK)
    return source, target


def write_all(fd, view):
    while len(view):
        view = view[os.write(fd, view):]


def read_device(path, size, rate, out, others=()):
    """Reads all of a device into the pipe, at most rate bytes per second unless it is 0."""
    for fd in others:
        os.close(fd)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buf = memoryview(mmap.mmap(-1, BLOCK))
    begin, done = time.monotonic(), 0
    while done < size:
        if rate:
            ahead = begin + done / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
        n = os.preadv(fd, [buf[:min(BLOCK, size - done)]], done)
        if not n:
            raise EOFError(f"{path} ends at {done} of {size} bytes")
        write_all(out, buf[:n])
        done += n
    os.close(fd)
    os.close(out)


def write_archive(source, path, others=()):
    """Writes what comes from the pipe to a device; the last block is filled up with zeroes."""
    for fd in others:
        os.close(fd)
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    buf = memoryview(mmap.mmap(-1, BLOCK))
    offset, last = 0, False
    while not last:
        have = 0
        while have < BLOCK:
            n = os.readv(source, [buf[have:]])
            if not n:
                last = True
                break
            have += n
        end = -(-have // PAGE) * PAGE
        buf[have:end] = bytes(end - have)
        done = 0
        while done < end:
            done += os.pwrite(fd, buf[done:end], offset + done)
        offset += have
    os.close(fd)
