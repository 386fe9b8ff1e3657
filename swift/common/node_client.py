# SPDX-License-Identifier: Apache-2.0
"""Small HTTP requests from one storage server or daemon to another, over kept connections.

    answer = node_client.request("10.0.0.2", 6201, "PUT", "/sda/12/a/c/o", headers)
    if answer.status // 100 == 2: ...

All requests between storage nodes carry a timestamp and mean the same when they come twice, so one
that finds its kept connection closed is sent again on a new one.
"""
from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from swift.common.concurrency import StreamSocket, socket
from swift.common.exceptions import (
    ChunkReadError,
    ConnectionTimeout,
    ResponseTimeout,
    expired,
)

IDLE_SECONDS = 20.0           # a kept connection older than this is not trusted any more
MAX_IDLE = 8                  # per server
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_.\-~/]*\Z")


@dataclass(slots=True)
class NodeAnswer:
    """An answer read whole; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Gone(Exception):
    """The kept connection was closed by the server before it answered."""


_idle: dict[tuple[str, int], list[tuple[Any, float]]] = {}


def path_of(device: str, partition: str | int, *names: str) -> str:
    """The quoted path of a request to a storage server."""
    path = f"/{device}/{partition}/{'/'.join(names)}" if names else f"/{device}/{partition}"
    if _NEEDS_NO_QUOTES.match(path):
        return path
    return quote(path.encode("utf-8", "surrogateescape"))


def request(host: str, port: int, method: str, path: str, headers: dict[str, str],
            body: bytes = b"", conn_timeout: float = 0.5, node_timeout: float = 10
            ) -> NodeAnswer:
    """Send one request and read its answer.

    Raises ConnectionTimeout, ResponseTimeout, or OSError (ChunkReadError for a cut answer).
    `path` is quoted already; header values are real text.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    if body or method in ("PUT", "POST", "REPLICATE"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line break")
    message = head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
    key = (host, port)
    sock = _take(key)
    if sock is not None:
        try:
            return _exchange(sock, key, message, method, node_timeout)
        except _Gone:
            pass
    sock = _connect(host, port, conn_timeout)
    try:
        return _exchange(sock, key, message, method, node_timeout)
    except _Gone as exc:
        raise ChunkReadError(f"{host}:{port} closed the connection without an answer") from exc


def _take(key: tuple[str, int]) -> Any:
    waiting = _idle.get(key)
    while waiting:
        sock, since = waiting.pop()
        if time.monotonic() - since < IDLE_SECONDS:
            return sock
        sock.close()
    return None


def _connect(host: str, port: int, timeout: float) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = StreamSocket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        sock.close()
        raise expired(ConnectionTimeout, timeout) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _exchange(sock: Any, key: tuple[str, int], message: bytes, method: str,
              timeout: float) -> NodeAnswer:
    kept = False
    try:
        sock.settimeout(timeout)
        try:
            sock.sendall(message)
            reader = _Reader(sock)
            head = reader.head()
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise _Gone from exc
        answer, keep = _parse(head, reader, method)
        if keep:
            waiting = _idle.setdefault(key, [])
            if len(waiting) < MAX_IDLE:
                waiting.append((sock, time.monotonic()))
                kept = True
        return answer
    except TimeoutError:
        raise expired(ResponseTimeout, timeout) from None
    finally:
        if not kept:
            sock.close()


class _Reader:
    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.buffer = b""

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ChunkReadError("the answer is cut")
        self.buffer += data

    def head(self) -> str:
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                text = self.buffer[:end].decode("latin-1")
                self.buffer = self.buffer[end + 4:]
                if not text.startswith("HTTP/1.1 1"):
                    return text
                continue
            data = self.sock.recv(65536)
            if not data:
                if not self.buffer:
                    raise _Gone
                raise ChunkReadError("the answer is cut in its head")
            self.buffer += data
            if len(self.buffer) > 131072 and b"\r\n\r\n" not in self.buffer:
                raise ChunkReadError("the answer's head is too long")

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        data, self.buffer = self.buffer[:end], self.buffer[end + 2:]
        return data

    def rest(self) -> bytes:
        try:
            while True:
                self._more()
        except ChunkReadError:
            return self.buffer


def _parse(head: str, reader: _Reader, method: str) -> tuple[NodeAnswer, bool]:
    lines = head.split("\r\n")
    try:
        status = int(lines[0].split(" ", 2)[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        keep = headers.get("connection", "").lower() != "close" and \
            lines[0].startswith("HTTP/1.1")
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(reader.line().partition(b";")[0], 16):
                parts.append(reader.exactly(size))
                reader.line()
            while reader.line():
                pass
            body = b"".join(parts)
        elif "content-length" in headers:
            body = reader.exactly(int(headers["content-length"]))
        else:
            body, keep = reader.rest(), False
    except (ValueError, IndexError) as exc:
        raise ChunkReadError(f"not an HTTP answer: {exc}") from exc
    return NodeAnswer(status, headers, body), keep
