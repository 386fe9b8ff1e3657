# SPDX-License-Identifier: Apache-2.0
"""Request bodies as `wsgi.input`: by length or chunked, answering Expect: 100-continue lazily."""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from swift.common.exceptions import ChunkReadError, ChunkReadTimeout

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(;[^\r\n]*)?\Z")
_MAX_CHUNK_LINE = 4096
_MAX_TRAILERS = 65536
RECV = 65536


class Input:
    """The body of one request.

    `read(n)` gives n bytes unless the body ends first, `read1(n)` what has arrived (at least one
    byte, b"" only at the end). Both raise ChunkReadTimeout when nothing comes for the client
    timeout and ChunkReadError when the connection ends, or the chunk framing breaks, in the middle.
    """

    def __init__(self, connection: Any, length: int | None, expect: bool) -> None:
        self._connection = connection
        self._chunked = length is None
        self._left = 0 if length is None else length     # of the body, or of the current chunk
        self._done = length == 0
        self._expect = expect
        self._continue_headers: list[tuple[str, str]] = []
        self.received = 0                                 # bytes of it that were read so far
        self.started = False                              # whether the client was told to go on
        self._line = b""                                  # readahead of readline

    # -- 100-continue ----------------------------------------------------

    def set_hundred_continue_response_headers(self, headers: list[tuple[str, str]]) -> None:
        """Headers to send with the next interim response."""
        self._continue_headers = headers

    def send_hundred_continue_response(self) -> None:
        """Tell the client to go on, now; after a chunked body's end: with more chunks."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._continue_headers)
        self._connection.send(f"HTTP/1.1 100 Continue\r\n{lines}\r\n".encode("latin-1"))
        self._continue_headers = []
        self._expect = False
        self.started = True
        if self._chunked:
            self._done, self._left = False, 0

    # -- reading ---------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether the whole body was taken off the connection."""
        return self._done

    @property
    def waiting_for_continue(self) -> bool:
        """Whether the client still waits to be told to send its body."""
        return self._expect and not self._done

    def read1(self, size: int = RECV) -> bytes:
        """At least one byte and at most `size`; b"" at the end."""
        if self._line:
            data, self._line = self._line[:size], self._line[size:]
            return data
        if self._done or size == 0:
            return b""
        if self._expect:
            self.send_hundred_continue_response()
        if self._chunked and self._left == 0 and not self._next_chunk():
            return b""
        data = self._connection.take(min(size, self._left))
        if not data:
            raise ChunkReadError("the client closed the connection in the middle of the body")
        self._left -= len(data)
        self.received += len(data)
        if self._left == 0:
            if self._chunked:
                self._expect_crlf()
            else:
                self._done = True
        return data

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, or all of the rest."""
        if size is None or size < 0:
            return b"".join(iter(self.read1, b""))
        data = self.read1(size)
        if len(data) == size or not data:
            return data
        parts, have = [data], len(data)
        while have < size:
            data = self.read1(size - have)
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def readline(self, size: int = -1) -> bytes:
        """Up to and with the next newline, at most `size` bytes."""
        line = b""
        while b"\n" not in line and (size < 0 or len(line) < size):
            data = self.read1()
            if not data:
                break
            line += data
        end = line.find(b"\n") + 1 or len(line)
        if 0 <= size < end:
            end = size
        self._line = line[end:] + self._line
        return line[:end]

    def readlines(self, hint: int = -1) -> list[bytes]:
        """All lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def discard(self, limit: int) -> bool:
        """Take the rest off the connection, if it is at most `limit` bytes; whether it is gone."""
        if not self._chunked and self._left > limit:
            return False
        try:
            while limit > 0 and not self._done:
                limit -= len(self.read1(RECV))
        except (ChunkReadError, ChunkReadTimeout):
            return False
        return self._done

    # -- chunks ----------------------------------------------------------

    def _next_chunk(self) -> bool:
        line = self._connection.take_line(_MAX_CHUNK_LINE)
        if not _CHUNK_SIZE.match(line):
            raise ChunkReadError("a chunk does not begin with its size")
        self._left = int(line.partition(b";")[0], 16)
        if self._left:
            return True
        total = 0
        while line := self._connection.take_line(_MAX_CHUNK_LINE):
            total += len(line)
            if total > _MAX_TRAILERS:
                raise ChunkReadError("the trailers are too long")
        self._done = True
        return False

    def _expect_crlf(self) -> None:
        if self._connection.take_line(2) != b"":
            raise ChunkReadError("a chunk is longer than its size")
