# SPDX-License-Identifier: Apache-2.0
"""Reading one erasure coded object: ask nodes until enough fragments of one version are there.

As many nodes are asked at once as are needed, those first whose fragments are the data itself; for
each that has nothing to give another one is asked. Several ranges are read one after the other,
once a HEAD has told the length of the object.
"""

import json
import os
import time

from swift.common import ec
from swift.common.conditional import Unsatisfiable, parse_range, range_specs
from swift.common.http_client import StaleConnection
from swift.common.request import Response, answer
from swift.proxy.backend import FAILURES, HOP, Answer, choose, request_head
from swift.proxy.ec_answers import Answers, moment
from swift.proxy.ec_body import Decoder, Source, extent
from swift.proxy.ec_ranges import fragment_range
from swift.proxy.get import INLINE, SourceLost

_OF_ARCHIVES = ('content-length', 'content-range', 'etag', 'accept-ranges')


def about_object(headers):
    """Headers of a fragment archive as those of its object; the rest of a scheme is left out."""
    own = {n.lower(): v for n, v in headers}
    out = [(n, v) for n, v in headers if n.lower() not in _OF_ARCHIVES
           and not n.lower().startswith(ec.PREFIX) and n.lower() not in HOP]
    etag = own.get(ec.ETAG.lower())
    return out + ([('Etag', etag)] if etag else [])


class EcGetter:
    """One GET or HEAD. ``nodes`` are primaries and handoffs in the order to ask them.

    ``lines`` are the request's header lines without Range, ``spec`` is the client's Range value or
    None. Use: ``EcGetter(...).response()``.
    """

    def __init__(self, app, coding, method, new_nodes, part, path, lines, spec, newest=False):
        self.app, self.coding, self.method = app, coding, method
        self.new_nodes, self.nodes = new_nodes, new_nodes()
        self.part, self.path, self.lines, self.spec = part, path, lines, spec
        self.newest = newest
        self.answers = Answers(coding)
        self.asked = set()
        self.range_line = ''
        self.timeout = app.recoverable_node_timeout

    def response(self):
        """The client's Response."""
        if self.method == 'HEAD':
            return self._head(self.lines)
        pairs = range_specs(self.spec)
        if pairs is not None and len(pairs) > 1:
            return self._several()
        return self._one(pairs[0] if pairs else None)

    def _head(self, lines):
        """Any fragment has all of the metadata."""
        response = self.app.getter(self.app, 'HEAD', 'Object', self.nodes, self.coding.replicas,
                                   self.part, self.path, lines, newest=self.newest).response()
        length = response.get(ec.LENGTH)
        status = response.status
        if length is not None:
            response.headers = about_object(response.headers)
            if status == 200:
                response.headers.append(('Content-Length', length))
        return response

    # -- one range, or all --------------------------------------------------------
    def _one(self, pair):
        line = ''
        if pair is not None:
            first, last = pair
            line = 'Range: ' + fragment_range(first, last, self.coding.segment_size,
                                              self.coding.fragment_size) + '\r\n'
        version = self.collect(line)
        if version is None:
            return self._failure()
        reply = version.newest
        headers = about_object(reply.items)
        if version.status in (304, 412):
            version.close()
            return Response(version.status, headers)
        length = int(reply.headers.get(ec.LENGTH.lower(), '0'))
        if version.status == 416:
            version.close()
            return self._unsatisfiable(headers, length)
        # A node that gives all of it though a range was asked for found If-Range not to hold.
        ranged = self.spec if version.status == 206 else None
        try:
            ranges = parse_range(ranged, length)
        except Unsatisfiable:
            version.close()
            return self._unsatisfiable(headers, length)
        start, stop = ranges[0] if ranges else (0, length)
        headers.append(('Content-Length', str(stop - start)))
        if ranges:
            headers.append(('Content-Range', f'bytes {start}-{stop - 1}/{length}'))
        try:
            body = self._body(version, start, stop)
        except (SourceLost, ValueError) as e:
            self.app.logger.error('Object GET %s: %s', self.path, e)
            return answer(503)
        return Response(206 if ranges else 200, headers, body)

    @staticmethod
    def _unsatisfiable(headers, length):
        return Response(416, [*headers, ('Content-Range', f'bytes */{length}')],
                        b'The Range requested is not available.')

    def _body(self, version, start, stop):
        """Bytes of a small range, an iterable for others."""
        indexes = sorted(version.fragments)[:self.coding.data]
        version.close(but=indexes)
        sources = [Source(i, *version.fragments[i]) for i in indexes]
        if start == stop:
            version.close()
            return b''
        decoder = Decoder(self.app, self.coding, sources, start, stop,
                          lambda used, at, end: self._replace(version, used, at, end), self.path)
        return b''.join(decoder) if stop - start <= INLINE else decoder

    # -- several ranges -----------------------------------------------------------
    def _several(self):
        lines, self.lines = self.lines, _without_conditions(self.lines)
        head = self._head(lines)
        if head.status != 200:
            return head
        length = int(head.get('Content-Length', '0'))
        try:
            ranges = parse_range(self.spec, length)
        except Unsatisfiable:
            return self._unsatisfiable([h for h in head.headers
                                        if h[0].lower() != 'content-length'], length)
        if self._if_range_fails(lines, head) or ranges is None:
            return self._again(None)._one(None)
        if len(ranges) == 1:
            start, stop = ranges[0]
            return self._again(f'bytes={start}-{stop - 1}')._one((start, stop - 1))
        boundary = os.urandom(16).hex()
        kind = head.get('Content-Type') or 'application/octet-stream'
        parts = [((f'--{boundary}\r\nContent-Type: {kind}\r\n'
                   f'Content-Range: bytes {start}-{stop - 1}/{length}\r\n\r\n').encode('latin-1'),
                  start, stop) for start, stop in ranges]
        tail = f'--{boundary}--'.encode()
        size = len(tail) + sum(len(text) + stop - start + 2 for text, start, stop in parts)
        headers = [h for h in head.headers
                   if h[0].lower() not in ('content-type', 'content-length')]
        headers += [('Content-Type', f'multipart/byteranges;boundary={boundary}'),
                    ('Content-Length', str(size))]
        return Response(206, headers, self._parts(parts, tail, head.get('Etag')))

    @staticmethod
    def _if_range_fails(lines, head):
        for line in lines.split('\r\n'):
            name, _, value = line.partition(':')
            if name.lower() == 'if-range':
                return value.strip().strip('"') not in (head.get('Etag'),
                                                        head.get('Last-Modified'))
        return False

    def _again(self, spec):
        """The same request for something else of the object."""
        return type(self)(self.app, self.coding, 'GET', self.new_nodes, self.part, self.path,
                          self.lines, spec)

    def _parts(self, parts, tail, etag):
        for text, start, stop in parts:
            response = self._again(f'bytes={start}-{stop - 1}')._one((start, stop - 1))
            if response.status != 206 or response.get('Etag') != etag:
                raise SourceLost('the object was replaced while ranges of it were read')
            yield text
            if isinstance(response.body, bytes):
                yield response.body
            else:
                yield from response.body
            yield b'\r\n'
        yield tail

    # -- asking nodes --------------------------------------------------------------
    def collect(self, range_line):
        """The Version to answer with, its bodies open; None when there is none."""
        self.range_line = range_line
        wanted = self.coding.data
        while wanted > 0:
            calls = self._ask(wanted)
            if not calls:
                break
            for node, reply in calls:
                self._take(node, reply)
            wanted = self.answers.missing()
        best = self.answers.best
        if self.answers.is_readable(best):
            for version in self.answers.versions.values():
                if version is not best:
                    version.close()
            return best
        for version in self.answers.versions.values():
            version.close()
        return None

    def _next(self):
        """The next node to ask; those that have more than they gave when all were asked."""
        node = next(self.nodes, None)
        if node is not None:
            return node
        for node, index in self.answers.alternates(self.asked):
            self.asked.add((node['id'], index))
            return node
        return None

    def _ask(self, count):
        """``(node, Reply or None)`` of the next ``count`` nodes, asked all at once."""
        preferences = self.answers.preferences()
        calls = []
        for _ in range(count):
            node = self._next()
            if node is None:
                break
            calls.append((node, self.send(node, self.range_line, preferences)))
        deadline = time.monotonic() + self.timeout
        return [(node, self.receive(call, node, deadline)) for node, call in calls]

    def send(self, node, range_line, preferences, fresh=False):
        """A request on its way, ``(connection, its bytes)``; None when it cannot be sent."""
        data = (request_head('GET', node, self.part, self.path, self.lines) + range_line
                + f'X-Backend-Fragment-Preferences: {preferences}\r\n\r\n').encode('latin-1')
        return self._send(node, data, fresh)

    def _send(self, node, data, fresh=False):
        app = self.app
        while True:
            conn = None
            try:
                conn = app.pool.connect((node['ip'], node['port']), fresh)
                conn.send(data, self.timeout)
                return conn, data
            except StaleConnection:
                fresh = True
            except FAILURES as e:
                if conn is not None:
                    conn.close()
                app.failed(node, 'Object', e, 'GET ' + self.path)
                return None
            except BaseException:    # nor must a green thread that is ended leave it open
                if conn is not None:
                    conn.close()
                raise

    def receive(self, call, node, deadline):
        """The Reply to a request, None when none came in time."""
        while call is not None:
            conn, data = call
            try:
                return conn.read_head(max(0.001, deadline - time.monotonic()))
            except StaleConnection:
                call = self._send(node, data, fresh=True)
            except FAILURES as e:
                conn.close()
                self.app.failed(node, 'Object', e, 'GET ' + self.path)
                return None
            except BaseException:
                conn.close()
                raise
        return None

    def _take(self, node, reply):
        handoff = 'handoff_index' in node
        if reply is None:
            if not handoff:
                self.answers.reject(Answer(503, node=node))
            return
        if self.answers.add(reply, node):
            return
        if self.app.server_error(node, 'Object', reply, 'GET ' + self.path):
            reply.drain()
            if not handoff:
                self.answers.reject(Answer(503, node=node))
            return
        if handoff and reply.status == 404 and 'x-backend-timestamp' not in reply.headers:
            reply.drain()                 # it never saw the object and says nothing about it
            return
        try:
            body = reply.read_all(self.timeout, 1 << 20)
        except FAILURES:
            body = b''
        self.answers.reject(Answer(reply.status, reply, body, node))

    def _failure(self):
        best = choose(self.answers.verdict_answers(), self.coding.replicas)
        if best is None:
            return answer(503)
        response = answer(best.status)
        response.headers += [(n, v) for n, v in best.items
                             if n.lower().startswith('x-') or n.lower() == 'last-modified']
        return response

    # -- when a node fails in the middle --------------------------------------------
    def _replace(self, version, used, position, stop):
        """A Source that goes on at ``position`` of its archive; SourceLost when there is none."""
        preferences = json.dumps([{'timestamp': version.time.internal,
                                   'exclude': sorted(used)}])
        line = f'Range: bytes={position}-{stop - 1}\r\n'
        self.lines = _without_conditions(self.lines)
        candidates = [node for index, nodes in version.elsewhere.items() if index not in used
                      for node in nodes]
        held = {i: node for i, (_, node) in version.fragments.items() if i not in used}
        for node in (*held.values(), *candidates, *self.nodes):
            call = self.send(node, line, preferences)
            reply = self.receive(call, node, time.monotonic() + self.timeout)
            if reply is None:
                continue
            index = self._fits(version, reply, used, position, stop)
            if index is not None:
                return Source(index, reply, node)
            self.app.server_error(node, 'Object', reply, 'GET ' + self.path)
            reply.close()
        raise SourceLost('no storage node could deliver the rest of a fragment archive')

    @staticmethod
    def _fits(version, reply, used, position, stop):
        """The index of the fragment a reply goes on with; None when it is of no use."""
        headers = reply.headers
        index = headers.get(ec.FRAG_INDEX.lower(), '')
        if reply.status not in (200, 206) or not index.isdigit() or int(index) in used or \
                moment(headers.get('x-backend-data-timestamp')) != version.time or \
                headers.get(ec.ETAG.lower()) != version.etag:
            return None
        try:
            return int(index) if extent(reply) == (position, stop) else None
        except ValueError:
            return None


def _without_conditions(lines):
    return ''.join(line + '\r\n' for line in lines.split('\r\n')
                   if line and not line.lower().startswith(('if-', 'range:')))
