# SPDX-License-Identifier: Apache-2.0
"""nice_priority, ionice_class and ionice_priority, set on a process of their own."""
import os

import psutil
import pytest

from swift.common import priority
from swift.common.exceptions import ConfigError


def as_set(conf):
    """(nice, I/O class, I/O priority) of a process that was given a configuration."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            priority.set_own(conf)
            disk = psutil.Process().ionice()
            os.write(writer, f"{os.nice(0)} {int(disk.ioclass)} {disk.value}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, encoding="ascii") as source:
        return tuple(int(word) for word in source.read().split())


def test_a_process_gets_what_is_asked_for():
    nicer = str(min(19, os.nice(0) + 3))
    assert as_set({"nice_priority": nicer, "ionice_class": "IOPRIO_CLASS_BE",
                   "ionice_priority": "6"}) == (int(nicer), 2, 6)
    assert as_set({"ionice_class": "IOPRIO_CLASS_IDLE", "ionice_priority": "3"})[1] == 3
    before = psutil.Process().ionice()
    assert as_set({}) == (os.nice(0), int(before.ioclass), before.value)


@pytest.mark.parametrize(("name", "conf"), [
    ("nice_priority", {"nice_priority": "20"}), ("nice_priority", {"nice_priority": "low"}),
    ("ionice_class", {"ionice_class": "idle"}),
    ("ionice_priority", {"ionice_class": "IOPRIO_CLASS_BE", "ionice_priority": "8"}),
    ("ionice_class", {"ionice_priority": "1"})])
def test_what_cannot_be_is_refused(name, conf):
    with pytest.raises(ConfigError, match=name):
        priority.wanted(conf)
