# SPDX-License-Identifier: Apache-2.0
"""Storing manifests of static large objects."""

import hashlib
import json
import mimetypes
import time
from datetime import UTC, datetime
from urllib.parse import quote

from swift.common.conditional import Unsatisfiable, parse_range
from swift.common.middleware.bulk_report import render, report_type
from swift.common.middleware.copy import TRUE, SourceBody
from swift.common.middleware.segments import SegmentError, Segments, discard, drain
from swift.common.middleware.slo_manifest import (
    ManifestError,
    load_parts,
    parse_input,
    slo_etag,
)
from swift.common.parallel import in_parallel
from swift.common.request import (
    STATUS_LINES,
    Request,
    Response,
    answer,
    parse_http_date,
    split_path,
)

BAD = ('Bad Request\nThe server could not comply with the request since it is either malformed '
       'or otherwise incorrect.')
UNPROCESSABLE = 'Unprocessable Entity\nUnable to process the contained instructions'
ETAG, SIZE = 'X-Object-Sysmeta-Slo-Etag', 'X-Object-Sysmeta-Slo-Size'
OVERRIDE = 'X-Object-Sysmeta-Container-Update-Override-Etag'


class ManifestPut:
    """A PUT with ?multipart-manifest=put; ``env`` is changed."""

    def __init__(self, slo, env):
        self.slo, self.env, self.req = slo, env, Request(env)
        self.version, self.account, self.container, self.obj = split_path(env)
        self.segments = Segments(slo.app, env, env.get('swift.authorize'), 'SLO', slo.limits)
        self.seen = {}            # path -> (status, size, etag, fields)
        self.stored = []
        self.problems = []

    def response(self):
        """The Response."""
        body = self._body()
        if isinstance(body, Response):
            return body
        try:
            entries = parse_input(body, f'/{self.container}/{self.obj}', self.slo.max_segments)
        except ManifestError as e:
            return answer(400, str(e))
        if len(entries) > self.slo.max_segments:
            return answer(413, f'Number of segments must be <= {self.slo.max_segments}')
        if self.req.params.get('heartbeat', '').lower() in TRUE:
            kind = report_type(self.env)
            if isinstance(kind, Response):
                return kind
            return Response(202, [('Content-Type', kind)], self._beating(kind, entries))
        for _ in self._check(entries):
            pass
        return self._finish()[0]

    def _body(self):
        length, limit = self.req.content_length, self.slo.max_size
        if length is None and not self.req.chunked:
            return answer(411)
        if length is not None and length > limit:
            return answer(413, f'Manifest must be <= {limit} bytes')
        body = self.env['wsgi.input'].read(limit + 1 if length is None else length)
        if len(body) > limit:
            return answer(413, f'Manifest must be <= {limit} bytes')
        return body

    def _beating(self, kind, entries):
        """The body of an answer that is begun before the work is done."""
        last = time.monotonic()
        for _ in self._check(entries):
            if time.monotonic() - last > self.slo.yield_frequency:
                last = time.monotonic()
                yield b' '
        response, sentence = self._finish()
        facts = {'Response Status': STATUS_LINES[response.status], 'Response Body': sentence}
        if response.status == 201:
            facts['Etag'] = response.get('Etag')
            facts['Last Modified'] = response.get('Last-Modified')
        yield b'\r\n\r\n' + render(kind, facts, self.problems)

    # -- segments ------------------------------------------------------------
    def _check(self, entries):
        """Look at each segment, some at a time; yields after each."""
        base = f'/{self.version}/{self.account}'
        paths = list(dict.fromkeys(_path(entry) for entry in entries if 'path' in entry))
        looks = in_parallel(self.slo.concurrency, self._look, (base + path for path in paths))
        for path, found in zip(paths, looks, strict=True):
            self.seen[path] = found
            yield
        for entry in entries:
            if 'data' in entry:
                self.stored.append({'data': entry['data']})
                continue
            path = _path(entry)
            problem = self._compare(entry, path, self.seen[path], entry is entries[-1])
            problem = problem and (quote(entry['path'], safe='/'), problem)
            if problem and problem not in self.problems:
                self.problems.append(problem)

    def _look(self, path):
        """``(status, size, etag, fields)`` of a segment."""
        status, headers, pieces = self.segments.ask('HEAD', path, query='')
        discard(pieces)
        if status // 100 != 2:
            return status, 0, '', {}
        fields = {'content_type': _no_swift_bytes(headers.get('content-type', '')),
                  'last_modified': _iso(headers.get('last-modified'))}
        if headers.get('x-static-large-object', '').lower() != 'true':
            size = headers.get('content-length')
            if size is None:          # a dynamic large object of unknown length
                return 409, 0, '', {}
            return status, int(size), headers['etag'].strip('"'), fields
        fields['sub_slo'] = True
        if ETAG.lower() in headers and SIZE.lower() in headers:
            return status, int(headers[SIZE.lower()]), headers[ETAG.lower()], fields
        _, _, pieces = self.segments.ask('GET', path)
        try:
            body = drain(pieces, self.slo.max_size * 2)
            size = sum(p.length for p in load_parts(body, ''))
        except SegmentError:
            return 409, 0, '', {}
        return status, size, slo_etag(json.loads(body)), fields

    def _compare(self, entry, path, seen, is_last):
        """What is wrong with a segment, or None when it has become part of the manifest."""
        status, size, etag, fields = seen
        if status // 100 != 2:
            return STATUS_LINES.get(status, str(status))
        if entry.get('etag') and entry['etag'].strip('"') != etag:
            return 'Etag Mismatch'
        if entry.get('size_bytes') is not None and entry['size_bytes'] != size:
            return 'Size Mismatch'
        item = {'name': path, 'bytes': size, 'hash': etag, **fields}
        if not size and not is_last:
            return 'Too small; each segment must be at least 1 byte.'
        if entry.get('range') is not None:
            try:
                ranges = parse_range('bytes=' + entry['range'], size)
            except Unsatisfiable:
                return 'Unsatisfiable Range'
            if ranges is None:
                return 'Invalid Range'
            first, stop = ranges[0]
            if (first, stop) != (0, size):
                item['range'] = f'{first}-{stop - 1}'
        self.stored.append(item)
        return None

    # -- storing -------------------------------------------------------------
    def _finish(self):
        """``(Response, its body in a report)``."""
        if self.problems:
            text = render('text/plain', {}, self.problems)
            return Response(400, [('Content-Type', 'text/plain; charset=UTF-8')], text), BAD
        etag = slo_etag(self.stored)
        given = self.env.get('HTTP_ETAG')
        if given and given.strip('"') != etag:
            return answer(422), UNPROCESSABLE
        body = json.dumps(self.stored).encode()
        size = sum(p.length for p in load_parts(body, ''))
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._prepare(body, digest, etag, size)
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = int(status[:3]), headers

        pieces = self.slo.app(self.env, start)
        text = b''.join(pieces)
        response = Response(got[0], got[1], text)
        if got[0] // 100 == 2:
            response.set('Etag', f'"{etag}"')
        return response, '' if got[0] == 201 else text.decode('utf-8', 'replace')

    def _prepare(self, body, digest, etag, size):
        """Make the request one for the manifest."""
        env, req = self.env, self.req
        kind = _no_swift_bytes(env.get('CONTENT_TYPE') or '')
        if not kind or env.pop('HTTP_X_DETECT_CONTENT_TYPE', '').lower() in TRUE:
            kind = mimetypes.guess_type(self.obj)[0] or 'application/octet-stream'
        env.pop('HTTP_TRANSFER_ENCODING', None)
        env.update({'CONTENT_TYPE': f'{kind};swift_bytes={size}', 'CONTENT_LENGTH': str(len(body)),
                    'swift.own_content_type': True, 'wsgi.input': SourceBody([body])})
        req.set('Etag', digest)
        req.set('X-Static-Large-Object', 'True')
        req.set(ETAG, etag)
        req.set(SIZE, str(size))
        more = req.get(OVERRIDE, '')     # what a filter above has to say, as "; name=value"
        req.set(OVERRIDE, f'{digest}{more}; slo_etag={etag}')


def _path(entry):
    return '/' + entry['path'].lstrip('/')


def _no_swift_bytes(value):
    return ';'.join(p for p in value.split(';') if not p.strip().startswith('swift_'))


def _iso(date):
    seconds = parse_http_date(date) if date else None
    return datetime.fromtimestamp(seconds or 0, UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')
