# SPDX-License-Identifier: Apache-2.0
"""Byte ranges in download requests (RFC 9110, section 14): one range per request."""

from __future__ import annotations

import re

import webob

from glance import exceptions

# No optional white space: two runs of it around an optional number take quadratic time.
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def requested(request: webob.Request, size: int) -> tuple[int, int] | None:
    """(offset, length) the request asks for, None for everything.

    A ``Range`` that is not understood is ignored, as the RFC wants; one beyond the end is
    `RangeNotSatisfiable`.  ``Content-Range`` in a request is the way of older clients.
    """
    header = request.headers.get("Range")
    if header is None:
        return _from_content_range(request, size)
    if "," in header:
        raise exceptions.RangeNotSatisfiable("Range: one range per request is supported")
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        length = min(int(match[2]), size)
        if length == 0:
            raise exceptions.RangeNotSatisfiable("Range: asks for no bytes")
        return size - length, length
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    if first >= size:
        raise exceptions.RangeNotSatisfiable(f"Range: the image has only {size} bytes")
    return first, min(last, size - 1) - first + 1


def _from_content_range(request: webob.Request, size: int) -> tuple[int, int] | None:
    header = request.headers.get("Content-Range")
    if header is None:
        return None
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", header)
    if match is None:
        raise exceptions.Invalid("Content-Range: not of the form bytes FIRST-LAST/SIZE")
    first, last = int(match[1]), int(match[2])
    if last < first or first >= size or last >= size:
        raise exceptions.RangeNotSatisfiable(f"Content-Range: the image has only {size} bytes")
    return first, last - first + 1
