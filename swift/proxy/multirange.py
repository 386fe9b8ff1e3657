# SPDX-License-Identifier: Apache-2.0
"""Bodies of several ranges (multipart/byteranges) that go on when their node dies.

The bytes are passed on as they come, but their framing is followed, so that it is known which
byte of which range was sent last. Another node is then asked for the rest; its parts are framed
with the boundary the client was told.
"""

from swift.common.exceptions import ChunkReadError

MAX_PART_HEAD = 8192


def resolve(spec, total):
    """``[(first, last)]`` of a Range header's satisfiable ranges in a body of ``total`` bytes."""
    out = []
    for item in spec.partition('=')[2].split(','):
        first, _, last = item.strip().partition('-')
        if not first:
            size = min(int(last), total)
            if size:
                out.append((total - size, total - 1))
        elif int(first) < total:
            out.append((int(first), min(int(last), total - 1) if last else total - 1))
    return out


class Source:
    """A reply's body with look-ahead."""

    def __init__(self, reply, size, timeout):
        self.reply, self.size, self.timeout = reply, size, timeout
        self.buffer = b''

    def until(self, mark):
        """Everything up to and with ``mark``."""
        while mark not in self.buffer:
            if len(self.buffer) > MAX_PART_HEAD:
                raise ChunkReadError('a part of a multipart body has no end of its head')
            self._more()
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    def _more(self):
        data = self.reply.read(self.size, self.timeout)
        if not data:
            raise ChunkReadError('a multipart body ends early')
        self.buffer += data

    def some(self, size):
        """At least one byte, at most ``size``."""
        if not self.buffer:
            self._more()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


def boundary_of(reply):
    """The boundary of a multipart/byteranges reply, as bytes; None when it is something else."""
    kind, _, rest = reply.headers.get('content-type', '').partition(';')
    name, _, value = rest.strip().partition('=')
    if reply.status != 206 or kind.strip().lower() != 'multipart/byteranges' or \
            name.lower() != 'boundary' or not value:
        return None
    return value.strip('"').encode('latin-1')


def span(text):
    """``(first, last, total)`` of a Content-Range value; ValueError when it is none."""
    ranges, _, total = text.partition(' ')[2].partition('/')
    first, _, last = ranges.partition('-')
    return int(first), int(last), int(total)


class MultiRange:
    """The body of one GET of several ranges.

    ``again(headers)`` asks the nodes not asked yet with these Range and condition lines and gives
    ``(reply, node)`` or raises; ``failed(node, error)`` counts an error; ``failures`` are the
    exceptions that mean a node failed.
    """

    def __init__(self, reply, node, spec, size, timeout, again, failed, failures):
        self.reply, self.node, self.spec = reply, node, spec
        self.size, self.timeout = size, timeout
        self.again, self.failed, self.failures = again, failed, failures
        self.boundary = boundary_of(reply)
        self.etag = reply.headers.get('etag')
        self.known = False        # whether the body's length is, and so the ranges
        self.todo: list[tuple[int, int]] = []        # ranges not begun
        self.total = 0
        self.kind = b''           # header lines of a part but its range
        self.opening = b''        # what ends a part before the next
        self.current: list[int] = []      # next and last byte of the range being sent
        self.ended = False

    def pieces(self):
        """The client's bytes."""
        try:
            while not self.ended:
                try:
                    yield from self._from(self.reply)
                except self.failures as e:
                    self.failed(self.node, e)
                    self.reply.close()
                    self._switch()
        finally:
            self.reply.close()

    def _from(self, reply):
        source = Source(reply, self.size, self.timeout)
        boundary = boundary_of(reply)
        if self.current:
            # Another source; its first range is the rest of the one that was cut off.
            if boundary is not None:
                source.until(b'\r\n\r\n')
            yield from self._data(source)
        while self.todo or not self.known:
            if boundary is not None:
                fields = self._fields(source)
            else:                        # one range was left: it comes without framing
                first, last = self.todo[0]
                fields = self.kind + b'Content-Range: bytes %d-%d/%d' % (first, last, self.total)
            yield self.opening + b'--' + self.boundary + b'\r\n' + fields + b'\r\n\r\n'
            self.opening = b'\r\n'
            self.current = list(self.todo.pop(0))
            yield from self._data(source)
        self.ended = True
        yield b'\r\n--' + self.boundary + b'--'
        try:
            reply.read_all(self.timeout)
        except self.failures:
            reply.close()                # it had given all that was wanted

    def _fields(self, source):
        """The header lines of the next part, which has to be the next range."""
        head = source.until(b'\r\n\r\n').lstrip(b'\r\n')
        fields = head.partition(b'\r\n')[2].removesuffix(b'\r\n\r\n')
        first, last, total = _part_span(fields)
        if not self.known:
            self.todo, self.total, self.known = resolve(self.spec, total), total, True
            self.kind = b''.join(line + b'\r\n' for line in fields.split(b'\r\n')
                                 if not line.lower().startswith(b'content-range:'))
        if not self.todo or self.todo[0] != (first, last):
            raise ChunkReadError(f'range {first}-{last} was not expected here')
        return fields

    def _data(self, source):
        current = self.current
        while current[0] <= current[1]:
            data = source.some(min(self.size, current[1] + 1 - current[0]))
            current[0] += len(data)
            yield data
        self.current = []

    def _switch(self):
        if not self.known:
            raise ChunkReadError('the node failed before the first range')
        left: list = [self.current] if self.current else []
        left += self.todo
        text = ','.join(f'{a}-{b}' for a, b in left)
        self.reply, self.node = self.again(f'Range: bytes={text}\r\n', self.etag)


def _part_span(head):
    for line in head.decode('latin-1').split('\r\n'):
        name, _, value = line.partition(':')
        if name.lower() == 'content-range':
            try:
                return span(value.strip())
            except ValueError:
                break
    raise ChunkReadError('a part of a multipart body does not say which range it is')
