# SPDX-License-Identifier: Apache-2.0
"""The queue of objects that may be in a wrong storage policy: containers of the hidden account
`.misplaced_objects`, one for each hour of the objects' times.

An entry is named `<policy index>:/<account>/<container>/<object>`; its etag is the time of the
object, its content type what was done. Account, names and types are OpenStack Swift's.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swift.common.db import Row
from swift.common.timestamp import Timestamp, decode_timestamps

ACCOUNT = ".misplaced_objects"
DIVISOR = 3600
_TYPES = {"PUT": "application/x-put", "DELETE": "application/x-delete"}


def queue_container(created_at: str) -> str:
    """The container for an object of this time: the hour its newest part is from."""
    data, _, meta = decode_timestamps(created_at)
    return str(int(meta or data) // DIVISOR * DIVISOR)


def entry_name(policy_index: int, account: str, container: str, obj: str) -> str:
    """The name of an entry: where the object is now."""
    return f"{policy_index}:/{account}/{container}/{obj}"


def entry_of_row(row: Row, account: str, container: str) -> Row:
    """The entry for a container's row of another policy than its own."""
    return {"name": entry_name(row["storage_policy_index"], account, container, row["name"]),
            "created_at": row["created_at"], "etag": row["created_at"], "size": 0, "deleted": 0,
            "content_type": _TYPES["DELETE" if row["deleted"] else "PUT"],
            "storage_policy_index": 0}


def entry_headers(op: str, object_time: str, timestamp: str) -> dict[str, str]:
    """The headers of a PUT that enters an object: what was done to it, its time, and when."""
    return {"X-Size": "0", "X-Etag": object_time, "X-Timestamp": timestamp,
            "X-Content-Type": _TYPES[op]}


@dataclass(frozen=True)
class Misplaced:
    """An entry: `policy` is where the object is, `time` when `op` (PUT, DELETE) was done, `queued`
    the time of the entry itself."""

    policy: int
    account: str
    container: str
    obj: str
    op: str
    time: Timestamp
    queued: Timestamp

    @property
    def path(self) -> str:
        return f"/{self.account}/{self.container}/{self.obj}"

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Misplaced:
        """An entry of a listing; ValueError or KeyError when it is none."""
        index, _, path = entry["name"].partition(":")
        parts = path.split("/", 3)
        if len(parts) != 4 or parts[0] or not all(parts[1:]):
            raise ValueError(f"no path of an object: {path[:80]!r}")
        op = next((op for op, kind in _TYPES.items() if kind == entry["content_type"]), None)
        if op is None:
            raise ValueError(f"neither put nor delete: {entry['content_type']!r}")
        return cls(int(index), parts[1], parts[2], parts[3], op,
                   decode_timestamps(entry["hash"])[0],
                   Timestamp.from_isoformat(entry["last_modified"]))
