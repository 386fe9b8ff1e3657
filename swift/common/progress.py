# SPDX-License-Identifier: Apache-2.0
"""Lines in the log about a pass that takes long: how far it is."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable

HOUR = 3600.0                     # where no option says how often


class Progress:
    """Made when a pass begins; at most one line in `every` seconds (0: none)."""

    def __init__(self, logger: logging.Logger, every: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.logger, self.every, self.clock = logger, every, clock
        self.start = self.told = clock()

    def tell(self, text: str, done: int, of: int = 0) -> None:
        """To be called after each step: `text` says what there are so many `done` of; the line
        has what is left, too, where it is known how many there are in all."""
        now = self.clock()
        if not self.every or now - self.told < self.every:
            return
        self.told = now
        took = now - self.start
        if of and done:
            self.logger.info("%s: %d of %d (%.0f%%) in %.0f s, %.0f s to go", text, done, of,
                             100 * done / of, took, took * (of - done) / done)
        else:
            self.logger.info("%s: %d in %.0f s", text, done, took)
