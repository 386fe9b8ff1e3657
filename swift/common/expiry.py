# SPDX-License-Identifier: Apache-2.0
"""The queue of the object expirer: which of its containers takes an object, and rows that filters
enter into it: of objects to be deleted as of a time, whatever they say themselves, and of multipart
uploads whose parts are to go when nothing is made of them (see swift.obj.part_sweep).
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from swift.common.storage import hash_bytes
from swift.common.timestamp import TICKS, Timestamp

# Types of rows: the object named; the parts of the upload named, unless it is one; all that was in
# a bucket's container of parts when the bucket was deleted.
ASYNC_DELETE = "application/async-deleted"
UNUSED_PARTS = "application/x-parts-unless-used"
BUCKET_GONE = "application/x-parts-of-deleted-bucket"
# In the environ of an UPDATE of a container, for the proxy: a Later.
DELETE_LATER = "swift.delete_later"
# Asks for an object that has expired, too: it has its parts until it is deleted or replaced.
EXPIRED_TOO = {"X-Backend-Open-Expired": "true"}
EMPTY = md5(usedforsecurity=False).hexdigest()


def queue_container(at: int, divisor: int, account: str, container: str, obj: str) -> str:
    """Which container of the expiring account queues an object: one of a hundred a divisor."""
    shard = int.from_bytes(hash_bytes(account, container, obj), "big") % 100
    return f"{max(0, min(at // divisor * divisor - shard, 9999999999)):010d}"


def row_name(at: Timestamp, account: str, container: str, obj: str) -> str:
    """What the queue calls an object to be deleted, or whatever is of this name."""
    return f"{at.internal}-{account}/{container}/{obj}"


@dataclass(frozen=True)
class Task:
    """A row of the queue, and the container - one of the queue's, or a shard of it - it is in."""

    holder: tuple[str, str]
    row: str
    at: Timestamp
    names: tuple[str, str, str]
    kind: str

    @property
    def asynchronous(self) -> bool:
        """Whether somebody asked for it, and no object's X-Delete-At."""
        return self.kind.partition(";")[0] in (ASYNC_DELETE, UNUSED_PARTS, BUCKET_GONE)

    @classmethod
    def of(cls, holder: tuple[str, str], entry: dict[str, Any]) -> Task:
        """The task of a listing's entry; ValueError when it is none."""
        at, _, path = entry["name"].partition("-")
        account, container, obj = path.split("/", 2)
        return cls(holder, entry["name"], Timestamp(at), (account, container, obj),
                   entry.get("content_type") or "")


@dataclass(frozen=True)
class Later:
    """What an UPDATE of a container enters: rows of some names in it, due at `timestamp`, and once
    more `again` seconds later if that is not 0."""

    timestamp: Timestamp
    names: list[str]
    kind: str = ASYNC_DELETE
    again: int = 0

    def rows(self, account: str, container: str) -> bytes:
        """The body of the UPDATE of the queue's container."""
        stamp = self.timestamp.internal
        due = [self.timestamp]
        if self.again:
            due.append(Timestamp(self.timestamp, delta=self.again * TICKS))
        return json.dumps([{
            "name": row_name(at, account, container, name), "deleted": 0, "created_at": stamp,
            "etag": EMPTY, "size": 0, "storage_policy_index": 0, "content_type": self.kind}
            for at in due for name in self.names]).encode()
