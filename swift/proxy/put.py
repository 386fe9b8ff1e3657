# SPDX-License-Identifier: Apache-2.0
"""Writing one object to its replicas.

A small body is read whole and sent along with the headers. A long one is announced with
Expect: 100-continue, so that a node that will not take it costs no bytes; then one reader feeds
one bounded queue for each replica, and the slowest node slows the client down.
"""

import time

from swift.common.concurrency import Event, GreenPool, Queue, Timeout, spawn
from swift.common.exceptions import ChunkReadError, ChunkReadTimeout, ResponseTimeout, expired
from swift.common.http_client import StaleConnection
from swift.common.request import Abort, answer
from swift.proxy.backend import (
    FAILURES,
    MAX_BODY,
    Answer,
    Fanout,
    backend_path,
    quorum_size,
    request_head,
)

INLINE = 65536          # bodies up to here are read whole first


def small_put(controller, ring, part, nodes, lines, own, body):
    """Send a body that is at hand to all replicas; the Answers."""
    app = controller.app
    path = backend_path(controller.account, controller.container, controller.obj)
    tail = f'Content-Length: {len(body)}\r\n\r\n'

    def build(slot, node):
        return (request_head('PUT', node, part, path, lines) + own[slot] + tail
                ).encode('latin-1') + body

    return Fanout(app, app.node_iter(ring, part, nodes), len(nodes), build, f'PUT {path}').run()


class Replica:
    """One node that takes the body."""

    __slots__ = ('node', 'conn', 'queue', 'failed', 'done')

    def __init__(self, node, conn, depth):
        self.node, self.conn = node, conn
        self.queue = Queue(depth)
        self.failed = False
        self.done = Event()

    def abandon(self):
        """Close the connection; the object server drops what it got, the sender ends."""
        self.failed = True
        self.conn.close()
        if not self.queue.full():
            self.queue.put(b'')          # a sender that waits for more must not wait for ever


class Upload:
    """A long body on its way from one client to all replicas."""

    def __init__(self, controller, ring, part, nodes, lines, own, first, source, length):
        self.app, self.controller = controller.app, controller
        self.path = backend_path(controller.account, controller.container, controller.obj)
        self.nodes = self.app.node_iter(ring, part, nodes)
        self.count, self.part, self.own = len(nodes), part, own
        self.first, self.source, self.length = first, source, length
        framing = 'Transfer-Encoding: chunked' if length is None else f'Content-Length: {length}'
        self.lines = f'{lines}{framing}\r\nExpect: 100-continue\r\n'
        self.answers = []
        self.what = 'PUT ' + self.path

    def run(self):
        """The Answers of all replicas. Raises Abort when too few nodes take part."""
        pool = GreenPool(self.count)
        replicas = [r for r in pool.imap(self._connect, range(self.count)) if r is not None]
        try:
            # A refusal by anyone (a newer object, a condition) is the answer already.
            if any(a.status in (409, 412) for a in self.answers):
                for replica in replicas:
                    replica.conn.close()
                return self._padded()
            self._check_quorum(replicas)
            for replica in replicas:
                spawn(self._send, replica)
            self._feed(replicas)
            self._collect(replicas)
        except BaseException:      # a timeout or the thread's end, too, must not leave them open
            for replica in replicas:
                replica.abandon()
            raise
        return self._padded()

    def _padded(self):
        missing = self.count - len(self.answers)
        return self.answers + [Answer(503)] * max(0, missing)

    def _connect(self, slot):
        """Announce the body to one node, or to one that stands in; None when it was refused."""
        app = self.app
        node, fresh = next(self.nodes, None), False
        while node is not None:
            conn = None
            try:
                conn = app.pool.connect((node['ip'], node['port']), fresh)
                conn.send((request_head('PUT', node, self.part, self.path, self.lines)
                           + self.own[slot] + '\r\n').encode('latin-1'), app.node_timeout)
                reply = conn.read_head(app.node_timeout)
                if reply.status == 100:
                    conn.method = b'PUT'
                    return Replica(node, conn, app.put_queue_depth)
                if not app.server_error(node, 'Object', reply, self.what):
                    self.answers.append(Answer(
                        reply.status, reply, reply.read_all(app.node_timeout, MAX_BODY), node))
                    conn.close()
                    return None
                conn.close()
            except StaleConnection:
                fresh = True
                continue
            except FAILURES as e:
                if conn is not None:
                    conn.close()
                app.failed(node, 'Object', e, self.what)
            node, fresh = next(self.nodes, None), False
        return None

    def _check_quorum(self, replicas):
        live = sum(not r.failed for r in replicas)
        if live >= quorum_size(self.count):
            return
        refused = [a for a in self.answers if a.status < 500]
        if len(refused) >= quorum_size(self.count):
            best = refused[0]
            raise Abort(answer(best.status))
        self.app.logger.error('Object PUT %s: %s of %s replicas take part, %s are needed',
                              self.path, live, self.count, quorum_size(self.count))
        raise Abort(answer(503))

    def _feed(self, replicas):
        """Read the client's body and put each piece into every queue."""
        app, source = self.app, self.source
        most = app.constraints.max_file_size
        total, data = 0, self.first
        size = app.client_chunk_size
        read = getattr(source, 'read1', source.read)
        while True:
            if data:
                total += len(data)
                if total > most:
                    raise Abort(answer(413, 'Your request is too large.'))
                piece = data if self.length is not None else b'%x\r\n%b\r\n' % (len(data), data)
                for replica in replicas:
                    if not replica.failed:
                        self._put(replica, piece)
                self._check_quorum(replicas)
                if total == self.length:
                    break
            try:
                data = read(size)
            except (ChunkReadError, ChunkReadTimeout):
                raise
            except OSError as e:
                raise ChunkReadError(str(e)) from e
            if not data:
                break
        if self.length is not None and total < self.length:
            raise ChunkReadError('the body is shorter than its Content-Length')
        for replica in replicas:
            if not replica.failed:
                if self.length is None:
                    self._put(replica, b'0\r\n\r\n')
                self._put(replica, b'')

    def _put(self, replica, piece):
        """Queue a piece; a node that takes nothing for the node timeout is given up."""
        if replica.queue.full():
            try:
                with Timeout(self.app.node_timeout):
                    replica.queue.put(piece)
                return
            except Timeout as e:
                self._give_up(replica, e)
        else:
            replica.queue.put(piece)

    def _give_up(self, replica, error):
        if not replica.failed:
            replica.abandon()
            self.app.failed(replica.node, 'Object', error, self.what)

    def _send(self, replica):
        """The green thread that empties one queue onto its connection."""
        try:
            while not replica.failed:
                piece = replica.queue.get()
                if not piece:
                    break
                replica.conn.send(piece, self.app.node_timeout)
        except FAILURES as e:
            self._give_up(replica, e)
            while not replica.queue.empty():      # whoever waits for room must go on
                replica.queue.get()
        finally:
            replica.done.send(None)

    def _collect(self, replicas):
        """Wait for the queues to empty, then for the answers."""
        app = self.app
        live = []
        for replica in replicas:
            if not replica.failed:
                try:
                    with Timeout(app.node_timeout * max(1, app.put_queue_depth)):
                        replica.done.wait()
                except Timeout as e:
                    self._give_up(replica, e)
            if not replica.failed:
                live.append(replica)
        self._check_quorum(replicas)
        deadline = time.monotonic() + app.node_timeout
        while live:
            again = []
            for replica in live:
                left = deadline - time.monotonic()
                try:
                    if left <= 0:
                        raise expired(ResponseTimeout, app.node_timeout)
                    reply = replica.conn.read_head(min(app.post_quorum_timeout or 0.001, left))
                    if reply.status == 100:
                        again.append(replica)
                        continue
                    body = reply.read_all(max(left, 0.1), MAX_BODY)
                except ResponseTimeout as e:
                    if left > 0:
                        again.append(replica)
                    else:
                        self._give_up(replica, e)
                    continue
                except FAILURES as e:
                    self._give_up(replica, e)
                    continue
                if not app.server_error(replica.node, 'Object', reply, self.what):
                    self.answers.append(Answer(reply.status, reply, body, replica.node))
            live = again
            if live and sum(a.status // 100 == 2 for a in self.answers) \
                    >= quorum_size(self.count):
                for replica in live:
                    replica.conn.close()
                break
