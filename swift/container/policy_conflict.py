# SPDX-License-Identifier: Apache-2.0
"""Which storage policy a container has when its replicas disagree.

That happens when a container was made, or deleted and made again, in two policies while its
replicas could not see each other. OpenStack Swift decides alike, so nodes of both settle on one.
"""
from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key

from swift.common.db import Row
from swift.common.timestamp import Timestamp

_ZERO = Timestamp.zero()


def _times(info: Row) -> tuple[Timestamp, Timestamp, Timestamp]:
    return (Timestamp(info["put_timestamp"]), Timestamp(info["delete_timestamp"]),
            Timestamp(info["status_changed_at"]))


def _compare(one: Row, other: Row) -> int:
    """Below 0 if the first one is right, above if the second is, 0 if that is all the same.

    What exists is right against what is deleted, what was made anew against what was not, and else
    what has been so for longer; of two that are deleted the later deletion counts.
    """
    put, deleted, changed = _times(one)
    other_put, other_deleted, other_changed = _times(other)
    gone = deleted > put and not one.get("count")
    other_gone = other_deleted > other_put and not other.get("count")
    if gone or other_gone:
        if gone != other_gone:
            return 1 if gone else -1
        return (other_changed > changed) - (other_changed < changed)
    anew = put > deleted > _ZERO
    other_anew = other_put > other_deleted > _ZERO
    if anew != other_anew:
        return -1 if anew else 1
    if anew:
        last_deletion = max(deleted, other_deleted)
        if put < last_deletion:
            return 1                      # made before the other was deleted the last time
        if other_put < last_deletion:
            return -1
    return (changed > other_changed) - (changed < other_changed)


def other_is_right(ours: Row, theirs: Row) -> bool:
    """Whether a replica has to take over another one's storage policy."""
    return "storage_policy_index" in theirs and \
        theirs["storage_policy_index"] != ours["storage_policy_index"] and \
        _compare(ours, theirs) > 0


def settled_policy(heads: Iterable[dict[str, str]]) -> int | None:
    """The policy index the replicas that gave these headers (lower case) will settle on; None
    without any that knows one."""
    infos: list[Row] = [{"storage_policy_index": int(headers["x-backend-storage-policy-index"]),
              "put_timestamp": headers.get("x-backend-put-timestamp", "0"),
              "delete_timestamp": headers.get("x-backend-delete-timestamp", "0"),
              "status_changed_at": headers.get("x-backend-status-changed-at", "0"),
              "count": int(headers.get("x-container-object-count") or 0)}
             for headers in heads if "x-backend-storage-policy-index" in headers]
    return min(infos, key=cmp_to_key(_compare))["storage_policy_index"] if infos else None
