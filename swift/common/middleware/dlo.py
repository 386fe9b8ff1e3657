# SPDX-License-Identifier: Apache-2.0
"""Dynamic large objects: X-Object-Manifest names a container and a prefix, and the object's
content is that of all objects with the prefix, in the order of their names."""

import hashlib
import json
from urllib.parse import quote, unquote

from swift.common.conditional import Unsatisfiable, parse_range, precondition
from swift.common.constraints import Constraints
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.segments import (
    Body,
    Limits,
    Part,
    SegmentError,
    Segments,
    changed,
    cut,
    discard,
    drain,
)
from swift.common.request import (
    PathError,
    Response,
    answer,
    parse_http_date,
    split_path,
    wsgi_text,
)
from swift.proxy.controllers.info import register

LISTING_BYTES = 64 << 20      # of one page of a listing; ten thousand long names are less
SHAPE = 'X-Object-Manifest must be in the format container/prefix'


def parse_manifest(value):
    """``(container, prefix)`` of an X-Object-Manifest header; ValueError when it names none."""
    text = unquote(value.encode('latin-1').decode('utf-8'), errors='strict')
    container, slash, prefix = text.lstrip('/').partition('/')
    if not container or not prefix or prefix.startswith('/') or '\0' in text or \
            '?' in value or '&' in value:
        raise ValueError(SHAPE)
    return container, prefix


class DynamicLargeObjects:
    """Filter; options: those of `Limits`."""

    def __init__(self, app, conf):
        need_auth_above(app, 'dlo')
        self.app = app
        self.limits = Limits(conf)
        self.page = Constraints.load().container_listing_limit
        register('dlo')

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method in ('PUT', 'POST'):
            if 'HTTP_X_OBJECT_MANIFEST' in env and self._is_object(env):
                value = env['HTTP_X_OBJECT_MANIFEST']
                try:
                    if not all(value.partition('/')[::2]):      # as sent: no slash is quoted
                        raise ValueError(SHAPE)
                    parse_manifest(value)
                except ValueError:
                    return answer(400, SHAPE)(env, start_response)
            return self.app(env, start_response)
        if method not in ('GET', 'HEAD') or not self._is_object(env) or \
                'multipart-manifest=get' in env.get('QUERY_STRING', ''):
            return self.app(env, start_response)
        return self._read(env, start_response)

    @staticmethod
    def _is_object(env):
        try:
            return split_path(env)[3] is not None
        except PathError:
            return False

    def _read(self, env, start_response):
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = status, headers

        authorize = env.get('swift.authorize')
        pieces = self.app(env, start)
        status, headers = got
        for name, value in headers:
            if len(name) == 17 and name.lower() == 'x-object-manifest' and \
                    status[:3] in ('200', '206', '304', '412', '416'):
                discard(pieces)
                try:
                    where = parse_manifest(value)
                except ValueError:
                    where = None       # stored before there was this filter
                if where is not None:
                    return self._large(env, authorize, headers, where)(env, start_response)
        start_response(status, headers)
        return pieces

    # -- the object ----------------------------------------------------------
    def _large(self, env, authorize, headers, where):
        """The response for the object that ``where`` describes."""
        version, account, _, _ = split_path(env)
        segments = Segments(self.app, env, authorize, 'DLO', self.limits)
        base = f'/{version}/{account}/{where[0]}'
        try:
            first = self._listing(segments, base, where[1], '')
        except SegmentError:
            return answer(503)
        if isinstance(first, Response):
            return first
        parts = self._parts(base, first)
        headers = [h for h in headers if h[0].lower() not in (
            'content-length', 'content-range', 'etag', 'content-type')] + [
            h for h in headers if h[0].lower() == 'content-type'
            and not h[1].startswith('multipart/byteranges')]
        if len(first) >= self.page:
            # Its length and hash would take the whole listing: it is sent without.
            if env['REQUEST_METHOD'] == 'HEAD':
                return Response(200, headers)
            return self._send(segments, headers, 200,
                              self._all_parts(segments, base, where[1], first))
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            digest.update(part.etag.encode())
        etag = digest.hexdigest()
        headers.append(('Etag', f'"{etag}"'))
        return self._known(env, segments, headers, parts, etag)

    def _known(self, env, segments, headers, parts, etag):
        """The response when all segments are known."""
        size = sum(p.length for p in parts)
        modified = next((parse_http_date(v) for n, v in headers if n.lower() == 'last-modified'),
                        None)
        status = precondition(env, {etag}, modified or 0)
        if status != 200:
            return changed(status, headers, Content_Length='0' if status == 412 else None)
        if env['REQUEST_METHOD'] == 'HEAD':
            return changed(200, headers, Content_Length=str(size))
        try:
            ranges = parse_range(env.get('HTTP_RANGE', '').replace(' ', ''), size)
        except Unsatisfiable:
            return changed(416, headers, b'The Range requested is not available.',
                           Content_Range=f'bytes */{size}')
        if ranges is None or len(ranges) > 1 or not self._range_applies(env, headers, etag):
            headers.append(('Content-Length', str(size)))
            return self._send(segments, headers, 200, parts)
        start, stop = ranges[0]
        headers += [('Content-Length', str(stop - start)),
                    ('Content-Range', f'bytes {start}-{stop - 1}/{size}')]
        return self._send(segments, headers, 206, cut(parts, start, stop))

    @staticmethod
    def _range_applies(env, headers, etag):
        value = env.get('HTTP_IF_RANGE')
        return value is None or value.strip('"') == etag or \
            any(n.lower() == 'last-modified' and v == value for n, v in headers)

    @staticmethod
    def _send(segments, headers, status, parts):
        try:
            return Response(status, headers, Body(segments.pieces(parts)))
        except SegmentError:
            return answer(409, 'A segment of the object cannot be read')

    # -- its segments --------------------------------------------------------
    def _listing(self, segments, base, prefix, marker):
        """A page of the segments' listing, or the Response that says why there is none."""
        query = f'prefix={quote(prefix)}&format=json'
        if marker:
            query += f'&marker={quote(marker)}'
        status, headers, pieces = segments.ask('GET', base, query=query)
        body = drain(pieces, LISTING_BYTES)
        if status // 100 != 2:
            response = answer(status)
            if 'www-authenticate' in headers:
                response.headers.append(('Www-Authenticate', headers['www-authenticate']))
            return response
        return json.loads(body) if body else []

    @staticmethod
    def _parts(base, listing):
        return [Part(f"{base}/{i['name']}", 0, i['bytes'] - 1, i['bytes'],
                     i['hash'].partition(';')[0].strip('"'))
                for i in listing if 'name' in i]

    def _all_parts(self, segments, base, prefix, page):
        while page:
            yield from self._parts(base, page)
            if len(page) < self.page:
                return
            page = self._listing(segments, base, prefix, page[-1]['name'])
            if isinstance(page, Response):
                raise SegmentError(f'listing of {wsgi_text(base)}: status {page.status}')


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: DynamicLargeObjects(app, conf)
