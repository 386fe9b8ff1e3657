# SPDX-License-Identifier: Apache-2.0
"""Image data as HTTP bodies, for every API version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import webob

from glance import exceptions, wsgi

OCTETS = "application/octet-stream"


def announced_size(request: webob.Request) -> int | None:
    """The Content-Length, or None for a chunked body."""
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        return None
    try:
        return request.content_length or 0
    except ValueError:
        raise exceptions.Invalid("Content-Length: not a number") from None


def data_response(request: webob.Request, pieces: Iterator[bytes], length: int,
                  headers: Mapping[str, str], status: int, what: str) -> webob.Response:
    """An answer whose body is read from a store while it is sent."""
    response = webob.Response(status=status, headerlist=list(headers.items()))
    response.app_iter = wsgi.LoggedIterator(pieces, what, request.environ)
    response.content_length = length
    return response
