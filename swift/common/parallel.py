# SPDX-License-Identifier: Apache-2.0
"""Several of the steps of one request at a time."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from swift.common.concurrency import GreenPool, Timeout

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(count: int, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `function` makes of each item, in their order; at most `count` are being worked on.

    Items are taken in the caller's green thread. What `function` raises is raised where its result
    was to come. However it ends, nothing is being worked on any more then.
    """
    if count <= 1:
        yield from map(function, items)
        return
    pool = GreenPool(count)
    at_work: deque[Any] = deque()
    try:
        for item in items:
            at_work.append(pool.spawn(_outcome, function, item))
            if len(at_work) == count:
                yield _result(at_work.popleft())
        while at_work:
            yield _result(at_work.popleft())
    finally:
        pool.waitall()


def _outcome(function: Callable[[T], R], item: T) -> tuple[R | None, BaseException | None]:
    try:
        return function(item), None
    except (Exception, Timeout) as exc:   # whatever it is, it is for who waits for the result
        return None, exc


def _result(thread: Any) -> Any:
    value, exc = thread.wait()
    if exc is not None:
        raise exc
    return value
