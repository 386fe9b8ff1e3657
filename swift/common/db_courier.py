# SPDX-License-Identifier: Apache-2.0
"""Copies of databases on their way to other devices, many by one rsync.

To start an rsync costs more than to send the few rows most databases have. So whoever comes with a
small one while others are on their way to the same device waits for these to arrive and goes, with
all who came meanwhile, by the next.
"""
from __future__ import annotations

import os
from typing import Any

from swift.common.concurrency import Event, Semaphore, spawn_n
from swift.common.devices import Rsync

SMALL = 1 << 20               # bytes; a larger one goes at once and alone, and keeps nobody waiting


class Courier:
    """Brings databases into the tmp directories of devices.

    Who calls holds one of `turns`, which somebody else may have while a small one waits and goes.
    """

    def __init__(self, rsync: Rsync, turns: Semaphore) -> None:
        self.rsync = rsync
        self.turns = turns
        self._waiting: dict[str, list[tuple[str, Event]]] = {}    # by target, while one is at work

    def bring(self, copy: str, node: dict[str, Any]) -> bool:
        """Copy a file, by its own name, to a node's device; whether it arrived.

        When one of those that went together did not, none counts as having arrived.
        """
        target = self.rsync.target(node, "tmp/")
        if os.path.getsize(copy) > SMALL:
            return self.rsync.copy([copy], target, "--times")
        arrived = Event()
        if target not in self._waiting:
            self._waiting[target] = []
            spawn_n(self._go, target)
        self._waiting[target].append((copy, arrived))
        self.turns.release()
        try:
            return arrived.wait()
        finally:
            self.turns.acquire()

    def _go(self, target: str) -> None:
        while together := self._waiting[target]:
            self._waiting[target] = []
            try:
                came = self.rsync.copy([copy for copy, _ in together], target, "--times")
            except Exception as exc:     # it is for those who wait; others may be waiting behind
                for _, arrived in together:
                    arrived.send_exception(exc)
            else:
                for _, arrived in together:
                    arrived.send(came)
        del self._waiting[target]
