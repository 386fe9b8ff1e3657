# SPDX-License-Identifier: Apache-2.0
"""Rows of the expirer's queue, as object servers and swift-container-deleter make them."""
import pytest

from swift.common.timestamp import Timestamp
from swift.obj.expirer import ASYNC_DELETE, Task

HOLDER = (".expiring_objects", "1700000000")


def test_both_kinds_of_rows():
    task = Task.of(HOLDER, {"name": "1700000001-a-b/c/o-1/x", "content_type": "text/plain"})
    assert (task.at, task.names, task.asynchronous) == (
        Timestamp(1700000001), ("a-b", "c", "o-1/x"), False)
    task = Task.of(HOLDER, {"name": "1700000001.12345-a/c/o", "content_type": ASYNC_DELETE})
    assert (task.at.internal, task.names, task.asynchronous) == (
        "1700000001.12345", ("a", "c", "o"), True)


@pytest.mark.parametrize("name", ["1700000001-a/c", "x-a/c/o", "1700000001", "-a/c/o", ""])
def test_what_is_no_row(name):
    with pytest.raises(ValueError):
        Task.of(HOLDER, {"name": name})
