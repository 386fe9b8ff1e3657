# SPDX-License-Identifier: Apache-2.0
"""Reading from one of several replicas: which answer to take, and going on when a node dies.

Nodes are asked one after the other, primaries in random order first. A small body is read whole
before anything is sent to the client, so that a failure costs the client nothing. A longer one is
streamed; when its node fails in the middle, another one with the same content is asked for the
rest.
"""

from swift.common.http_client import StaleConnection
from swift.common.request import Response, answer
from swift.common.timestamp import Timestamp
from swift.proxy.backend import FAILURES, HOP, Answer, choose, quorum_size, request_head
from swift.proxy.multirange import MultiRange, boundary_of

INLINE = 65536          # bodies up to here are read whole first


class SourceLost(ConnectionError):
    """No node could deliver the rest of a body; the client's connection has to be cut."""


class Getter:
    """One GET or HEAD against a partition's nodes.

    ``headers`` are the request's header lines, each ended by CR LF; ``resume`` allows going on in
    the middle of a body (objects). Use: ``Getter(...).response()``.
    """

    def __init__(self, app, method, kind, nodes, replicas, part, path, headers, *, query='',
                 newest=False, resume=False, timeout=None):
        self.app, self.method, self.kind = app, method, kind
        self.nodes, self.replicas = nodes, replicas
        self.part, self.path, self.headers, self.query = part, path, headers, query
        self.newest, self.resume = newest, resume
        self.timeout = timeout or app.recoverable_node_timeout
        self.rejected = []       # Answers that were no source
        self.candidates = []     # good sources, for newest
        self.used = set()        # devices a body was already read from

    # -- one node ------------------------------------------------------------
    def ask(self, node, headers):
        """The node's Reply, or None when it gave none; failures are counted against it."""
        app = self.app
        data = (request_head(self.method, node, self.part, self.path, headers, self.query)
                + '\r\n').encode('latin-1')
        fresh = False
        while True:
            conn = None
            try:
                conn = app.pool.connect((node['ip'], node['port']), fresh)
                conn.send(data, self.timeout)
                return conn.read_head(self.timeout)
            except StaleConnection:
                fresh = True
            except FAILURES as e:
                if conn is not None:
                    conn.close()
                app.failed(node, self.kind, e, self.method)
                return None
            except BaseException:    # nor must a green thread that is ended leave it open
                if conn is not None:
                    conn.close()
                raise

    def good(self, reply):
        """Whether this is the answer the client should get."""
        status = reply.status
        return 200 <= status < 400 or (status == 416 and self.kind == 'Object')

    # -- choosing ------------------------------------------------------------
    def find(self):
        """``(reply, node)`` of the source to use; None when there is none."""
        newest_dead = None
        for node in self.nodes:
            reply = self.ask(node, self.headers)
            if reply is None:
                if 'handoff_index' not in node:
                    self.rejected.append(Answer(503, node=node))
                continue
            if self.good(reply):
                if not self.newest:
                    if newest_dead and stamp(reply.headers) < newest_dead:
                        reply.drain()           # deleted since: a node that missed it
                        continue
                    return reply, node
                self.candidates.append((stamp(reply.headers), reply, node))
                if len(self.candidates) + len(self.rejected) >= self.replicas:
                    break
                continue
            if reply.status == 404 and 'x-backend-timestamp' in reply.headers:
                dead = stamp(reply.headers)
                newest_dead = max(dead, newest_dead) if newest_dead else dead
            self._reject(reply, node)
        return self._newest(newest_dead) if self.newest else None

    def _reject(self, reply, node):
        handoff = 'handoff_index' in node
        if self.app.server_error(node, self.kind, reply, self.method):
            reply.drain()
            if not handoff:
                self.rejected.append(Answer(503, node=node))
            return
        # A handoff that never saw the thing says nothing about it.
        if handoff and reply.status == 404 and 'x-backend-timestamp' not in reply.headers:
            reply.drain()
            return
        try:
            body = reply.read_all(self.timeout, 1 << 20)
        except FAILURES:
            body = b''
        self.rejected.append(Answer(reply.status, reply, body, node))

    def _newest(self, newest_dead):
        self.candidates.sort(key=lambda c: c[0], reverse=True)
        best = None
        for when, reply, node in self.candidates:
            if best is None and not (newest_dead and when < newest_dead):
                best = reply, node
            else:
                reply.close()
        return best

    def verdict(self):
        """The Answer when no node had a source."""
        best = choose(self.rejected, self.replicas)
        if best is None:
            gone = [a for a in self.rejected if a.status == 404
                    and 'x-backend-timestamp' in a.headers]
            if gone and quorum_size(self.replicas) <= 1:
                best = gone[0]
        return None if best is not None and self._may_be_on_the_way(best) else best

    def _may_be_on_the_way(self, best):
        """Whether the only places that lack an object, and know of no deletion, may just have got
        its partition by a rebalance: others, who may have it, did not answer."""
        if best.status != 404 or self.kind != 'Object':
            return False
        heard = [a for a in self.rejected if a.status < 500]
        if len(heard) >= self.replicas or \
                any('x-backend-timestamp' in a.headers for a in heard):
            return False
        return len(heard) <= min(self.app.missing_suppression, self.replicas - 1)

    # -- the response --------------------------------------------------------
    def response(self):
        """The client's Response."""
        while True:
            source = self.find()
            if source is None:
                return self._failure()
            reply, node = source
            headers = self._client_headers(reply)
            status = reply.status
            if self.method == 'HEAD' or reply.done:
                body = b''
                if self.method == 'HEAD' and reply.left is None and not reply.done:
                    reply.close()
                reply.drain()
            elif reply.left is not None and reply.left <= INLINE:
                try:
                    body = reply.read_all(self.timeout)
                except FAILURES as e:
                    self.app.failed(node, self.kind, e, self.method)
                    continue
                return Response(status, headers, body)
            elif self.resume and boundary_of(reply) is not None:
                body = self._stream_ranges(reply, node)
            else:
                body = self._stream(reply, node)
            return Response(status, headers, body)

    def _client_headers(self, reply):
        headers = [h for h in reply.items if h[0].lower() not in HOP]
        etag = reply.headers.get('etag')
        if etag is not None and etag[:1] == '"':
            # Clients of this API have always got the bare digest.
            headers = [(n, v.strip('"') if n.lower() == 'etag' else v) for n, v in headers]
        return headers

    def _failure(self):
        best = self.verdict()
        if best is None:
            return answer(503)
        if best.status == 404 or not best.body:
            response = answer(best.status)
        else:
            response = Response(best.status, [(n, v) for n, v in best.items
                                              if n.lower() not in HOP
                                              and n.lower() != 'content-length'], best.body)
        have = {n.lower() for n, _ in response.headers}
        response.headers += [(n, v.strip('"')) for n, v in best.items
                             if n.lower().startswith(('x-', 'etag', 'last-modified'))
                             and n.lower() not in have]
        return response

    def _stream(self, reply, node):
        """The body in pieces; goes on elsewhere when the node fails."""
        position = Position(reply) if self.resume else None
        size = self.app.object_chunk_size
        try:
            while True:
                try:
                    data = reply.read(size, self.timeout)
                except FAILURES as e:
                    self.app.failed(node, self.kind, e, 'reading ' + self.path)
                    reply.close()
                    reply, node = self._next_source(position)
                    continue
                if not data:
                    return
                if position is not None:
                    position.sent += len(data)
                yield data
        finally:
            reply.close()

    def _stream_ranges(self, reply, node):
        spec = next(line for line in self.headers.split('\r\n')
                    if line.lower().startswith('range:')).partition(':')[2].strip()
        return MultiRange(
            reply, node, spec, self.app.object_chunk_size, self.timeout,
            lambda line, etag: self._ask_again(
                line, lambda r: r.status == 206 and r.headers.get('etag') == etag),
            lambda n, e: self.app.failed(n, self.kind, e, 'reading ' + self.path),
            FAILURES).pieces()

    def _next_source(self, position):
        if position is None or not position.resumable:
            raise SourceLost('a storage node failed in the middle of a body')
        return self._ask_again(position.range_header(), position.fits)

    def _ask_again(self, range_line, fits):
        """``(reply, node)`` of the next node with the rest; SourceLost when none has it."""
        headers = ''.join(line + '\r\n' for line in self.headers.split('\r\n')
                          if line and not line.lower().startswith(('range:', 'if-')))
        headers += range_line
        for node in self.nodes:
            reply = self.ask(node, headers)
            if reply is None:
                continue
            if fits(reply):
                return reply, node
            self.app.server_error(node, self.kind, reply, self.method)
            reply.close()
        raise SourceLost('no storage node could deliver the rest of a body')


class Position:
    """How far a body was delivered, and what another source must be to go on from there."""

    def __init__(self, reply):
        self.sent = 0
        self.etag = reply.headers.get('etag')
        self.start, self.resumable = 0, True
        self.end = (reply.left or 0) - 1
        if reply.status == 206:
            try:
                span = reply.headers['content-range'].split(' ', 1)[1].partition('/')[0]
                first, _, last = span.partition('-')
                self.start, self.end = int(first), int(last)
            except (KeyError, ValueError, IndexError):
                self.resumable = False          # several ranges: the framing is the node's own
        elif reply.status != 200 or reply.left is None:
            self.resumable = False

    def range_header(self):
        return f'Range: bytes={self.start + self.sent}-{self.end}\r\n'

    def fits(self, reply):
        """Whether a reply is exactly the missing rest of the same content."""
        want = f'bytes {self.start + self.sent}-{self.end}/'
        return (reply.status == 206 and reply.headers.get('etag') == self.etag
                and reply.headers.get('content-range', '').startswith(want))


def stamp(headers):
    """When what an answer talks about was written; zero when it does not say."""
    text = headers.get('x-backend-data-timestamp') or headers.get('x-backend-timestamp') or \
        headers.get('x-put-timestamp') or headers.get('x-timestamp')
    try:
        return Timestamp(text or 0)
    except ValueError:
        return Timestamp(0)
