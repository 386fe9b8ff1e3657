# SPDX-License-Identifier: Apache-2.0
"""Several nodes asked side by side: who is asked when, and what becomes of the others."""


import pytest

from swift.common.concurrency import GreenletExit, Timeout, sleep
from swift.proxy.race import Race, RacingGetter
from swift.proxy.routes import Route, Timings

SOON, LATE = 0.01, 3600


class FakeReply:
    """A head without a body."""

    done, left = True, 0

    def __init__(self, status=200, timestamp='1.0', node=None):
        self.status, self.node, self.closed = status, node, False
        self.reason = ''
        self.headers = {'x-timestamp': timestamp}
        self.items = [('X-Timestamp', timestamp)]

    def close(self):
        self.closed = True

    drain = close

    def read_all(self, timeout, limit=None):
        return b''


class Nodes:
    """Nodes that take some seconds to say something: ``says`` are (seconds, Reply or None)."""

    def __init__(self, *says, nodes=None):
        self.says = says
        self.nodes = nodes or [dict(id=n, ip='1.1.1.1', port=n) for n in range(len(says))]
        self.left = iter(self.nodes)
        self.asked, self.ended = [], []

    def ask(self, node):
        self.asked.append(node['id'])
        seconds, reply = self.says[node['id']]
        try:
            sleep(seconds)
        except GreenletExit:
            self.ended.append(node['id'])
            raise
        if isinstance(reply, Exception):
            raise reply
        return reply

    def race(self, stagger=0.05, most=3):
        return Race(self.ask, lambda: next(self.left, None), stagger,
                    lambda running: running < most)


@pytest.fixture(autouse=True)
def no_test_waits():
    with Timeout(60):
        yield


def test_a_quick_answer_keeps_it_at_one():
    nodes = Nodes((SOON, 'a'), (SOON, 'b'))
    race = nodes.race()
    assert next(race)['id'] == 0 and race.reply == 'a' and nodes.asked == [0]
    assert race.stop() == [] and nodes.ended == []


def test_a_slow_node_is_overtaken_and_given_up():
    nodes = Nodes((LATE, 'a'), (SOON, 'b'), (SOON, 'c'))
    race = nodes.race()
    assert next(race)['id'] == 1 and race.reply == 'b'
    assert nodes.asked == [0, 1] and race.stop() == [nodes.nodes[0]] and nodes.ended == [0]


def test_who_says_no_is_followed_at_once():
    nodes = Nodes((SOON, None), (SOON, 'b'))
    race = nodes.race(stagger=LATE)
    assert next(race)['id'] == 0 and race.reply is None
    assert next(race)['id'] == 1
    with pytest.raises(StopIteration):
        next(race)


def test_no_more_than_so_many_at_once():
    nodes = Nodes((0.3, 'a'), (0.3, 'b'), (SOON, 'c'))
    race = nodes.race(stagger=0.02, most=2)
    assert next(race)['id'] == 0 and nodes.asked == [0, 1]
    race.stop()


def test_without_a_stagger_all_start_together():
    nodes = Nodes((LATE, 'a'), (LATE, 'b'), (SOON, 'c'), (SOON, 'd'))
    race = nodes.race(stagger=0)
    assert next(race)['id'] == 2 and nodes.asked == [0, 1, 2]
    assert race.stop() == nodes.nodes[:2] and nodes.ended == [0, 1]


def test_once_no_node_is_left_those_asked_are_waited_for():
    nodes = Nodes((0.2, 'a'), (0.1, None))
    race = nodes.race(stagger=0)
    assert [(node['id'], race.reply) for node in race] == [(1, None), (0, 'a')]


def test_as_many_as_are_wanted_are_on_their_way():
    nodes = Nodes((SOON, 'a'), (LATE, 'b'), (SOON, None), (SOON, 'd'), (SOON, 'e'))
    race = nodes.race(stagger=LATE)
    race.wanted = 3
    next(race)
    assert nodes.asked == [0, 1, 2]
    race.wanted = 2
    assert next(race)['id'] == 2 and nodes.asked == [0, 1, 2]
    next(race)
    assert nodes.asked == [0, 1, 2, 3]
    race.stop()


def test_answers_that_nobody_looks_at_are_closed():
    unseen = FakeReply()
    nodes = Nodes((SOON, 'a'), (SOON, unseen))
    race = nodes.race(stagger=0)
    next(race)
    sleep(0.05)
    assert race.stop() == [nodes.nodes[1]] and unseen.closed


def test_what_breaks_beside_breaks_the_request():
    with pytest.raises(ZeroDivisionError):
        next(Nodes((SOON, ZeroDivisionError())).race())


# -- a request -----------------------------------------------------------------
class FakeApp:
    recoverable_node_timeout = 7

    def __init__(self):
        self.timings = Timings(60)

    def server_error(self, node, kind, reply, what):
        return reply.status >= 500


class Candidates:
    """Nodes with a Route."""

    def __init__(self, nodes, **conf):
        self.left, self.most = iter(nodes), 3
        self.route = Route.of(conf)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.left)


def getter(nodes, newest=False, **conf):
    conf = {'concurrent_gets': 'on', 'concurrency_timeout': '0.05', **conf}

    class Asking(RacingGetter):
        """Whose nodes answer without a network."""

        def _ask_now(self, node, headers):
            return nodes.ask(node)

    return Asking(FakeApp(), 'GET', 'Object', Candidates(nodes.nodes, **conf), 3, 0, '/a/c/o', '',
                  newest=newest)


def test_the_first_good_answer_is_taken_and_the_slow_node_can_be_asked_again():
    good, late = FakeReply(), FakeReply()
    nodes = Nodes((LATE, late), (SOON, FakeReply(404)), (SOON, good))
    made = getter(nodes)
    reply, node = made.find()
    assert reply is good and node['id'] == 2 and nodes.ended == [0]
    nodes.says = [(SOON, late)] * 3
    assert made.find() == (late, nodes.nodes[0])          # its answer may be of use after all
    assert made.find() is None


def test_without_concurrent_gets_nodes_are_asked_in_turn():
    good = FakeReply()
    nodes = Nodes((0.2, good), (SOON, FakeReply()))
    assert getter(nodes, concurrent_gets='off').ask(nodes.nodes[0], '') is good
    nodes.left, nodes.asked = iter(nodes.nodes), []
    assert getter(nodes, concurrent_gets='off').find()[1]['id'] == 0 and nodes.asked == [0]


def test_the_newest_of_all_replicas_whoever_is_first():
    old, new = FakeReply(timestamp='1.0'), FakeReply(timestamp='2.0')
    nodes = Nodes((SOON, old), (0.2, new), (SOON, FakeReply(404)))
    reply, node = getter(nodes, newest=True).find()
    assert reply is new and old.closed
    assert sorted(nodes.asked) == [0, 1, 2] and node['id'] == 1


def test_no_replica_has_it():
    nodes = Nodes(*[(SOON, FakeReply(404))] * 3)
    made = getter(nodes)
    assert made.find() is None and made.verdict().status == 404


def test_a_request_that_is_ended_leaves_no_other_behind():
    nodes = Nodes((LATE, None), (LATE, None))
    limit = Timeout(0.2)
    try:
        with pytest.raises(Timeout):
            getter(nodes).find()
    finally:
        limit.cancel()
    assert nodes.ended == [0, 1]
