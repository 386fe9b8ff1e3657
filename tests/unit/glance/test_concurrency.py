# SPDX-License-Identifier: Apache-2.0
"""Native threads for bulk work, with green threads and without."""

import subprocess
import sys

import pytest

from glance import concurrency

PATCHED = """\
from glance import concurrency
concurrency.patch()
import os, time, eventlet, eventlet.patcher
native = eventlet.patcher.original("time")

def threads():
    return len(os.listdir("/proc/self/task"))

def fail():
    raise KeyError("no")

seen, before = [], threads()
beside = eventlet.spawn(lambda: seen.append("beside"))
hand = concurrency.Hand()
first = hand.start(lambda: native.sleep(0.2) or seen.append("first") or 1)
second = hand.start(lambda: seen.append("second") or os.nice(0))
third = hand.start(fail)
assert second() == min(19, os.nice(0) + concurrency.MEEKNESS)
assert first() == 1
assert seen == ["beside", "first", "second"], seen
try:
    third()
except KeyError:
    pass
else:
    raise AssertionError("nothing was raised")
assert threads() == before + 1
files = len(os.listdir("/proc/self/fd"))
del hand, first, second, third
for _ in range(100):
    if threads() == before:
        break
    time.sleep(0.02)
assert threads() == before
assert len(os.listdir("/proc/self/fd")) == files - 1
"""


def test_a_hand_without_green_threads():
    hand = concurrency.Hand()
    assert hand.start(divmod, 7, 2)() == (3, 1)
    failed = hand.start(divmod, 7, 0)
    with pytest.raises(ZeroDivisionError):
        failed()


def test_a_hand_with_green_threads():
    """One thing after another, in others' way neither while it works nor when it is let go."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", PATCHED], check=True, timeout=60)
