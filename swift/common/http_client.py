# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 to storage nodes: kept connections and a parser that costs microseconds.

    pool = Pool(conn_timeout=0.5)
    conn = pool.connect(('127.0.0.1', 6200))
    conn.send(b'GET /sda/1/a HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    reply = conn.read_head(timeout=10)
    data = reply.read_all()          # the connection is back in the pool now

A kept connection may have been closed by the other side. That shows when it is taken out (it is
readable though nothing was asked) or, in a race, when the first byte of the answer does not come;
then `StaleConnection` is raised and the same request can be sent once more on a new connection:
requests to storage nodes carry their timestamp, so that doing one twice does it once.
"""

import errno
import time

from swift.common.concurrency import StreamSocket, socket
from swift.common.exceptions import (
    ChunkReadError,
    ChunkReadTimeout,
    ChunkWriteTimeout,
    ConnectionTimeout,
    ResponseTimeout,
    expired,
)

MAX_HEAD = 262144         # a backend answer's status line and headers
RECV = 65536
_MAX_IDLE = 64            # connections kept for each address
_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)      # flags are slow to combine
_MAX_AGE = 45.0           # seconds a connection is kept unused; servers close after 60


class StaleConnection(ConnectionError):
    """A kept connection turned out closed before it gave the first byte of an answer."""


class BadReply(ConnectionError):
    """What came is no HTTP answer."""


class Reply:
    """The head of an answer, and the body as it comes.

    ``left`` counts the bytes of the body still to come, None when only the framing
    tells.
    """

    __slots__ = ('status', 'reason', '_text', '_low', '_items', '_headers', 'left', 'conn',
                 'keep', 'chunked', 'chunk_left', 'done')

    def __init__(self, head, conn):
        # An update's answer is asked for two or three headers only: the rest is split on demand.
        text = self._text = head.decode('latin-1')
        self._low = text.lower()
        self._items = self._headers = None
        line = text.partition('\r\n')[0]
        try:
            version, status, self.reason = (line.split(' ', 2) + [''])[:3]
            self.status = int(status)
        except ValueError:
            raise BadReply(f'not a status line: {line[:80]!r}') from None
        if not version.startswith('HTTP/1.'):
            raise BadReply(f'not HTTP/1: {line[:80]!r}')
        self.conn = conn
        self.keep = version == 'HTTP/1.1' and self.field('connection') != 'close'
        self.chunked = self.field('transfer-encoding') is not None
        self.chunk_left = 0
        self.done = False
        self.left: int | None
        length = self.field('content-length')
        if conn.method == b'HEAD' or self.status in (204, 304) or self.status < 200:
            self.chunked = False
            self.left = 0
        elif self.chunked:
            self.left = None
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise BadReply(f'Content-Length: {length!r}')
            self.left = int(length)
        else:
            self.left = None
            self.keep = False
        if self.left == 0 and self.status >= 200:
            self._end()

    def field(self, name):
        """One header's value by its lower-case name, None when it is not there.

        The value is in lower case; of repeated headers it is the first. Cheaper than `headers`.
        """
        low = self._low
        at = low.find(f'\r\n{name}:')
        if at < 0:
            return None
        at += len(name) + 3
        end = low.find('\r\n', at)
        return low[at:end if end >= 0 else None].strip(' \t')

    @property
    def items(self):
        """All headers as sent, ``[(name, value)]``."""
        if self._items is None:
            self._items = items = []
            for line in self._text.split('\r\n')[1:]:
                name, _, value = line.partition(':')
                # Blanks only: 0x85 and 0xa0 are part of UTF-8 text.
                items.append((name, value.strip(' \t')))
        return self._items

    @property
    def headers(self):
        """Values by lower-case name; repeated ones are joined with a comma."""
        if self._headers is None:
            headers: dict[str, str] = {}
            self._headers = headers
            for name, value in self.items:
                low = name.lower()
                headers[low] = f'{headers[low]},{value}' if low in headers else value
        return self._headers

    def _end(self):
        self.done = True
        if self.conn is not None:
            self.conn.release(self.keep)
            self.conn = None

    def read(self, size, timeout):
        """At least one byte and at most ``size``; b'' at the end of the body.

        Raises ChunkReadTimeout, or ChunkReadError when the body ends before its length.
        """
        if self.done:
            return b''
        if self.chunked:
            if not self.chunk_left and not self._next_chunk(timeout):
                return b''
            data = self.conn.take(min(size, self.chunk_left), timeout)
            if data:
                self.chunk_left -= len(data)
                if not self.chunk_left:
                    self.conn.take_line(timeout)
                return data
        elif self.left is None:
            data = self.conn.take(size, timeout)
            if not data:
                self._end()
            return data
        else:
            data = self.conn.take(min(size, self.left), timeout)
            if data:
                self.left -= len(data)
                if not self.left:
                    self._end()
                return data
        self.close()
        raise ChunkReadError('the storage node closed the connection in the middle of a body')

    def _next_chunk(self, timeout):
        line = self.conn.take_line(timeout)
        try:
            self.chunk_left = int(line.partition(b';')[0], 16)
        except ValueError:
            self.close()
            raise ChunkReadError(f'not a chunk size: {line[:40]!r}') from None
        if self.chunk_left:
            return True
        while self.conn.take_line(timeout):
            pass
        self._end()
        return False

    def read_all(self, timeout=10, limit=None):
        """The whole body; with ``limit``, ChunkReadError when it is longer."""
        if self.done:
            return b''
        parts, size = [], 0
        while True:
            data = self.read(RECV, timeout)
            if not data:
                break
            parts.append(data)
            size += len(data)
            if limit is not None and size > limit:
                self.close()
                raise ChunkReadError(f'a body of more than {limit} bytes')
            if self.done:
                break
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def drain(self, timeout=1):
        """Take a short body off the connection so that it can be used again, else close it."""
        if self.done:
            return
        if self.left is None or self.left > RECV:
            self.close()
            return
        try:
            while not self.done:
                self.read(RECV, timeout)
        except (ChunkReadError, ChunkReadTimeout, OSError):
            self.close()

    def close(self):
        """Give the body up; closes the connection unless the body was read to its end."""
        if not self.done:
            self.done = True
            self.conn.close()
            self.conn = None


class Conn:
    """One connection to a storage node."""

    __slots__ = ('pool', 'addr', 'sock', 'buffer', 'reused', 'since', 'method', 'timeout')

    def __init__(self, pool, addr, sock):
        self.pool, self.addr, self.sock = pool, addr, sock
        self.buffer = b''
        self.reused = False
        self.since = 0.0
        self.method = b''
        self.timeout = None

    def _limit(self, timeout):
        if timeout != self.timeout:
            self.sock.settimeout(timeout)
            self.timeout = timeout

    def send(self, data, timeout=10):
        """Send all of ``data``, bytes or (after a head) a tuple of them.

        Raises StaleConnection, ChunkWriteTimeout or OSError.
        """
        self._limit(timeout)
        if not self.method:
            self.method = bytes(data[:data.index(b' ')])
        try:
            if type(data) is tuple:
                self.sock.send_pieces(data)
            else:
                self.sock.sendall(data)
        except TimeoutError:
            self.close()
            raise expired(ChunkWriteTimeout, timeout) from None
        except (BrokenPipeError, ConnectionResetError) as e:
            self.close()
            if self.reused:
                raise StaleConnection(str(e)) from e
            raise
        except OSError:
            self.close()
            raise

    def read_head(self, timeout):
        """The next answer's head, also a 100. Raises ResponseTimeout, StaleConnection, BadReply.

        After a ResponseTimeout the call may be made again: nothing that came is lost.
        """
        self._limit(timeout)
        buffer = self.buffer
        while True:
            end = buffer.find(b'\r\n\r\n')
            if end >= 0:
                break
            if len(buffer) > MAX_HEAD:
                self.close()
                raise BadReply('the answer\'s headers are too long')
            try:
                data = self.sock.recv(RECV)
            except TimeoutError:
                self.buffer = buffer
                raise expired(ResponseTimeout, timeout) from None
            except OSError as e:
                self.close()
                if self.reused and not buffer:
                    raise StaleConnection(str(e)) from e
                raise
            if not data:
                self.close()
                if self.reused and not buffer:
                    raise StaleConnection('closed while idle')
                raise BadReply('closed before an answer came')
            buffer = buffer + data if buffer else data
        self.buffer = buffer[end + 4:]
        self.reused = False
        try:
            return Reply(buffer[:end], self)
        except BadReply:
            self.close()
            raise

    def take(self, size, timeout):
        """At most ``size`` bytes, b'' when the other side has closed."""
        data = self.buffer
        if data:
            if len(data) <= size:
                self.buffer = b''
                return data
            self.buffer = data[size:]
            return data[:size]
        self._limit(timeout)
        try:
            return self.sock.recv(size)
        except TimeoutError:
            raise expired(ChunkReadTimeout, timeout) from None
        except OSError as e:
            raise ChunkReadError(str(e)) from e

    def take_line(self, timeout):
        """A line without its end."""
        while (end := self.buffer.find(b'\r\n')) < 0:
            if len(self.buffer) > RECV:
                raise ChunkReadError('a line of chunked coding is too long')
            self._limit(timeout)
            try:
                data = self.sock.recv(RECV)
            except TimeoutError:
                raise expired(ChunkReadTimeout, timeout) from None
            except OSError as e:
                raise ChunkReadError(str(e)) from e
            if not data:
                raise ChunkReadError('the storage node closed the connection inside a chunk')
            self.buffer += data
        line, self.buffer = self.buffer[:end], self.buffer[end + 2:]
        return line

    def release(self, keep=True):
        """The exchange is over: back to the pool, or closed."""
        if keep and not self.buffer and self.sock is not None:
            self.pool.put(self)
        else:
            self.close()

    def close(self):
        """Close; harmless when done before."""
        sock, self.sock = self.sock, None
        if sock is not None:
            try:
                sock.close()
            except OSError:
                pass


class Pool:
    """Connections that are kept, by address; the one used last is taken first."""

    def __init__(self, conn_timeout=0.5, max_idle=_MAX_IDLE, max_age=_MAX_AGE):
        self.conn_timeout = conn_timeout
        self.max_idle = max_idle
        self.max_age = max_age
        self.idle = {}

    def connect(self, addr, fresh=False):
        """A connection to ``(ip, port)``: a kept one, or a new one when ``fresh``.

        Raises ConnectionTimeout or OSError.
        """
        if not fresh:
            conn = self.take(addr)
            if conn is not None:
                return conn
        family = socket.AF_INET6 if ':' in addr[0] else socket.AF_INET
        sock = StreamSocket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.conn_timeout)
            sock.connect(addr)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError:
            sock.close()
            raise expired(ConnectionTimeout, self.conn_timeout) from None
        except BaseException:     # also a green thread's end must not leak the socket
            sock.close()
            raise
        return Conn(self, addr, sock)

    def take(self, addr):
        """A kept connection that still looks alive, or None."""
        conns = self.idle.get(addr)
        while conns:
            conn = conns.pop()
            if time.monotonic() - conn.since > self.max_age or _readable(conn.sock):
                conn.close()
                continue
            conn.reused = True
            conn.method = b''
            return conn
        return None

    def put(self, conn):
        conns = self.idle.setdefault(conn.addr, [])
        if len(conns) >= self.max_idle:
            conn.close()
            return
        conn.since = time.monotonic()
        conns.append(conn)

    def forget(self, addr):
        """Close what is kept for an address."""
        for conn in self.idle.pop(addr, ()):
            conn.close()


def _readable(sock):
    """True when an idle connection has something to say: it is closed, or out of step."""
    raw = getattr(sock, 'fd', sock)     # below the green socket: must not wait
    try:
        raw.recv(1, _LOOK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError as e:
        return e.errno not in (errno.EAGAIN, errno.EWOULDBLOCK)
    return True
