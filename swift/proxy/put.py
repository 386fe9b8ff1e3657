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
LAST_CHUNK = b'0\r\n\r\n'


def chunk(data):
    """A piece of a body in chunked coding."""
    return b'%x\r\n%b\r\n' % (len(data), data)


def long_chunk(data):
    """The same of a longer piece, which is not copied once more: what `Conn.send` takes."""
    return b'%x\r\n' % len(data), data, b'\r\n'


def small_put(controller, ring, part, nodes, lines, own, body):
    """Send a body that is at hand to all replicas; the Answers."""
    app = controller.app
    path = backend_path(controller.account, controller.container, controller.obj)
    tail = f'Content-Length: {len(body)}\r\n\r\n'

    def build(slot, node):
        return (request_head('PUT', node, part, path, lines) + own[slot] + tail
                ).encode('latin-1') + body

    return Fanout(app, app.write_iter(ring, part, nodes), len(nodes), build, f'PUT {path}').run()


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
        self.nodes = self.app.write_iter(ring, part, nodes)
        self.count, self.part, self.own = len(nodes), part, own
        self.quorum = quorum_size(self.count)
        self.first, self.source, self.length = first, source, length
        self.lines = f'{lines}{self.framing()}Expect: 100-continue\r\n'
        self.answers = []
        self.what = 'PUT ' + self.path

    # -- what other kinds of upload do their own way --------------------------
    def framing(self):
        """Header lines that say where the body ends."""
        if self.length is None:
            return 'Transfer-Encoding: chunked\r\n'
        return f'Content-Length: {self.length}\r\n'

    def accepts(self, reply):
        """Whether a node that says 100 understands what is going to be sent."""
        return True

    def begin(self, replicas):
        """Before the first byte."""

    def pass_on(self, data, replicas):
        """Queue some bytes of the body."""
        self.queue_all(data if self.length is not None else long_chunk(data), replicas)

    def finish(self, replicas):
        """After the last byte."""
        if self.length is None:
            self.queue_all(LAST_CHUNK, replicas)

    # -- the way of a body ----------------------------------------------------
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
            self.begin(replicas)
            self._feed(replicas)
            self._end_queues(replicas)
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
                    if self.accepts(reply):
                        return Replica(node, conn, app.put_queue_depth)
                    raise ConnectionError('it does not understand the form of the body')
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
        if live >= self.quorum:
            return
        refused = [a for a in self.answers if a.status < 500]
        if len(refused) >= quorum_size(self.count):
            best = refused[0]
            raise Abort(answer(best.status))
        self.app.logger.error('Object PUT %s: %s of %s replicas take part, %s are needed',
                              self.path, live, self.count, self.quorum)
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
                self.pass_on(data, replicas)
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
        self.finish(replicas)

    def queue_all(self, piece, replicas):
        """Queue a piece for every replica."""
        for replica in replicas:
            if not replica.failed:
                self.put(replica, piece)

    def put(self, replica, piece):
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

    def _end_queues(self, replicas):
        """Let the senders end, and wait for them."""
        app = self.app
        self.queue_all(b'', replicas)
        for replica in replicas:
            if not replica.failed:
                try:
                    with Timeout(app.node_timeout * max(1, app.put_queue_depth)):
                        replica.done.wait()
                except Timeout as e:
                    self._give_up(replica, e)
        self._check_quorum(replicas)

    def _collect(self, replicas):
        """Wait for the answers; after a quorum not for long."""
        left = self.await_replies([r for r in replicas if not r.failed], self._take_answer,
                                  self._is_stored)
        for replica in left:
            replica.conn.close()

    def _is_stored(self):
        return sum(a.status // 100 == 2 for a in self.answers) >= self.quorum

    def _take_answer(self, replica, reply, left):
        if reply.status == 100:
            return False
        body = reply.read_all(left, MAX_BODY)
        if not self.app.server_error(replica.node, 'Object', reply, self.what):
            self.answers.append(Answer(reply.status, reply, body, replica.node))
        return True

    def await_replies(self, live, take, enough):
        """Give the replies of replicas to `take(replica, reply, seconds left)` as they come.

        That says whether it was the one waited for. Replicas that said nothing once `enough()`
        are returned; those that fail are given up.
        """
        app = self.app
        deadline = time.monotonic() + app.node_timeout
        while live:
            again = []
            for replica in live:
                left = deadline - time.monotonic()
                try:
                    if left <= 0:
                        raise expired(ResponseTimeout, app.node_timeout)
                    reply = replica.conn.read_head(min(app.post_quorum_timeout or 0.001, left))
                    if not take(replica, reply, max(left, 0.1)):
                        again.append(replica)
                except ResponseTimeout as e:
                    if left > 0:
                        again.append(replica)
                    else:
                        self._give_up(replica, e)
                except FAILURES as e:
                    self._give_up(replica, e)
            live = again
            if live and enough():
                return live
        return []
