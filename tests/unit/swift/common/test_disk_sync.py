# SPDX-License-Identifier: Apache-2.0
"""fsync by the kernel's own queue, and by a thread where there is none."""
import errno
import os
import subprocess
import sys

import pytest

from swift.common import disk_sync

PATCHED = """
from swift.common import concurrency
concurrency.patch()
import os, sys
from swift.common import disk_sync
from swift.common.concurrency import GreenPool, Timeout, get_hub, sleep, spawn

def one(number):
    fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY)
    os.write(fd, b"x" * 5000)
    disk_sync.fsync(fd)
    os.close(fd)
    return number

def failure(fd):
    try:
        disk_sync.fsync(fd)
    except OSError as exc:
        return exc.errno
"""


def run(code, tmp_path):
    return subprocess.run([sys.executable, "-c", PATCHED + code, str(tmp_path)], check=True,
                          capture_output=True, text=True, timeout=60).stdout.split("\n")


@pytest.mark.parametrize("spoil", ["", "disk_sync._CALLS.clear()", "disk_sync.SLOTS = 10**7",
                                   "disk_sync._Queue.sync = lambda self, hub, fd: False"])
def test_many_at_once_with_and_without_the_kernels_queue(tmp_path, spoil):
    assert run(spoil + """
ticks = []
spawn(lambda: [sleep(0) or ticks.append(1) for _ in range(5)])
total = sum(GreenPool(400).imap(one, range(300)))
print(total, len(ticks) > 1, failure(999), failure(os.pipe()[1]))
""", tmp_path)[0] == f"{sum(range(300))} True {errno.EBADF} {errno.EINVAL}"


def test_an_error_of_the_disk_is_raised_and_others_go_on(tmp_path):
    assert run("""
one(0)
queue, events = disk_sync._queues[get_hub()], []
read = disk_sync._syscall
def failing(number, *args):
    count = read(number, *args)
    if number == queue._events_call and count:
        queue._events[0].result = -5
    return count
disk_sync._syscall = failing
print(failure(os.open(sys.argv[1], os.O_RDONLY)), queue._waiting)
disk_sync._syscall = read
def given_up():
    try:
        with Timeout(0):
            one(1)
    except Timeout:
        return "given up"
print(given_up(), one(2), queue._waiting)
""", tmp_path)[:2] == [f"{errno.EIO} {{}}", "given up 2 {}"]


def test_without_green_threads_it_is_os_fsync(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    disk_sync.fsync(7)
    assert synced == [7]
