# SPDX-License-Identifier: Apache-2.0
"""Static large objects: a manifest names the segments, with their sizes and hashes.

``?multipart-manifest=put`` stores one once every segment is found to be what it says; GET gives
the content; ``=get`` the manifest; DELETE with ``=delete`` deletes the segments, too, with
``&async=yes`` by the object expirer.
"""

import hashlib
import json
import os

from swift.common.conditional import Unsatisfiable, parse_range
from swift.common.conf import config_int, config_true
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.copy import TRUE
from swift.common.middleware.listing_entries import answer_changed
from swift.common.middleware.segments import (
    Body,
    Limits,
    SegmentError,
    Segments,
    changed,
    cut,
    discard,
    drain,
    version_query,
)
from swift.common.middleware.slo_delete import DeleteLater, ManifestDelete
from swift.common.middleware.slo_manifest import load_parts, raw_form, slo_etag
from swift.common.middleware.slo_write import ManifestPut
from swift.common.request import PathError, Request, Response, answer, split_path
from swift.proxy.controllers.info import register

ETAG, SIZE = 'x-object-sysmeta-slo-etag', 'x-object-sysmeta-slo-size'
OWN = ('x-object-sysmeta-slo-', 'x-object-sysmeta-container-update-override-')
MAX_DEPTH = 10                # manifests within manifests
RESERVED = 'X-Static-Large-Object is not for clients to set'
NO_PART = b'The requested part number is not satisfiable'


class Broken(Exception):
    """The manifest of an object cannot be read."""


class StaticLargeObjects:
    """Filter; options max_manifest_segments, max_manifest_size, yield_frequency, concurrency,
    delete_concurrency, allow_async_delete, rate_limit_under_size, and those of `Limits`."""

    def __init__(self, app, conf):
        need_auth_above(app, 'slo')
        self.app = app
        self.max_segments = config_int(conf, 'max_manifest_segments', 1000, 1)
        self.max_size = config_int(conf, 'max_manifest_size', 8 << 20, 1)
        self.limits = Limits(conf, config_int(conf, 'rate_limit_under_size', 1 << 20))
        self.yield_frequency = config_int(conf, 'yield_frequency', 10, 1)
        self.concurrency = config_int(conf, 'concurrency', 2, 1)
        self.delete_concurrency = config_int(conf, 'delete_concurrency', self.concurrency, 1)
        self.allow_async_delete = config_true(conf.get('allow_async_delete', 'yes'))
        register('slo', max_manifest_segments=self.max_segments,
                 max_manifest_size=self.max_size, yield_frequency=self.yield_frequency,
                 min_segment_size=1, allow_async_delete=self.allow_async_delete)

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method in ('GET', 'HEAD'):
            try:
                _, _, container, obj = split_path(env)
            except PathError:
                return self.app(env, start_response)
            if obj is not None:
                return self._read(env, start_response)
            if container is not None and method == 'GET':
                return self._listing(env, start_response)
        elif method == 'PUT':
            return self._put(env, start_response)
        elif method == 'POST' and 'HTTP_X_STATIC_LARGE_OBJECT' in env:
            return answer(400, RESERVED)(env, start_response)
        elif method == 'DELETE' and 'multipart-manifest=delete' in env.get('QUERY_STRING', ''):
            if self._is_object(env):
                return self._delete(env, start_response)
        return self.app(env, start_response)

    @staticmethod
    def _is_object(env):
        try:
            return split_path(env)[3] is not None
        except PathError:
            return False

    def _put(self, env, start_response):
        if not self._is_object(env):
            return self.app(env, start_response)
        # Only a checked manifest is one; container sync brings those that were checked elsewhere.
        if 'swift.slo_override' in env:
            env['swift.own_content_type'] = True
            return self.app(env, start_response)
        if 'multipart-manifest=put' in env.get('QUERY_STRING', '') and \
                Request(env).params.get('multipart-manifest') == 'put':
            return ManifestPut(self, dict(env)).response()(env, start_response)
        if 'HTTP_X_STATIC_LARGE_OBJECT' in env:
            return answer(400, RESERVED)(env, start_response)
        return self.app(env, start_response)

    def _delete(self, env, start_response):
        """A DELETE that means the segments, too."""
        if not self.allow_async_delete or \
                Request(env).params.get('async', '').lower() not in TRUE:
            return ManifestDelete(self, env).response()(env, start_response)
        response = DeleteLater(self, env).refusal()
        return (response or self.app)(env, start_response)

    # -- reading -------------------------------------------------------------
    def _read(self, env, start_response):
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = status, headers

        query = env.get('QUERY_STRING', '')
        manifest = 'multipart-manifest=get' in query
        if not manifest and ('HTTP_IF_MATCH' in env or 'HTTP_IF_NONE_MATCH' in env):
            known = env.get('HTTP_X_BACKEND_ETAG_IS_AT')
            env['HTTP_X_BACKEND_ETAG_IS_AT'] = f'{known},{ETAG}' if known else ETAG
        authorize = env.get('swift.authorize')
        pieces = self.app(env, start)
        status, headers = got
        for name, value in headers:
            if len(name) == 21 and name.lower() == 'x-static-large-object' and \
                    value.lower() == 'true' and status[:3] in ('200', '206', '304', '412', '416'):
                break
        else:
            start_response(status, headers)
            return pieces
        headers = [(n, _plain_type(v) if n.lower() == 'content-type' else v)
                   for n, v in headers]
        if manifest:
            response = self._manifest(env, int(status[:3]), headers, pieces)
        else:
            try:
                response = self._large(env, authorize, int(status[:3]), headers, pieces)
            except Broken:
                response = answer(409, 'The manifest of the object is broken')
            except SegmentError:
                response = answer(409)
        return response(env, start_response)

    def _manifest(self, env, status, headers, pieces):
        """The answer to ?multipart-manifest=get."""
        if Request(env).params.get('format') != 'raw':
            kept = [h for h in headers if h[0].lower() != 'content-type']
            kept.append(('Content-Type', 'application/json; charset=utf-8'))
            return Response(status, kept, pieces)
        if status != 200 or env['REQUEST_METHOD'] == 'HEAD':
            return Response(status, headers, pieces)
        try:
            body = raw_form(drain(pieces, self.max_size * 2))
        except (ValueError, KeyError, TypeError, SegmentError):
            return answer(409, 'The manifest of the object is broken')
        return changed(200, headers, body, Content_Length=str(len(body)), Etag=hashlib.md5(
            body, usedforsecurity=False).hexdigest())

    def _large(self, env, authorize, status, headers, pieces):
        """The answer for a manifest whose content is wanted."""
        low = {n.lower(): v for n, v in headers}
        head = env['REQUEST_METHOD'] == 'HEAD'
        number = Request(env).params.get('part-number') if env.get('QUERY_STRING') else None
        if number is not None and not (number.isascii() and number.isdigit()
                                       and len(number) < 10 and int(number) > 0):
            discard(pieces)
            return answer(400, 'Part number must be an integer greater than 0')
        if number is not None and 'HTTP_RANGE' in env:
            discard(pieces)
            return answer(400, 'Range requests are not supported with part number queries')
        if status in (304, 412) or head and number is None and ETAG in low and SIZE in low:
            discard(pieces)
            return self._dressed(status, headers, low.get(ETAG), low.get('etag'),
                                 low.get(SIZE) if status == 200 else None)
        segments = Segments(self.app, env, authorize, 'SLO', self.limits)
        if status != 200 or head:
            discard(pieces)
            status, low, pieces, headers = self._again(segments, env)
            if status != 200 or low.get('x-static-large-object', '').lower() != 'true':
                discard(pieces)
                return answer(status if status != 200 else 409)
        try:
            body = drain(pieces, self.max_size * 2)
            version, account, _, _ = split_path(env)
            parts = load_parts(body, f'/{version}/{account}')
            etag = slo_etag(json.loads(body))
        except SegmentError as e:
            raise Broken from e
        size = sum(p.length for p in parts)
        response = self._dressed(200, headers, etag, low.get('etag'), str(size))
        return self._ranges(env, segments, response, parts, etag, size, number)

    def _again(self, segments, env):
        """The whole manifest, when the first answer was not that."""
        version, account, container, obj = split_path(env)
        status, low, pieces = segments.ask('GET', f'/{version}/{account}/{container}/{obj}',
                                           query=version_query(env))
        headers = [(n.title(), _plain_type(v) if n == 'content-type' else v)
                   for n, v in low.items()]
        return status, low, pieces, headers

    @staticmethod
    def _dressed(status, headers, etag, manifest_etag, size):
        kept = [h for h in headers if h[0].lower() not in ('etag', 'content-length',
                                                           'content-range')
                and not h[0].lower().startswith(OWN)]
        if etag:
            kept.append(('Etag', f'"{etag}"'))
        if manifest_etag:
            kept.append(('X-Manifest-Etag', manifest_etag.strip('"')))
        if size is not None:
            kept.append(('Content-Length', size))
        return Response(status, kept)

    def _ranges(self, env, segments, response, parts, etag, size, number):
        """Make the response one of the whole, of a part, or of ranges."""
        head = env['REQUEST_METHOD'] == 'HEAD'
        ranges = None
        if number is not None:
            response.set('X-Parts-Count', str(len(parts)))
            if int(number) > len(parts):
                return changed(416, response.headers, b'' if head else NO_PART,
                               Content_Range=f'bytes */{size}',
                               Content_Length='0' if head else str(len(NO_PART)))
            first = sum(p.length for p in parts[:int(number) - 1])
            ranges = [(first, first + parts[int(number) - 1].length)]
        elif not head and env.get('HTTP_RANGE') and self._range_applies(env, response, etag):
            try:
                ranges = parse_range(env['HTTP_RANGE'].replace(' ', ''), size)
            except Unsatisfiable:
                text = b'The Range requested is not available.'
                return changed(416, response.headers, text, Content_Range=f'bytes */{size}',
                               Content_Length=str(len(text)))
        if ranges is None:
            pieces = segments.pieces(self.expand(segments, parts))
        elif len(ranges) == 1:
            start, stop = ranges[0]
            response = changed(206, response.headers, Content_Length=str(stop - start),
                               Content_Range=f'bytes {start}-{stop - 1}/{size}')
            pieces = segments.pieces(self.expand(segments, cut(parts, start, stop)))
        else:
            pieces = self._multipart(segments, response, parts, ranges, size)
        if not head:
            response.body = Body(pieces)
        return response

    @staticmethod
    def _range_applies(env, response, etag):
        value = env.get('HTTP_IF_RANGE')
        return value is None or value.strip('"') == etag or \
            value == response.get('Last-Modified')

    def _multipart(self, segments, response, parts, ranges, size):
        """The pieces of a body of several ranges; the response becomes the one to send."""
        boundary = os.urandom(16).hex()
        kind = response.get('Content-Type')
        heads = [(f'--{boundary}\r\nContent-Type: {kind}\r\n'
                  f'Content-Range: bytes {a}-{b - 1}/{size}\r\n\r\n').encode('latin-1')
                 for a, b in ranges]
        tail = f'--{boundary}--'.encode()
        response.status = 206
        response.set('Content-Type', f'multipart/byteranges;boundary={boundary}')
        response.set('Content-Length', str(len(tail) + sum(
            len(h) + b - a + 2 for h, (a, b) in zip(heads, ranges, strict=True))))

        def pieces():
            for head, (start, stop) in zip(heads, ranges, strict=True):
                yield head
                yield from segments.pieces(self.expand(segments, cut(parts, start, stop)))
                yield b'\r\n'
            yield tail
        return pieces()

    def expand(self, segments, parts, depth=1):
        """The parts with those of nested manifests in their place."""
        for part in parts:
            if not part.nested:
                yield part
                continue
            if depth >= MAX_DEPTH:
                raise SegmentError(f'{part.path}: manifests are nested too deeply')
            inner = self.nested_parts(segments, part)
            yield from self.expand(segments, cut(inner, part.first, part.last + 1), depth + 1)

    def nested_parts(self, segments, part):
        """The Parts of a manifest that is a segment; SegmentError when it has changed."""
        status, headers, pieces = segments.ask('GET', part.path)
        if status != 200 or headers.get('x-static-large-object', '').lower() != 'true':
            discard(pieces)
            raise SegmentError(f'{part.path}: status {status}, or no manifest any more')
        body = drain(pieces, self.max_size * 2)
        parts = load_parts(body, '/'.join(part.path.split('/', 3)[:3]))
        if part.etag is not None and slo_etag(json.loads(body)) != part.etag:
            raise SegmentError(f'{part.path}: not what the manifest says')
        return parts

    # -- listings ------------------------------------------------------------
    def _listing(self, env, start_response):
        """A container's listing, in which large objects have their ETag as slo_etag.

        What S3 calls their ETag is s3_etag.
        """
        return answer_changed(self.app, env, start_response, (b'; slo_etag=', b'; s3_etag='),
                              show_etags)


def show_etags(item):
    """Turn what a listing's entry has in its hash of ETags into keys of the entry."""
    value, *facts = item.get('hash', '').split('; ')
    for fact in facts:
        name, _, etag = fact.partition('=')
        if name in ('slo_etag', 's3_etag'):
            item[name] = f'"{etag}"'
        else:
            value += '; ' + fact
    if facts:
        item['hash'] = value


def _plain_type(value):
    """A content type without the parameters that are the store's own."""
    if 'swift_bytes' not in value:
        return value
    return ';'.join(p for p in value.split(';') if not p.strip().startswith('swift_bytes'))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: StaticLargeObjects(app, conf)
