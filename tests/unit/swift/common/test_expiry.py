# SPDX-License-Identifier: Apache-2.0
"""Rows that filters enter into the expirer's queue."""
import json

from swift.common.expiry import ASYNC_DELETE, UNUSED_PARTS, Later, Task
from swift.common.timestamp import Timestamp


def rows(later):
    return json.loads(later.rows("AUTH_a", "c+segments"))


def test_a_row_a_name():
    found = rows(Later(Timestamp("1700000000.12345"), ["k/1", "é"]))
    assert [row["name"] for row in found] == [
        "1700000000.12345-AUTH_a/c+segments/k/1", "1700000000.12345-AUTH_a/c+segments/é"]
    assert {(row["content_type"], row["created_at"], row["deleted"]) for row in found} == {
        (ASYNC_DELETE, "1700000000.12345", 0)}


def test_a_second_look_is_due_later_and_entered_now():
    first, second = rows(Later(Timestamp("1700000000.12345"), ["k"], f"{UNUSED_PARTS};t=1", 86400))
    assert first["name"] == "1700000000.12345-AUTH_a/c+segments/k"
    assert second["name"] == "1700086400.12345-AUTH_a/c+segments/k"
    assert first["created_at"] == second["created_at"] == "1700000000.12345"
    task = Task.of((".expiring_objects", "1700000000"), second)
    assert task.asynchronous and task.kind == f"{UNUSED_PARTS};t=1"
