# SPDX-License-Identifier: Apache-2.0
"""Reading multipart/form-data (RFC 7578) part by part, without keeping a part in memory."""

from email.message import Message

from swift.common.exceptions import ChunkReadError

CHUNK = 65536
MAX_HEAD = 16384              # bytes of a part's header


class FormError(ValueError):
    """The body is no multipart form; the text says where."""


def boundary_of(content_type):
    """The boundary a Content-Type names, bytes; FormError when there is none."""
    message = Message()
    message['Content-Type'] = content_type
    boundary = message.get_param('boundary')
    if message.get_content_type() != 'multipart/form-data' or not isinstance(boundary, str) or \
            not 0 < len(boundary) <= 70:
        raise FormError('Content-Type is no multipart/form-data with a boundary')
    return boundary.encode('latin-1')


class Part:
    """One part; its content is read with `read`, b'' at the end."""

    def __init__(self, form, headers):
        self.form, self.headers, self.ended = form, headers, False
        disposition = Message()
        disposition['Content-Disposition'] = headers.get('content-disposition', '')
        name = disposition.get_param('name', header='content-disposition')
        filename = disposition.get_param('filename', header='content-disposition')
        self.name = name if isinstance(name, str) else ''
        self.filename = filename if isinstance(filename, str) else None

    def read(self, size):
        """At most ``size`` bytes."""
        if self.ended:
            return b''
        data, self.ended = self.form.take(size)
        return data

    def text(self, limit):
        """The whole content; FormError when it is longer than ``limit``."""
        out = b''
        while data := self.read(CHUNK):
            out += data
            if len(out) > limit:
                raise FormError(f'the field {self.name[:64]!r} is too long')
        return out.decode('utf-8', 'surrogateescape').strip('\r\n')


class Form:
    """The parts of a body, in order: iterate. A part not read to its end is skipped."""

    def __init__(self, source, boundary):
        self.source = source
        self.mark = b'\r\n--' + boundary
        self.buffer = b'\r\n'         # so that the first boundary looks as the others
        self.last = False

    def _more(self):
        data = self.source.read1(CHUNK)
        if not data:
            raise ChunkReadError('a form ends in the middle of a part')
        self.buffer += data

    def take(self, size):
        """``(bytes, whether the part ends with them)``."""
        mark = self.mark
        while len(self.buffer) < len(mark) + 4:
            self._more()
        at = self.buffer.find(mark)
        if at < 0:
            # What could be the beginning of a boundary stays.
            safe = min(len(self.buffer) - len(mark) + 1, size)
            data, self.buffer = self.buffer[:safe], self.buffer[safe:]
            return data, False
        if at > size:
            data, self.buffer = self.buffer[:size], self.buffer[size:]
            return data, False
        data, self.buffer = self.buffer[:at], self.buffer[at + len(mark):]
        self._end_of_boundary()
        return data, True

    def _end_of_boundary(self):
        while len(self.buffer) < 2:
            self._more()
        if self.buffer[:2] == b'--':
            self.last = True
        elif self.buffer[:2] == b'\r\n':
            self.buffer = self.buffer[2:]
        else:
            raise FormError('a boundary is followed by something else than a line end')

    def __iter__(self):
        part = Part(self, {})         # what is before the first boundary
        while True:
            while part.read(CHUNK) or not part.ended:
                pass
            if self.last:
                return
            part = Part(self, self._head())
            yield part

    def _head(self):
        while b'\r\n\r\n' not in self.buffer:
            if self.buffer.startswith(b'\r\n'):
                break
            if len(self.buffer) > MAX_HEAD:
                raise FormError("a part's header is too long")
            self._more()
        if self.buffer.startswith(b'\r\n'):
            self.buffer = self.buffer[2:]
            return {}
        head, _, self.buffer = self.buffer.partition(b'\r\n\r\n')
        headers = {}
        for line in head.decode('utf-8', 'surrogateescape').split('\r\n'):
            name, _, value = line.partition(':')
            headers[name.strip().lower()] = value.strip()
        # The content may be empty: then the boundary begins with the line end that is gone.
        self.buffer = b'' + self.buffer
        if self.buffer.startswith(self.mark[2:]):
            self.buffer = b'\r\n' + self.buffer
        return headers
