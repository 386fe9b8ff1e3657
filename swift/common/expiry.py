# SPDX-License-Identifier: Apache-2.0
"""The queue of the object expirer: which of its containers takes an object, and rows of objects
to be deleted as of a time, whatever they say themselves.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import md5

from swift.common.storage import hash_bytes
from swift.common.timestamp import Timestamp

ASYNC_DELETE = "application/async-deleted"
# In the environ of an UPDATE of a container, for the proxy: (timestamp, names of its objects).
DELETE_LATER = "swift.delete_later"
_EMPTY = md5(usedforsecurity=False).hexdigest()


def queue_container(at: int, divisor: int, account: str, container: str, obj: str) -> str:
    """Which container of the expiring account queues an object: one of a hundred a divisor."""
    shard = int.from_bytes(hash_bytes(account, container, obj), "big") % 100
    return f"{max(0, min(at // divisor * divisor - shard, 9999999999)):010d}"


def delete_rows(timestamp: Timestamp, account: str, container: str, names: Iterable[str]) -> bytes:
    """The body of an UPDATE that enters objects into a container of the queue."""
    stamp = timestamp.internal
    return json.dumps([{
        "name": f"{stamp}-{account}/{container}/{name}", "deleted": 0, "created_at": stamp,
        "etag": _EMPTY, "size": 0, "storage_policy_index": 0, "content_type": ASYNC_DELETE}
        for name in names]).encode()
