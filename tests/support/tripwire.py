# SPDX-License-Identifier: Apache-2.0
"""A process dies: an exception no handler catches, raised right before or right after one of the
calls that leave a trace."""

import functools

from nova.db import instances

TRACES = {
    "instances": ("claim", "transition", "delete_row", "add_fault"),
    "driver": ("spawn", "destroy", "power_off", "power_on", "reboot", "attach_volume",
               "detach_volume"),
    "network": ("allocate_for_instance", "deallocate_for_instance"),
}


class Killed(BaseException):
    """The process is dead."""


class Tripwire:
    """Dies at the n-th trace."""

    def __init__(self, monkeypatch, cloud):
        self.countdown = None
        self.reached = 0
        for name in TRACES["instances"]:
            self.watch(monkeypatch, instances, name)
        for name in TRACES["network"]:
            self.watch(monkeypatch, cloud.network, name)
        for name in TRACES["driver"]:
            self.watch(monkeypatch, type(cloud.driver()), name)

    def watch(self, monkeypatch, owner, name):
        """Be able to die at one call more."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            self._step(f"before {name}")
            try:
                return original(*args, **kwargs)
            finally:
                self._step(f"after {name}")
        monkeypatch.setattr(owner, name, wrapped)

    def _step(self, where):
        if self.countdown is None:
            return
        if self.countdown == 0:
            self.countdown = None
            raise Killed(where)
        self.countdown -= 1
