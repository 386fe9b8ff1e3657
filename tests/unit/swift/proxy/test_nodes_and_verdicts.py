# SPDX-License-Identifier: Apache-2.0
"""Error limiting, the order of nodes, verdicts from several answers, dealing out updates."""

from types import SimpleNamespace

import pytest

from swift.proxy.backend import Answer, choose, decided, quorum_size, respond
from swift.proxy.controllers.base import spread
from swift.proxy.get import Getter, Position
from swift.proxy.nodes import ErrorLimiter, NodeIter


def node(i, **more):
    return dict(id=i, ip='1.1.1.1', port=6200 + i, device=f'd{i}', **more)


class FakeRing:
    def __init__(self, more):
        self.more = more

    def get_more_nodes(self, part):
        return iter([node(i, handoff_index=n) for n, i in enumerate(self.more)])


def test_limiter():
    now = [0.0]
    limiter = ErrorLimiter(interval=60, limit=3, clock=lambda: now[0])
    assert [limiter.count(node(1)) for _ in range(4)] == [False, False, False, True]
    assert limiter.is_limited(node(1)) and not limiter.is_limited(node(2))
    now[0] = 60
    assert limiter.is_limited(node(1))
    now[0] = 60.1
    assert not limiter.is_limited(node(1))
    limiter.shut_out(node(2))
    assert limiter.is_limited(node(2))


def test_old_errors_are_forgotten():
    now = [0.0]
    limiter = ErrorLimiter(interval=60, limit=3, clock=lambda: now[0])
    for _ in range(20):
        limiter.count(node(1))
        now[0] += 61
    assert not limiter.is_limited(node(1))


def test_primaries_then_handoffs_without_the_limited():
    limiter = ErrorLimiter()
    limiter.shut_out(node(1))
    limiter.shut_out(node(4))
    nodes = NodeIter(limiter, FakeRing([3, 4, 5, 6, 7, 8]), 0, [node(0), node(1), node(2)], 6)
    assert [n['id'] for n in nodes] == [0, 2, 3, 5, 6, 7]
    assert next(nodes, None) is None


def lacking(status=404, **headers):
    return Answer(status, SimpleNamespace(headers={
        name.replace('_', '-'): value for name, value in headers.items()}))


@pytest.mark.parametrize(('replicas', 'suppressed', 'answers', 'status'), [
    (2, 1, [lacking(), lacking(503)], None), (2, 1, [lacking()], None),
    (2, 0, [lacking(), lacking(503)], 404), (2, 1, [lacking(), lacking()], 404),
    (2, 1, [lacking(x_backend_timestamp='1.0'), lacking(503)], 404),
    (3, 1, [lacking(), lacking(), lacking(503)], 404),
    (3, 2, [lacking(), lacking(), lacking(503)], None), (1, 1, [lacking()], 404),
    (3, 9, [lacking(), lacking(), lacking()], 404),
    (2, 1, [lacking(412), lacking(503)], 412)])
def test_a_place_that_may_just_have_got_its_partition(replicas, suppressed, answers, status):
    app = SimpleNamespace(recoverable_node_timeout=1, missing_suppression=suppressed)
    getter = Getter(app, 'GET', 'Object', iter(()), replicas, 0, '/a/c/o', '')
    getter.rejected = list(answers)
    best = getter.verdict()
    assert (best and best.status) == status
    getter = Getter(app, 'GET', 'Container', iter(()), replicas, 0, '/a/c', '')
    getter.rejected = list(answers)
    assert getter.verdict() is not None


@pytest.mark.parametrize(('n', 'quorum'), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_quorum(n, quorum):
    assert quorum_size(n) == quorum


@pytest.mark.parametrize(('statuses', 'verdict'), [
    ([201, 201, 201], 201), ([201, 201, 503], 201), ([201, 202, 503], 202),
    ([201, 503, 503], None), ([404, 404, 201], 404), ([404, 409, 201], 409),
    ([204, 404, 503], None), ([503, 503, 503], None)])
def test_choose(statuses, verdict):
    best = choose([Answer(s) for s in statuses], 3)
    assert (best.status if best else None) == verdict
    assert respond(best).status == (verdict or 503)


def test_choose_with_deletes_of_what_was_not_there():
    answers = [Answer(204), Answer(404), Answer(503)]
    assert choose(answers, 3, {404: 204}).status == 204
    assert choose([Answer(404), Answer(404), Answer(204)], 3, {404: 204}).status == 404


def test_decided():
    assert decided([201, 201], 3) and decided([404, 409], 3)
    assert not decided([201, 404], 3) and not decided([503, 503], 3)


@pytest.mark.parametrize(('nodes', 'slots'), [(3, 3), (3, 2), (1, 3), (5, 3), (2, 3)])
def test_every_update_server_is_told(nodes, slots):
    lines = spread('Container', 7, [node(i) for i in range(nodes)], slots)
    assert len(lines) == slots and all('X-Container-Partition: 7' in line for line in lines)
    text = ''.join(lines)
    assert all(f'd{i}' in text for i in range(nodes))


class FakeReply:
    def __init__(self, status, left=None, **headers):
        self.status, self.left = status, left
        self.headers = {k.replace('_', '-'): v for k, v in headers.items()}


def test_position_in_a_body():
    whole = Position(FakeReply(200, 100, etag='e'))
    whole.sent = 30
    assert whole.range_header() == 'Range: bytes=30-99\r\n'
    assert whole.fits(FakeReply(206, 70, etag='e', content_range='bytes 30-99/100'))
    assert not whole.fits(FakeReply(206, 70, etag='f', content_range='bytes 30-99/100'))
    assert not whole.fits(FakeReply(200, 100, etag='e'))
    part = Position(FakeReply(206, 10, etag='e', content_range='bytes 5-14/100'))
    part.sent = 3
    assert part.range_header() == 'Range: bytes=8-14\r\n'
    assert not Position(FakeReply(206, 300, etag='e')).resumable
