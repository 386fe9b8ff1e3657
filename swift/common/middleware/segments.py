# SPDX-License-Identifier: Apache-2.0
"""Bodies made of several objects, for static and dynamic large objects.

Only one segment is open at any time, and none is kept: memory does not grow with the object.
"""

import time
from typing import NamedTuple
from urllib.parse import quote

from swift.common.concurrency import sleep
from swift.common.conf import config_float, config_int
from swift.common.request import Request, Response
from swift.proxy.cached_info import subrequest
from swift.proxy.get import SourceLost

CARRIED = ('X-Newest', 'X-Open-Expired')


class SegmentError(Exception):
    """A segment is not there, not allowed, or not what the manifest says."""


class Part(NamedTuple):
    """Bytes ``first`` to ``last`` (inclusive) of an object of ``size`` bytes, or of ``data``.

    ``path`` is real text, /v1/account/container/object; ``etag`` None is not checked. ``nested``
    parts are manifests whose content is meant.
    """

    path: str
    first: int
    last: int
    size: int
    etag: str | None = None
    data: bytes | None = None
    nested: bool = False

    @property
    def length(self):
        return self.last - self.first + 1


def cut(parts, start, stop):
    """The parts, trimmed, that make the bytes [start, stop) of their concatenation."""
    at = 0
    for part in parts:
        end = at + part.length
        if end > start and at < stop:
            yield part._replace(first=part.first + max(0, start - at),
                                last=part.last - max(0, end - stop))
        at = end
        if at >= stop:
            return


class Limits:
    """What one GET of a large object may take; for that of many small segments costs the cluster
    more than the bytes are worth.

    Options max_get_time (seconds), rate_limit_after_segment (how many segments are read as fast as
    the client takes them) and rate_limit_segments_per_sec (how many of the others, 0: all).
    ``under`` is the size in bytes from which on a segment does not count, None: all do.
    """

    def __init__(self, conf, under=None):
        self.max_time = config_int(conf, 'max_get_time', 86400, 1)
        self.after = config_int(conf, 'rate_limit_after_segment', 10)
        self.rate = config_float(conf, 'rate_limit_segments_per_sec', 1)
        self.under = under

    def counts(self, part):
        """Whether what is to be read of a segment is little enough."""
        return self.under is None or part.length < self.under


class Segments:
    """Reads parts one after the other with the rights of the request ``env`` is of.

    ``authorize`` is what ``swift.authorize`` was when the request came: the proxy takes it away
    once it has been asked.
    """

    def __init__(self, app, env, authorize, source, limits):
        self.app = app
        self.env = {**env, 'swift.source': source}
        if authorize is not None:
            self.env['swift.authorize'] = authorize
        self.headers = {n: env['HTTP_' + n.upper().replace('-', '_')] for n in CARRIED
                        if 'HTTP_' + n.upper().replace('-', '_') in env}
        self.limits = limits
        self.ends = time.monotonic() + limits.max_time
        self._counted = 0
        self._next = 0.0              # when the next segment that counts may be read

    def ask(self, method, path, headers=None, query=''):
        """``(status, headers by lower-case name, pieces)`` of a request with the user's rights."""
        status, items, pieces = subrequest(self.env, self.app, method, path,
                                           {**self.headers, **(headers or {})}, query=query,
                                           authorized=False)
        return status, {n.lower(): v for n, v in items}, pieces

    def pieces(self, parts):
        """The bytes of the parts; raises SegmentError."""
        for part in parts:
            if part.data is not None:
                yield part.data[part.first:part.last + 1]
            elif part.length:
                if self.limits.rate and self.limits.counts(part):
                    self._keep_pace()
                yield from self._part(part)

    def _keep_pace(self):
        """Wait until one more segment that counts may be read."""
        self._counted += 1
        if self._counted <= self.limits.after:
            return
        now = time.monotonic()
        if now < self._next:
            sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self.limits.rate

    def _part(self, part):
        if time.monotonic() > self.ends:
            raise SegmentError('sending the object took longer than max_get_time')
        whole = part.first == 0 and part.length == part.size
        wanted = None if whole else {'Range': f'bytes={part.first}-{part.last}'}
        status, headers, pieces = self.ask('GET', part.path, wanted)
        try:
            etag = headers.get('etag', '').strip('"')
            if status != (200 if whole else 206):
                raise SegmentError(f'{part.path}: status {status}')
            if part.etag is not None and etag != part.etag or \
                    headers.get('content-length') != str(part.length):
                raise SegmentError(f'{part.path}: not what the manifest says')
            left = part.length
            for piece in pieces:
                left -= len(piece)
                yield piece
            if left:
                raise SegmentError(f'{part.path}: {left} bytes missing')
        finally:
            close = getattr(pieces, 'close', None)
            if close is not None:
                close()


class Body:
    """A response's body whose first bytes have been read already.

    Raises SegmentError when made if there are none to be had; what fails later cuts the
    connection.
    """

    def __init__(self, pieces):
        self.rest = pieces
        self.first = next(pieces, b'')

    def __iter__(self):
        yield self.first
        self.first = b''
        try:
            yield from self.rest
        except SegmentError as e:
            raise SourceLost(f'a large object broke off: {e}') from e
        finally:
            self.close()

    def close(self):
        """Let the open segment go."""
        self.rest.close()


def drain(pieces, limit):
    """All bytes of a body; SegmentError when there are more than ``limit``."""
    got, size = [], 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise SegmentError('too long')
            got.append(piece)
    finally:
        discard(pieces)
    return b''.join(got)


def discard(pieces):
    """Close a body that is not wanted."""
    close = getattr(pieces, 'close', None)
    if close is not None:
        close()


def version_query(env):
    """The part of a request's query that says which version of the object is meant."""
    if 'version-id' not in env.get('QUERY_STRING', ''):
        return ''
    version = Request(env).params.get('version-id')
    return '' if version is None else 'version-id=' + quote(version, errors='surrogateescape')


def changed(status, headers, body=b'', **replaced):
    """A Response with ``headers`` but for those given as ``Content_Length=...`` (None: without)."""
    response = Response(status, headers, body)
    for name, value in replaced.items():
        response.set(name.replace('_', '-'), value)
    return response
