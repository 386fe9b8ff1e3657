# SPDX-License-Identifier: Apache-2.0
"""One write of a file system's log for the new names of many green threads.

A log that is written in order makes everything durable that was changed before. So whoever comes
while it is being written waits for its end, and then one of those that wait has it written for all
of them. Where many write at a time that spares most fsyncs of directories, and wake-ups with them.
"""
from __future__ import annotations

import os

from swift.common import durable
from swift.common.concurrency import Event, Hub, get_hub
from swift.common.disk_sync import fsync


class _Log:
    """The log of one file system, as the green threads of one hub see it."""

    __slots__ = ("busy", "waiting", "led")

    def __init__(self) -> None:
        self.busy = False
        self.waiting: list[Event] = []       # in the order in which their names were changed
        self.led: list[Event] = []           # those for whom it is written right now

    def write(self, directory: str) -> None:
        """Return once all is durable that was changed when this was called, `directory` last."""
        if self.busy and not self._leads():
            return
        self.busy = True
        # They changed their names before, or they would not wait already.
        self.led, self.waiting = self.waiting, []
        try:
            durable.fsync_dir(directory, fsync)
            for turn in self.led:
                turn.send(False)
        except BaseException:
            self.waiting[:0] = self.led      # it may be this directory: let another one try
            raise
        finally:
            self.led = []
            self._pass_on()

    def _leads(self) -> bool:
        """Wait; whether it is on us to write for those that wait, or others did."""
        turn = Event()
        self.waiting.append(turn)
        try:
            return turn.wait()
        except BaseException:                # a time limit, say
            for turns in (self.waiting, self.led):
                if turn in turns:
                    turns.remove(turn)
            if turn.ready() and turn.wait():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Have the one who came last write for all who wait."""
        if self.waiting:
            self.waiting.pop().send(True)
        else:
            self.busy = False


_logs: dict[tuple[Hub, int], _Log] = {}


def sync_names(directory: str, parents: list[str], device: int = 0) -> None:
    """`durable.fsync_dirs`, for many at a time where the file system allows it.

    `device` is the directory's st_dev, looked up unless given.
    """
    hub, device = get_hub(), device or os.stat(directory).st_dev
    if type(hub) is not Hub or not durable.device_journals_in_order(device):
        durable.fsync_dirs(directory, parents, fsync)
        return
    key = (hub, device)
    log = _logs.get(key)
    if log is None:
        log = _logs[key] = _Log()
    log.write(directory)
