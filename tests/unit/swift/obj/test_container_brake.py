# SPDX-License-Identifier: Apache-2.0
"""Which updates are let through, when, and what becomes of the others."""
from collections import Counter

import pytest

from swift.common.exceptions import ConfigError
from swift.obj import container_brake
from swift.obj.container_brake import ContainerBrake
from swift.obj.updater import ObjectUpdater


class Clock:
    """Time that passes only when it is waited for."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def pause(self, seconds):
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(container_brake, "time", made)
    monkeypatch.setattr(container_brake, "pause", made.pause)
    return made


class Run:
    """What a brake let through, as (seconds since the start, update), and what it noted."""

    def __init__(self, clock, updates, rate=1.0, most_deferred=100, seconds=1000.0, each=0.0,
                 buckets=100000):
        self.noted = []
        brake = ContainerBrake(rate, buckets, most_deferred,
                               lambda update, event: self.noted.append((event, update)))
        start = clock.now
        self.sent = []
        for update in brake.let(updates, lambda update: update[0] if update else None,
                                start + seconds):
            self.sent.append((clock.now - start, update))
            clock.now += each
        self.counts = Counter(event for event, _ in self.noted)

    def when(self, letter):
        return [at for at, update in self.sent if update[:1] == letter]


def test_without_a_rate_all_go_at_once(clock):
    run = Run(clock, ["a1", "a2", "a3"], rate=0)
    assert run.sent == [(0, "a1"), (0, "a2"), (0, "a3")] and not run.noted


def test_others_do_not_wait_for_a_hot_container(clock):
    run = Run(clock, ["a1", "a2", "a3", "b1", "c1"])
    assert run.sent == [(0, "a1"), (0, "b1"), (0, "c1"), (1, "a2"), (2, "a3")]
    assert run.counts == {"deferrals": 2, "drains": 2}


def test_each_container_is_drained_at_its_rate(clock):
    run = Run(clock, [f"{letter}{n}" for n in range(4) for letter in "ab"], rate=2)
    assert run.when("a") == run.when("b") == [0, 0.5, 1, 1.5]


def test_time_that_passed_counts(clock):
    """Whose updates come slowly is never held back."""
    run = Run(clock, ["a1", "a2", "a3"], each=1.5)
    assert run.when("a") == [0, 1.5, 3] and not run.noted


def test_draining_ends_with_the_pass(clock):
    run = Run(clock, [f"a{n}" for n in range(10)], seconds=3)
    assert run.sent == [(0, "a0"), (1, "a1"), (2, "a2"), (3, "a3")]
    assert run.counts == {"deferrals": 9, "drains": 3, "skips": 6}
    assert clock.now == 103


def test_no_more_are_remembered_than_may_be(clock):
    """Those of the container that has most waiting go: the others' are sent sooner."""
    run = Run(clock, [*(f"a{n}" for n in range(6)), "b0", "b1"], most_deferred=3)
    assert run.counts == {"deferrals": 6, "skips": 3, "drains": 3}
    assert sorted(run.sent) == [(0, "a0"), (0, "b0"), (1, "a4"), (1, "b1"), (2, "a5")]
    assert [update for event, update in run.noted if event == "skips"] == ["a1", "a2", "a3"]


def test_nothing_is_deferred_where_nothing_may_be_remembered(clock):
    run = Run(clock, ["a0", "a1", "b0"], most_deferred=0)
    assert run.counts == {"skips": 1} and len(run.sent) == 2


def test_containers_share_buckets(clock):
    run = Run(clock, ["a0", "b0", "c0"], buckets=1)
    assert [at for at, _ in run.sent] == [0, 1, 2]


def test_what_is_of_no_container_is_not_limited(clock):
    run = Run(clock, ["", "", ""])
    assert len(run.sent) == 3 and clock.now == 100


@pytest.mark.parametrize("name, value", [
    ("max_objects_per_container_per_second", "-1"), ("max_objects_per_container_per_second", "x"),
    ("per_container_ratelimit_buckets", "0"), ("max_deferred_updates", "-1"),
    ("max_deferred_updates", "1.5")])
def test_an_option_out_of_range_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        ObjectUpdater({name: value, "log_address": "/none"})
