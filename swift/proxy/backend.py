# SPDX-License-Identifier: Apache-2.0
"""Requests to several storage nodes at once, and one verdict from their answers.

No green thread is spawned: small requests are written to all nodes one after the other (the
kernel takes them), then the answers are collected in turn. A node that fails is replaced by the
next one of the list. After a quorum the rest get ``post_quorum_timeout`` more.
"""

import time
from urllib.parse import quote

from swift.common.exceptions import (
    ChunkReadError,
    ChunkReadTimeout,
    ChunkWriteTimeout,
    ConnectionTimeout,
    ResponseTimeout,
    expired,
)
from swift.common.http_client import StaleConnection
from swift.common.request import Response, answer

FAILURES = (OSError, ChunkReadError, ChunkReadTimeout, ChunkWriteTimeout, ConnectionTimeout,
            ResponseTimeout)
MAX_BODY = 1 << 20            # of an answer to an update
_names: dict[str, str] = {}


def header_name(key):
    """``X-Object-Meta-Color`` from ``HTTP_X_OBJECT_META_COLOR``."""
    name = _names.get(key)
    if name is None:
        name = (key[5:] if key.startswith('HTTP_') else key).replace('_', '-').title()
        if len(_names) < 4096:
            _names[key] = name
    return name


def quorum_size(n):
    """How many of n replicas make a write good: a majority, half when n is even."""
    return (n + 1) // 2


def backend_path(account, container=None, obj=None):
    """The quoted tail of a backend request's path."""
    path = '/' + account
    if container is not None:
        path += '/' + container
        if obj is not None:
            path += '/' + obj
    return quote(path, errors='surrogateescape')


def request_head(method, node, part, path, headers, query=''):
    """The bytes of a backend request's head but for its end; ``headers`` are lines joined."""
    return (f"{method} /{node['device']}/{part}{path}{'?' + query if query else ''} HTTP/1.1\r\n"
            f"Host: {node['ip']}:{node['port']}\r\n{headers}")


class Answer:
    """What one node said, or what stands for its silence. ``reply`` is the head of its answer."""

    __slots__ = ('status', 'reply', 'body', 'node')

    def __init__(self, status, reply=None, body=b'', node=None):
        self.status, self.reply, self.body, self.node = status, reply, body, node

    @property
    def headers(self):
        """By lower-case name."""
        return self.reply.headers if self.reply is not None else {}

    @property
    def items(self):
        """As sent."""
        return self.reply.items if self.reply is not None else ()

    @property
    def etag(self):
        """The content's digest as the node computed it, without quotes."""
        value = self.reply.field('etag') if self.reply is not None else None
        return value.strip('"') if value else None


class _Call:
    __slots__ = ('slot', 'node', 'conn', 'data', 'waited')

    def __init__(self, slot, node, conn, data):
        self.slot, self.node, self.conn, self.data = slot, node, conn, data
        self.waited = False


class Fanout:
    """The same request to ``count`` nodes.

    ``build(slot, node)`` gives the whole request as bytes; a slot is the number of the replica,
    also when a handoff stands in. `run` returns one Answer per slot; a slot that no node answered
    is a 503.
    """

    def __init__(self, app, nodes, count, build, what, kind='Object'):
        self.app, self.nodes, self.count, self.build = app, nodes, count, build
        self.what, self.kind = what, kind
        self.answers = []

    def _start(self, slot, node=None, fresh=False):
        app = self.app
        while True:
            if node is None:
                node = next(self.nodes, None)
                if node is None:
                    return None
            try:
                conn = app.pool.connect((node['ip'], node['port']), fresh)
                data = self.build(slot, node)
                conn.send(data, app.node_timeout)
                return _Call(slot, node, conn, data)
            except StaleConnection:
                fresh = True
                continue
            except FAILURES as e:
                app.failed(node, self.kind, e, self.what)
            node, fresh = None, False

    def run(self):
        """All answers, at the latest after the node timeout."""
        app = self.app
        live = [call for slot in range(self.count) if (call := self._start(slot)) is not None]
        deadline = time.monotonic() + app.node_timeout
        while live:
            again = []
            for call in live:
                nxt = self._collect(call, deadline)
                if nxt is not None:
                    again.append(nxt)
            live = again
            if live and all(c.waited for c in live) and self._decided():
                for call in live:
                    call.conn.close()
                break
        missing = self.count - len(self.answers)
        if missing > 0:
            self.answers += [Answer(503)] * missing
        return self.answers

    def _collect(self, call, deadline):
        """Read one answer; returns the call to look at again, if any."""
        app = self.app
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise expired(ResponseTimeout, app.node_timeout)
            reply = call.conn.read_head(min(app.post_quorum_timeout or 0.001, left))
            if reply.status == 100:
                call.conn.method = call.data[:call.data.index(b' ')]
                return call
            body = reply.read_all(max(left, 0.1), MAX_BODY)
        except StaleConnection:
            return self._start(call.slot, call.node, fresh=True)
        except ResponseTimeout as e:
            if left > 0:
                call.waited = True
                return call
            call.conn.close()
            app.failed(call.node, self.kind, e, self.what)
            return None
        except FAILURES as e:
            call.conn.close()
            app.failed(call.node, self.kind, e, self.what)
            return self._start(call.slot)
        if app.server_error(call.node, self.kind, reply, self.what):
            return self._start(call.slot)
        self.answers.append(Answer(reply.status, reply, body, call.node))
        return None

    def _decided(self):
        return decided([a.status for a in self.answers], self.count)


def decided(statuses, count):
    """Whether one class of answers has a quorum already."""
    quorum = quorum_size(count)
    return any(sum(s // 100 == hundred for s in statuses) >= quorum for hundred in (2, 3, 4))


def choose(answers, count, overrides=None, quorum=None):
    """The answer that stands for all, or None when no class of answers has a quorum.

    The quorum is a majority of ``count`` unless given. ``overrides`` maps a status to the one it
    counts as, when there is no quorum without.
    """
    quorum = quorum or quorum_size(count)
    mappings: list[dict] = [{}] if overrides is None else [{}, overrides]
    for mapping in mappings:
        for hundred in (1, 2, 3, 4):
            of_class = [(mapping.get(a.status, a.status), a) for a in answers
                        if mapping.get(a.status, a.status) // 100 == hundred]
            if len(of_class) >= quorum:
                status = max(s for s, _ in of_class)
                best = next(a for s, a in of_class if s == status)
                if status != best.status:
                    best = Answer(status, best.reply, b'', best.node)
                return best
    return None


def respond(best):
    """The client's response for the verdict on an update; None (no quorum) is a 503."""
    if best is None:
        return answer(503)
    if best.status < 300 or not best.body:
        return answer(best.status)
    return Response(best.status, [
        ('Content-Type', best.headers.get('content-type', 'text/html; charset=UTF-8'))], best.body)


HOP = frozenset(('connection', 'keep-alive', 'transfer-encoding', 'date', 'server', 'te',
                 'trailer', 'upgrade'))
