# SPDX-License-Identifier: Apache-2.0
"""How fast the segments of a large object are read: the first few as fast as they are taken, then
so many a second. Time is counted here, not spent."""

import pytest
from wsgi_call import environ

from swift.common.exceptions import ConfigError
from swift.common.middleware import segments
from swift.common.middleware.dlo import DynamicLargeObjects
from swift.common.middleware.segments import Part, Segments
from swift.common.middleware.slo import StaticLargeObjects
from swift.common.request import Response

SLOW = {'rate_limit_after_segment': '3', 'rate_limit_segments_per_sec': '2',
        'rate_limit_under_size': '10'}


class Clock:
    """The time, in which only sleeping and reading take any."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.slept = []
        monkeypatch.setattr(segments, 'time', self)
        monkeypatch.setattr(segments, 'sleep', self.sleep)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def read(limits, sizes, took=lambda: None):
    """Read segments of these sizes, each from its fourth byte on."""
    def app(env, start):
        took()
        first, last = map(int, env['HTTP_RANGE'].removeprefix('bytes=').split('-'))
        return Response(206, [('Content-Length', str(last - first + 1))],
                        b'x' * (last - first + 1))(env, start)

    made = Segments(app, environ('GET', '/v1/a/c/o'), None, 'SLO', limits)
    return b''.join(made.pieces(Part('/v1/a/c/s', 3, 2 + size, size + 3) for size in sizes))


def limits_of(kind, **conf):
    return kind(lambda env, start: [], {**SLOW, **conf}).limits


def test_after_some_small_segments_there_are_so_many_a_second(clock):
    limits = limits_of(StaticLargeObjects)
    assert len(read(limits, [5] * 7)) == 35
    assert clock.slept == [0.5, 0.5, 0.5]           # the fourth comes at once, and sets the pace
    clock.slept.clear()
    read(limits, [5] * 4)                           # another GET begins anew
    assert clock.slept == []


def test_only_what_is_read_of_a_segment_counts_and_only_if_it_is_little(clock):
    limits = limits_of(StaticLargeObjects)
    read(limits, [9, 10, 10, 10, 10, 10, 9, 9, 10, 9, 10])
    assert clock.slept == []
    read(limits, [9, 10, 10, 9, 9, 10, 9, 10, 9])
    assert clock.slept == [0.5]


def test_who_takes_them_slowly_does_not_wait(clock):
    def took():
        clock.now += 0.4
    read(limits_of(StaticLargeObjects), [5] * 6, took)
    assert clock.slept == [0.1, 0.1]


def test_of_dynamic_large_objects_all_segments_count(clock):
    read(limits_of(DynamicLargeObjects), [5, 5 << 20, 5, 5 << 20, 5 << 20])
    assert clock.slept == [0.5]


@pytest.mark.parametrize('kind', [StaticLargeObjects, DynamicLargeObjects])
def test_no_rate_is_no_limit(kind, clock):
    read(limits_of(kind, rate_limit_segments_per_sec='0'), [5] * 50)
    assert clock.slept == []


def test_what_holds_without_a_word(clock):
    """The defaults of OpenStack Swift's proxy-server.conf-sample."""
    read(StaticLargeObjects(lambda env, start: [], {}).limits, [(1 << 20) - 1] * 12 + [1 << 20] * 9)
    assert clock.slept == [1.0]


@pytest.mark.parametrize('conf', [{'rate_limit_after_segment': '-1'},
                                  {'rate_limit_segments_per_sec': 'fast'},
                                  {'rate_limit_under_size': '1M'}])
def test_what_is_no_number_is_refused(conf):
    with pytest.raises(ConfigError, match=next(iter(conf))):
        StaticLargeObjects(lambda env, start: [], conf)
