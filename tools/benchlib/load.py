# SPDX-License-Identifier: Apache-2.0
"""Requests over kept-alive connections, several at a time, every answer checked."""
import collections
import http.client
import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REQUEST_TIMEOUT = 120.0


@dataclass
class Request:
    """One request of a phase; `path` begins with a slash."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def send(url: str, token: str, requests: Iterable[Request], workers: int = 16,
         expect: tuple[int, ...] = (200, 201, 202, 204)) -> None:
    """Send all requests, `workers` at a time.

    :raises RuntimeError: an answer has another status; a figure over failures is worth nothing
    """
    parts = urlsplit(url)
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    wrong: collections.Counter[tuple[str, int]] = collections.Counter()

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port,
                                                timeout=REQUEST_TIMEOUT)
        while True:
            try:
                request = waiting.get_nowait()
            except queue.Empty:
                break
            connection.request(request.method, parts.path.rstrip("/") + request.path, request.body,
                               {"X-Auth-Token": token, **request.headers})
            answer = connection.getresponse()
            answer.read()
            if answer.status not in expect:
                wrong[request.method, answer.status] += 1
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or not waiting.empty():
        raise RuntimeError(f"answers that were not {expect}: {dict(wrong)}; "
                           f"{waiting.qsize()} not sent")
