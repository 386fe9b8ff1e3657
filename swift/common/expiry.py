# SPDX-License-Identifier: Apache-2.0
"""The queue of the object expirer: which of its containers takes an object, and rows that filters
enter into it: of objects to be deleted as of a time, whatever they say themselves, and of multipart
uploads whose parts are to go when nothing is made of them (see swift.obj.part_sweep).
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import md5

from swift.common.storage import hash_bytes
from swift.common.timestamp import TICKS, Timestamp

# Types of rows: the object named; the parts of the upload named, unless it is one; all that was in
# a bucket's container of parts when the bucket was deleted.
ASYNC_DELETE = "application/async-deleted"
UNUSED_PARTS = "application/x-parts-unless-used"
BUCKET_GONE = "application/x-parts-of-deleted-bucket"
# In the environ of an UPDATE of a container, for the proxy: a Later.
DELETE_LATER = "swift.delete_later"
_EMPTY = md5(usedforsecurity=False).hexdigest()


def queue_container(at: int, divisor: int, account: str, container: str, obj: str) -> str:
    """Which container of the expiring account queues an object: one of a hundred a divisor."""
    shard = int.from_bytes(hash_bytes(account, container, obj), "big") % 100
    return f"{max(0, min(at // divisor * divisor - shard, 9999999999)):010d}"


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
        due = [stamp]
        if self.again:
            due.append(Timestamp(self.timestamp, delta=self.again * TICKS).internal)
        return json.dumps([{
            "name": f"{at}-{account}/{container}/{name}", "deleted": 0, "created_at": stamp,
            "etag": _EMPTY, "size": 0, "storage_policy_index": 0, "content_type": self.kind}
            for at in due for name in self.names]).encode()
