# SPDX-License-Identifier: Apache-2.0
"""Rows of the expirer's queue, as object servers and swift-container-deleter make them."""
import pytest

from swift.common.exceptions import ConfigError
from swift.common.expiry import ASYNC_DELETE, Task
from swift.common.timestamp import Timestamp
from swift.obj.expirer import ObjectExpirer

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


def test_what_expired_may_stay_for_a_while():
    daemon = ObjectExpirer({"delay_reaping_AUTH_a%20b": "100", "delay_reaping_AUTH_a%20b/c": "0"})

    def delayed(row, content_type="text/plain"):
        return daemon._delayed(Task.of(HOLDER, {"name": row, "content_type": content_type}), 1050)

    assert delayed("1000-AUTH_a b/other/o") and not delayed("1000-AUTH_a b/c/o")
    assert not delayed("1000-AUTH_other/c/o") and not delayed("900-AUTH_a b/other/o")
    assert not delayed("1000-AUTH_a b/other/o", ASYNC_DELETE)


@pytest.mark.parametrize("name, value", [("delay_reaping_", "1"), ("delay_reaping_a/", "1"),
                                         ("delay_reaping_/c", "1"), ("delay_reaping_a/b/c", "1"),
                                         ("delay_reaping_a", "-1"), ("delay_reaping_a", "soon")])
def test_delays_that_cannot_be_are_refused(name, value):
    with pytest.raises(ConfigError, match="delay_reaping_"):
        ObjectExpirer({name: value})
