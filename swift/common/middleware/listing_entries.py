# SPDX-License-Identifier: Apache-2.0
"""Changing what a container's JSON listing says of its entries on its way out."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from swift.common.middleware.segments import drain

MAX_LISTING = 64 << 20        # bytes; ten thousand names of a thousand bytes, escaped, are less


def answer_changed(app: Any, env: dict[str, Any], start_response: Any, marks: Iterable[bytes],
                   change: Callable[[dict[str, Any]], None]) -> Iterable[bytes]:
    """Answer with the listing of `app`, after `change(entry)` of every entry.

    Listings are parsed, which costs more than making them, only if one of `marks` is in them.
    """
    got: list = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        got[:] = status, headers

    pieces = app(env, start)
    status, headers = got
    if status[:3] != '200':
        start_response(status, headers)
        return pieces
    body = pieces[0] if isinstance(pieces, list) and len(pieces) == 1 else drain(
        pieces, MAX_LISTING)
    if body[:1] == b'[' and any(mark in body for mark in marks):
        items = json.loads(body)
        for item in items:
            change(item)
        body = json.dumps(items).encode()
        headers = [h for h in headers if h[0].lower() != 'content-length']
        headers.append(('Content-Length', str(len(body))))
    start_response(status, headers)
    return [body]
