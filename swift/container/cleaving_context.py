# SPDX-License-Identifier: Apache-2.0
"""How far a container's database is cleaved, kept in its fresh file's metadata.

The key holds the id of the retiring database, so each replica has a context of its own. Names are
OpenStack Swift's: its sharder goes on where this one stopped, and the other way round.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from swift.common.db import Broker
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.shard_broker import SYSMETA

_KEY = "Context-"


@dataclass
class CleavingContext:
    """`cursor`: up to which name shards have got their rows; `max_row`: the highest row now;
    `cleave_to_row`: the highest when cleaving began; `last_cleave_to_row`: when it began the time
    before, so that only rows since then are left to do."""

    ref: str
    cursor: str = ""
    max_row: int | None = None
    cleave_to_row: int | None = None
    last_cleave_to_row: int | None = None
    cleaving_done: bool = False
    misplaced_done: bool = False
    ranges_done: int = 0
    ranges_todo: int = 0
    replication_time: float = 0

    @classmethod
    def load(cls, broker: ContainerBroker) -> CleavingContext:
        """The context of a broker's retiring file, a new one if it has none."""
        oldest = broker.oldest()
        info = Broker.stat(oldest)
        context = _parse(broker.sysmeta(_KEY + info["id"])) or cls(info["id"])
        context.ref, context.max_row = info["id"], oldest.max_row()
        return context

    def store(self, broker: ContainerBroker) -> None:
        """Write it into the fresh file."""
        broker.set_sysmeta(_KEY + self.ref, json.dumps(asdict(self)))

    def remove(self, broker: ContainerBroker) -> None:
        """Forget it."""
        broker.set_sysmeta(_KEY + self.ref, "")

    def start(self) -> None:
        """Begin with the first range."""
        self._rewind()
        self.cleave_to_row = self.max_row

    def repeat(self) -> None:
        """Begin anew, with just the rows that came after cleaving began."""
        self._rewind()
        self.misplaced_done = False
        self.last_cleave_to_row = self.cleave_to_row

    def _rewind(self) -> None:
        self.cursor, self.ranges_done, self.ranges_todo = "", 0, 0
        self.cleaving_done, self.replication_time = False, 0

    def range_done(self, upper: str) -> None:
        """One more range has its rows."""
        self.ranges_done += 1
        self.ranges_todo -= 1
        self.cursor = upper

    @property
    def done(self) -> bool:
        """Whether all rows there are have been cleaved."""
        return self.misplaced_done and self.cleaving_done and self.max_row == self.cleave_to_row


_FIELDS = {field.name for field in fields(CleavingContext)}


def _parse(text: str) -> CleavingContext | None:
    try:
        data = json.loads(text) if text else None
        return CleavingContext(**{name: value for name, value in data.items()
                                  if name in _FIELDS}) if data else None
    except (ValueError, TypeError, AttributeError):
        return None


def all_contexts(broker: ContainerBroker) -> list[tuple[CleavingContext, Timestamp]]:
    """All contexts of a database, and when each was last written."""
    found = []
    for name, (value, stamp) in broker.metadata().items():
        if name.startswith(SYSMETA + _KEY):
            context = _parse(value)
            if context is not None:
                found.append((context, Timestamp(stamp)))
    return found
