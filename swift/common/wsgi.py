# SPDX-License-Identifier: Apache-2.0
"""The HTTP/1.1 server under all four servers; `swift.common.runner` makes a process of it.

One green thread per connection, keep-alive and pipelining, bodies by length or chunked, Expect:
100-continue. The parser splits and looks up instead of searching, because every object written
passes it four times and more; it is strict where leniency lets two servers disagree about where
a request ends (RFC 9112: bare LF, two lengths, length and chunks, folded or nameless headers).

    serve(listen("127.0.0.1", 8080), load_app("/etc/swift/proxy-server.conf"))
"""
from __future__ import annotations

import errno
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote_to_bytes

from swift.common import proxy_protocol
from swift.common.concurrency import (
    GreenletExit,
    GreenPool,
    Timeout,
    getcurrent,
    interrupt,
    sleep,
    socket,
    spawn_after,
)
from swift.common.exceptions import ChunkReadError, ChunkReadTimeout, expired
from swift.common.wsgi_input import RECV, Input

MAX_LINE = 8192                   # of bytes of a request line, if `raise_limits` did not say more
MAX_HEADER = 8192                 # of a header line, likewise
MAX_HEAD = 65536                  # of a request line and headers together, likewise
MUCH = 131072                     # what is left of a body that comes in pieces of PIECE
PIECE = 524288
DISCARD = 65536                   # of an unread body, before the connection is rather closed
FIRST_SECONDS = 2.0               # for the first request of a connection, once a stop was asked for
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
# Beyond the RFC: names of metadata may be UTF-8 and hold any visible character but the colon, as
# they may in OpenStack Swift (X-Object-Meta-A=5Fb is S3's a_b).
_NAME = re.compile(r"[!-9;-~\x80-\xff]+\Z")
_TARGET = re.compile(r"[!-~\x80-\xff]+\Z")
_DIGITS = re.compile(r"[0-9]{1,18}\Z")
_REASONS = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long",
            417: "Expectation Failed", 431: "Request Header Fields Too Large",
            500: "Internal Server Error", 501: "Not Implemented",
            505: "HTTP Version Not Supported"}
_WITHOUT_BODY = ("204", "304")

# Header name as sent -> environ key, or None for names that are dropped: `X_Foo` would become the
# same key as `X-Foo` and so pass by whatever looks for the latter.
_keys: dict[str, str | None] = {}
_KEYS_LIMIT = 4096

AccessLog = Callable[[dict, str, int, float, float], None]


class BadRequest(Exception):
    """What is on the connection is no request we go on with; answered and closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _environ_key(name: str) -> str | None:
    if not _NAME.match(name):
        raise BadRequest(400, "a header name is not a token")
    if "_" in name:
        key = None
    else:
        # As bytes: upper() of a str would turn some non-ASCII letters into others.
        key = name.encode("latin-1").upper().decode("latin-1").replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
    if len(_keys) < _KEYS_LIMIT and len(name) <= 64:
        _keys[name] = key
    return key


def raise_limits(line: int, header: int) -> None:
    """Let all servers of this process take request lines of `line` bytes and header lines of
    `header` bytes; less than by default is not heard, for their peers send them as much."""
    global MAX_LINE, MAX_HEADER, MAX_HEAD
    MAX_LINE, MAX_HEADER = max(MAX_LINE, line), max(MAX_HEADER, header)
    MAX_HEAD = max(MAX_HEAD, MAX_LINE + 4 * MAX_HEADER)


def parse_head(head: bytes, base: dict[str, Any]) -> dict[str, Any]:
    """The environ of one request from its head without the final empty line; raises BadRequest.

    `base` is what all requests of the connection share. The path is unquoted into latin-1
    "bytes as text", as PEP 3333 says; RAW_PATH_INFO keeps it as sent.
    """
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise BadRequest(400, "a line does not end in CR LF")
    env = base.copy()
    _parse_request_line(lines[0], env)
    raw = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or len(line) > MAX_HEADER:
            raise BadRequest(400, "a header line has no colon" if not colon
                             else "a header line is too long")
        value = value.strip(" \t")
        try:
            key = _keys[name]
        except KeyError:
            key = _environ_key(name)
        raw.append((name, value))
        if key is None:
            continue
        if key in env:
            if key in ("CONTENT_LENGTH", "HTTP_HOST", "HTTP_TRANSFER_ENCODING"):
                raise BadRequest(400, f"{name} is given twice")
            value = f"{env[key]},{value}"
        env[key] = value
    env["headers_raw"] = raw
    return env


def _parse_request_line(line: str, env: dict[str, Any]) -> None:
    if len(line) > MAX_LINE:
        raise BadRequest(414, "the request line is too long")
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.match(parts[0]) or not _TARGET.match(parts[1]):
        raise BadRequest(400, "the request line is not METHOD TARGET VERSION")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505 if re.match(r"HTTP/\d\.\d\Z", version) else 400,
                         "the version is not HTTP/1.1 or HTTP/1.0")
    if target[0] != "/" and target != "*":
        scheme, sep, rest = target.partition("://")
        if not sep or scheme.lower() not in ("http", "https"):
            raise BadRequest(400, "the target is not a path")
        target = "/" + rest.partition("/")[2]
    path, _, query = target.partition("?")
    env["REQUEST_METHOD"] = method
    env["RAW_PATH_INFO"] = path
    env["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1") \
        if "%" in path else path
    env["QUERY_STRING"] = query
    env["SERVER_PROTOCOL"] = version


def _body_length(env: dict[str, Any]) -> int | None:
    """Bytes of the body; None when it is chunked. Raises BadRequest."""
    coding = env.get("HTTP_TRANSFER_ENCODING")
    length = env.get("CONTENT_LENGTH")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "both Content-Length and Transfer-Encoding are given")
        if coding.lower() != "chunked":
            raise BadRequest(501, "Transfer-Encoding is not chunked")
        if env["SERVER_PROTOCOL"] != "HTTP/1.1":
            raise BadRequest(400, "Transfer-Encoding needs HTTP/1.1")
        return None
    if length is None:
        return 0
    if not _DIGITS.match(length):
        raise BadRequest(400, "Content-Length is not a number")
    return int(length)


class Connection:
    """One client's connection: reads requests, runs the application, writes answers."""

    def __init__(self, server: Server, sock: Any, address: Any) -> None:
        self.server = server
        self.sock = sock
        self.buffer = b""
        self.idle = self.fresh = True
        self.base = server.environ(sock, address)
        self.send = sock.sendall
        self.receive_much = getattr(sock, "recv_much", None)     # what TLS wraps has none

    # -- bytes in --------------------------------------------------------

    def fill(self) -> bool:
        """Take what has come into the buffer; False when the client has closed."""
        data = self.sock.recv(RECV)
        self.buffer = self.buffer + data if self.buffer else data
        return bool(data)

    def take(self, size: int) -> bytes:
        """At most `size` bytes, at least one unless the client has closed."""
        data = self.buffer
        if not data:
            try:
                if size >= MUCH and self.receive_much is not None:
                    return self.receive_much(size, min(size, PIECE))
                return self.sock.recv(size)
            except TimeoutError:
                raise expired(ChunkReadTimeout, self.server.client_timeout) from None
            except OSError as exc:
                raise ChunkReadError(str(exc)) from exc
        self.buffer = data[size:]
        return data[:size]

    def take_line(self, limit: int) -> bytes:
        """A line of at most `limit` bytes without its CR LF, which must be there."""
        while (end := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > limit:
                raise ChunkReadError("a line of chunked coding is too long")
            try:
                if not self.fill():
                    raise ChunkReadError("the client closed the connection inside a chunk")
            except TimeoutError:
                raise expired(ChunkReadTimeout, self.server.client_timeout) from None
        line, self.buffer = self.buffer[:end + 1], self.buffer[end + 1:]
        if not line.endswith(b"\r\n"):
            raise ChunkReadError("a line of chunked coding does not end in CR LF")
        return line[:-2]

    def _read_head(self) -> bytes | None:
        """The next request's head; None when the client has nothing more to say."""
        self.idle = not self.buffer
        while True:
            while self.buffer.startswith(b"\r\n"):
                self.buffer = self.buffer[2:]
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(self.buffer) > MAX_HEAD:
                raise BadRequest(400, "the headers are too long")
            if self.buffer and self.buffer.count(b"\n") != self.buffer.count(b"\r\n"):
                raise BadRequest(400, "a line does not end in CR LF")
            if self.server.stopping and not self.buffer and not self.fresh:
                return None
            try:
                if not self.fill():
                    if self.buffer:
                        raise BadRequest(400, "the request ends in the middle of its headers")
                    return None
            except TimeoutError:
                if self.idle:
                    return None
                raise BadRequest(408, "the headers did not come in time") from None
            self.idle = False
        self.idle = self.fresh = False
        if end > MAX_HEAD:
            raise BadRequest(400, "the headers are too long")
        head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
        return head

    def _is_introduced(self) -> bool:
        try:
            return proxy_protocol.read(self)
        except ValueError as exc:
            raise BadRequest(400, f"Invalid PROXY line: {exc}") from None

    # -- the loop --------------------------------------------------------

    def run(self) -> None:
        """Serve until one side wants no more."""
        sock, server = self.sock, self.server
        sock.settimeout(FIRST_SECONDS if server.stopping else server.keepalive_timeout)
        try:
            if server.proxied and not self._is_introduced():
                return
            while (head := self._read_head()) is not None:
                sock.settimeout(server.client_timeout)
                if not self._serve(head):
                    break
                sock.settimeout(server.keepalive_timeout)
        except BadRequest as exc:
            self.refuse(exc)
        except (OSError, GreenletExit):
            pass                                  # the client went away: nobody to tell
        except Exception:                         # a bug must not take the server's loop with it
            server.logger.exception("ERROR in a connection")
        finally:
            self._close()

    def _serve(self, head: bytes) -> bool:
        """One request; whether the connection may carry another."""
        env = parse_head(head, self.base)
        length = _body_length(env)
        expect = env.get("HTTP_EXPECT")
        if expect is not None and expect.lower() != "100-continue":
            raise BadRequest(417, "only Expect: 100-continue is known")
        body = Input(self, length, expect is not None and env["SERVER_PROTOCOL"] == "HTTP/1.1")
        env["wsgi.input"] = body
        if length == 0 and expect is not None and env["SERVER_PROTOCOL"] == "HTTP/1.1":
            # There is nothing to wait for; but botocore takes a final answer without this one for
            # the answer to the next request on the connection, too.
            body.send_hundred_continue_response()
        if length is None:
            env["wsgi.input_terminated"] = True
        connection = env.get("HTTP_CONNECTION", "").lower()
        keep = not self.server.stopping and "close" not in connection and (
            env["SERVER_PROTOCOL"] == "HTTP/1.1" or "keep-alive" in connection)
        answer = Response(self, env, keep)
        answer.run(self.server.app)
        if not answer.keep:
            return False
        return body.exhausted or (not body.waiting_for_continue and body.discard(DISCARD))

    def refuse(self, exc: BadRequest) -> None:
        """Answer `exc`; the connection is closed afterwards."""
        body = f"{exc}\n".encode()
        self.server.logger.info("refused a request from %s: %s", self.base["REMOTE_ADDR"], exc)
        try:
            self.send(f"HTTP/1.1 {exc.status} {_REASONS[exc.status]}\r\nContent-Type: text/plain"
                      f"\r\nContent-Length: {len(body)}\r\nDate: {http_date()}"
                      "\r\nConnection: close\r\n\r\n".encode() + body)
        except (OSError, ChunkReadTimeout):
            pass

    def _close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
            if self.buffer or not self.idle:
                # What the client still sends would make the kernel reset the connection and with
                # it drop our last answer before it is read: take a little of it.
                self.sock.settimeout(0.5)
                for _ in range(16):
                    if not self.sock.recv(RECV):
                        break
        except OSError:
            pass
        self.sock.close()

    def wake_if_idle(self) -> None:
        """Let a connection that waits for a next request end.

        For its first request it may wait a little: whoever connects before the stop is served.
        """
        if self.idle and self.fresh:
            self.fresh = False
            spawn_after(FIRST_SECONDS, self.wake_if_idle)
        elif self.idle:
            try:
                self.sock.shutdown(socket.SHUT_RD)
            except OSError:
                pass


_date: tuple[int, str] = (0, "")


def http_date() -> str:
    """Now, as in a Date header; formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class Response:
    """Runs the application once and writes what it answers."""

    def __init__(self, connection: Connection, env: dict[str, Any], keep: bool) -> None:
        self.connection = connection
        self.env = env
        self.keep = keep
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.sent_head = False
        self.chunked = False
        self.bodyless = False
        self.left: int | None = None
        self.bytes_out = 0

    def run(self, app: Any) -> None:
        """Call `app`, send its answer, log it."""
        server = self.connection.server
        start = time.time()
        result: Iterable[bytes] = ()
        try:
            try:
                result = app(self.env, self.start_response)
                self._send_all(result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (OSError, ChunkReadTimeout) as exc:
            self.keep = False
            if isinstance(exc, (ChunkReadError, ChunkReadTimeout)) and not self.sent_head:
                self.status = "400" if isinstance(exc, ChunkReadError) else "408"
                self.connection.refuse(BadRequest(int(self.status), str(exc)))
            elif not isinstance(exc, (ConnectionError, ChunkReadTimeout, TimeoutError)):
                self._fail(exc)
        except (Exception, Timeout) as exc:       # the application is broken: 500 and a log line
            self._fail(exc)
        if server.access_log is not None:
            server.access_log(self.env, self.status, self.bytes_out, start, time.time())

    def start_response(self, status: str, headers: list[tuple[str, str]],
                       exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333's."""
        if exc_info is not None and self.sent_head:
            raise exc_info[1].with_traceback(exc_info[2])
        self.status = status
        self.headers = headers
        return self._write

    def _head(self, length: int | None) -> bytes:
        """The answer's head; `length` is used when the application gives none and it is known."""
        lines = [f"HTTP/1.1 {self.status}"]
        names = set()
        declared = None
        for name, value in self.headers:
            lower = name.lower()
            names.add(lower)
            if lower == "content-length":
                declared = value
            elif lower == "connection" and value.lower() == "close":
                self.keep = False
                continue
            lines.append(f"{name}: {value}")
        self.bodyless = self.env["REQUEST_METHOD"] == "HEAD" or self.status[:3] in _WITHOUT_BODY
        if declared is not None:
            self.left = int(declared)
        elif not self.bodyless:
            if length is not None:
                self.left = length
                lines.append(f"Content-Length: {length}")
            elif self.env["SERVER_PROTOCOL"] == "HTTP/1.1":
                self.chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                self.keep = False
        if "date" not in names:
            lines.append(f"Date: {http_date()}")
        self._say_whether_kept(lines)
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a response header holds a line break")
        self.sent_head = True
        return text.encode("latin-1") + b"\r\n\r\n"

    def _say_whether_kept(self, lines: list[str]) -> None:
        body = self.env["wsgi.input"]
        if self.connection.server.stopping or \
                (not body.exhausted and body.waiting_for_continue):
            self.keep = False       # of the latter: it may or may not send the body, who knows
        if not self.keep:
            lines.append("Connection: close")
        elif "keep-alive" in self.env.get("HTTP_CONNECTION", "").lower():
            lines.append("Connection: keep-alive")

    def _write(self, data: bytes) -> None:
        """Send a piece of the body, with the head before the first."""
        head = b"" if self.sent_head else self._head(None)
        self._piece(head, data)

    def _piece(self, head: bytes, data: bytes) -> None:
        if self.bodyless or not data:
            data = b""
        elif self.chunked:
            self.bytes_out += len(data)
            data = b"%x\r\n%b\r\n" % (len(data), data)
        else:
            if self.left is not None:
                if len(data) > self.left:
                    raise ValueError("the body is longer than its Content-Length")
                self.left -= len(data)
            self.bytes_out += len(data)
        if len(data) > 65536 and head:
            self.connection.send(head)
            head = b""
        if head or data:
            self.connection.send(head + data if head else data)

    def _send_all(self, result: Iterable[bytes]) -> None:
        if isinstance(result, (list, tuple)):
            body = result[0] if len(result) == 1 else b"".join(result)
            self._piece(b"" if self.sent_head else self._head(len(body)), body)
        else:
            for data in result:
                if data:
                    self._write(data)
            if not self.sent_head:
                self._piece(self._head(0), b"")
        if self.chunked:
            self.connection.send(b"0\r\n\r\n")
        elif self.left and not self.bodyless:
            self.keep = False                     # the client sees the cut

    def _fail(self, exc: BaseException) -> None:
        self.keep = False
        self.connection.server.logger.error(
            "ERROR %s %s: %r", self.env["REQUEST_METHOD"], self.env["RAW_PATH_INFO"], exc,
            exc_info=exc)
        if self.sent_head:
            return
        self.chunked, self.left = False, None
        self.start_response("500 Internal Error", [("Content-Type", "text/plain")])
        try:
            body = b"An error occurred\n"
            self._piece(self._head(len(body)), body)
        except OSError:
            pass


class Server:
    """Accepts connections on one listening socket and runs `app` for each request on them."""

    def __init__(self, sock: Any, app: Any, logger: logging.Logger | None = None, *,
                 client_timeout: float = 60, keepalive_timeout: float | None = None,
                 max_clients: int = 1024, access_log: AccessLog | None = None,
                 url_scheme: str = "http", wrap: Callable[[Any], Any] | None = None,
                 proxied: bool = False) -> None:
        self.sock = sock
        self.app = app
        self.logger = logger or logging.getLogger("swift.wsgi")
        self.client_timeout = client_timeout
        self.keepalive_timeout = client_timeout if keepalive_timeout is None else keepalive_timeout
        self.access_log = access_log
        self.url_scheme = url_scheme
        self.wrap = wrap
        self.proxied = proxied        # by balancers that say for whom, see proxy_protocol
        self.pool = GreenPool(max_clients)
        self.connections: set[Connection] = set()
        self.stopping = False
        self._acceptor: Any = None
        name = sock.getsockname()
        self._environ = {
            "SCRIPT_NAME": "", "SERVER_NAME": str(name[0]), "SERVER_PORT": str(name[1]),
            "GATEWAY_INTERFACE": "CGI/1.1", "wsgi.version": (1, 0), "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": url_scheme, "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def environ(self, sock: Any, address: Any) -> dict[str, Any]:
        """What every request of a connection starts from."""
        env = self._environ.copy()
        env["REMOTE_ADDR"], env["REMOTE_PORT"] = str(address[0]), str(address[1])
        return env

    def run(self) -> None:
        """Accept until `stop`; then wait for what is in flight."""
        self._acceptor = getcurrent()
        try:
            while not self.stopping:
                self._accept()
        except GreenletExit:
            pass
        self._acceptor = None         # from here on a stop must not strike
        self.sock.close()
        for connection in list(self.connections):
            connection.wake_if_idle()
        self.pool.waitall()

    def _accept(self) -> None:
        try:
            sock, address = self.sock.accept()
        except OSError as exc:
            if self.stopping or exc.errno == errno.EBADF:
                raise GreenletExit from exc
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self.logger.error("ERROR accepting: %s", exc)
                sleep(0.1)
            return
        self.pool.spawn_n(self._handle, sock, address)

    def _handle(self, sock: Any, address: Any) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.wrap is not None:
                sock.settimeout(self.client_timeout)
                sock = self.wrap(sock)
        except OSError:
            sock.close()
            return
        connection = Connection(self, sock, address)
        self.connections.add(connection)
        try:
            connection.run()
        finally:
            self.connections.discard(connection)

    def stop(self) -> None:
        """Take no more connections and requests; `run` returns when the last one is answered."""
        if not self.stopping:
            self.stopping = True
            interrupt(lambda: self._acceptor)


def serve(sock: Any, app: Any, logger: logging.Logger | None = None, **options: Any) -> None:
    """Serve `app` on a listening socket until the process ends (tests spawn and kill this)."""
    Server(sock, app, logger, **options).run()
