# SPDX-License-Identifier: Apache-2.0
"""Having the object expirer delete many objects of a container: swift-container-deleter.

    for count, last in AsyncDeletion(client, ring, "AUTH_a", "c", timestamp).mark(prefix="logs/"):
        print(count, last)

Objects stay in listings until the expirer deletes them, as of `timestamp`: what is put later stays.
"""
from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from swift.common import node_client
from swift.common.concurrency import Timeout, sleep
from swift.common.exceptions import SwiftException
from swift.common.expiry import Later
from swift.common.internal_client import InternalClient
from swift.common.ring import Ring
from swift.common.timestamp import Timestamp

QUEUE = ".expiring_objects"
TELL_SECONDS = 10.0
_FAILURES = (OSError, ValueError, Timeout)


class NotMarked(SwiftException):
    """A request failed as often as it may."""


class AsyncDeletion:
    """Marks objects of one container; each request is tried `tries` times."""

    def __init__(self, client: InternalClient, ring: Ring, account: str, container: str,
                 timestamp: Timestamp, tries: int = 3) -> None:
        self.client, self.ring = client, ring
        self.account, self.container = account, container
        self.timestamp, self.tries = timestamp, tries
        self.queue_container = str(int(timestamp))

    def mark(self, marker: str = "", end_marker: str = "", prefix: str = ""
             ) -> Iterator[tuple[int, str | None]]:
        """(how many are marked so far, the last of them) every ten seconds; at the end (all, None).

        NotMarked when it cannot go on; what was marked stays so.
        """
        count, told = 0, time.monotonic()
        while names := self._again(partial(self._page, marker, end_marker, prefix)):
            self._again(partial(self._enqueue, names))
            count, marker = count + len(names), names[-1]
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                yield count, marker
        yield count, None

    def _again(self, request: Callable[[], Any]) -> Any:
        for left in range(self.tries - 1, -1, -1):
            try:
                return request()
            except _FAILURES as exc:
                if not left:
                    raise NotMarked(str(exc) or type(exc).__name__) from exc
                sleep(1)
        raise AssertionError("tries is at least 1")

    def _page(self, marker: str, end_marker: str, prefix: str) -> list[str]:
        """Names of the container's listing after a marker."""
        query = urlencode({"format": "json", "marker": marker, "end_marker": end_marker,
                           "prefix": prefix}, quote_via=quote, errors="surrogateescape")
        status, _, body = self.client.ask(
            "GET", f"/v1/{self.account}/{self.container}", query=query)
        if status // 100 != 2:
            raise OSError(f"listing {self.account}/{self.container} was answered {status}")
        return [row["name"] for row in json.loads(body or b"[]")]

    def _enqueue(self, names: list[str]) -> None:
        """Enter objects into the queue, on a majority of its container's servers."""
        stamp = self.timestamp.internal
        body = Later(self.timestamp, names).rows(self.account, self.container)
        part, nodes = self.ring.get_nodes(QUEUE, self.queue_container)
        taken, said = 0, ""
        for node in nodes:
            try:
                status = node_client.request(
                    node["ip"], node["port"], "UPDATE",
                    node_client.path_of(node["device"], part, QUEUE, self.queue_container),
                    {"X-Timestamp": stamp, "X-Backend-Storage-Policy-Index": "0",
                     "User-Agent": "container-deleter"}, body, 5, 60).status
            except _FAILURES as exc:
                said = str(exc) or type(exc).__name__
                continue
            taken += status // 100 == 2
            said = said if status // 100 == 2 else f"answered {status}"
        if taken <= len(nodes) // 2:
            raise OSError(f"too few servers of the queue {QUEUE}/{self.queue_container} took the "
                          f"objects: {said}")
