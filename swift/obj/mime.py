# SPDX-License-Identifier: Apache-2.0
"""The body of a PUT that says more than the object's bytes: MIME documents, one after the other.

    --<boundary>
    X-Document: object body

    <bytes>
    --<boundary>
    X-Document: object metadata
    Content-MD5: <hexadecimal>

    {"X-Object-Sysmeta-Ec-Frag-Index": "3", ...}
    --<boundary>                           with two phases: the next comes when the proxy has
    X-Document: put commit                 heard of enough servers that they stored theirs

    put_commit_confirmation
    --<boundary>--
"""
from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import md5

from swift.common.backend_server import Answer, text_of
from swift.common.exceptions import ChunkReadError

MAX_HEAD = 65536
MAX_FOOTERS = 1 << 20


class Documents:
    """The documents out of `read(most)`; `begin` one, then `read1` it to its end.

    The first is `length` bytes long, if that is known: then nobody looks for its end in it.
    Raises Answer 400 for what is no such body, and what `read` raises.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: str,
                 length: int | None = None) -> None:
        self._read = read
        self._end = b"\r\n--" + boundary.encode("latin-1")
        self._buffer = b"\r\n"          # so that the first boundary looks like the others
        self._first = True
        self._length, self._left = length or 0, 0

    def _more(self) -> None:
        data = self._read(65536)
        if not data:
            raise ChunkReadError("the body ends in the middle of a MIME document")
        self._buffer += data

    def begin(self) -> dict[str, str]:
        """Header lines of the next document by lower-case name."""
        if self._first:
            self._first = False
            while len(self._buffer) < len(self._end):
                self._more()
            if not self._buffer.startswith(self._end):
                raise Answer(400, "The body does not begin with its MIME boundary")
            self._buffer = self._buffer[len(self._end):]
            self._left = self._length
        while len(self._buffer) < 2:
            self._more()
        if self._buffer[:2] != b"\r\n":
            raise Answer(400, "A MIME document is missing")
        self._buffer = self._buffer[2:]
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD:
                raise Answer(400, "A MIME document's headers are too long")
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        headers = {}
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def read1(self, size: int = 65536) -> bytes:
        """Some bytes of the document that was begun; b"" at its end."""
        if self._left:
            return self._known(min(size, self._left))
        keep = len(self._end) - 1
        while True:
            end = self._buffer.find(self._end)
            if end == 0:
                self._buffer = self._buffer[keep + 1:]
                return b""
            have = end if end > 0 else len(self._buffer) - keep
            if have > 0:
                have = min(have, size)
                data, self._buffer = self._buffer[:have], self._buffer[have:]
                return data
            self._more()

    def _known(self, size: int) -> bytes:
        """Up to `size` bytes of which it is known that they are the document's."""
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
        else:
            data = self._read(size)
            if not data:
                raise ChunkReadError("the body ends in the middle of a MIME document")
        self._left -= len(data)
        return data

    def whole(self, limit: int) -> bytes:
        """The rest of the document; Answer 413 when it is longer than `limit`."""
        parts, size = [], 0
        while data := self.read1():
            size += len(data)
            if size > limit:
                raise Answer(413, "A MIME document is too large.")
            parts.append(data)
        return b"".join(parts)

    def footers(self) -> dict[str, str]:
        """The metadata document, names in title case and real text; Answer 400 or 422."""
        head = self.begin()
        body = self.whole(MAX_FOOTERS)
        if "content-md5" not in head:
            raise Answer(400, "No Content-MD5 in the metadata document")
        if head["content-md5"] != md5(body, usedforsecurity=False).hexdigest():
            raise Answer(422, "The metadata document does not match its Content-MD5")
        try:
            found = json.loads(body)
            return {text_of(name.title()): text_of(value) for name, value in found.items()}
        except (ValueError, AttributeError, UnicodeError):
            raise Answer(400, "The metadata document is no JSON object of strings") from None

    def end_phase(self) -> None:
        """Take the rest of the first phase: a chunked body of its own."""
        while data := self._read(65536):
            self._buffer += data
            if len(self._buffer) > MAX_HEAD:
                raise Answer(413, "The first phase goes on after its documents")

    def is_commit(self) -> bool:
        """Whether the next document is the proxy's word that the object shall count."""
        head = self.begin()
        self.whole(MAX_HEAD)
        return head.get("x-document") == "put commit"
