# SPDX-License-Identifier: Apache-2.0
"""Several steps at a time: how many, in which order, and what becomes of them in the end."""
import pytest

from swift.common.concurrency import sleep
from swift.common.parallel import in_parallel


class Worker:
    """Counts how many calls there are at a time; the first item takes longest."""

    def __init__(self, bad=None):
        self.now, self.most, self.done, self.bad = 0, 0, [], bad

    def __call__(self, item):
        self.now += 1
        self.most = max(self.most, self.now)
        sleep(0.03 if item == 0 else 0.002)
        self.now -= 1
        if item == self.bad:
            raise ValueError(item)
        self.done.append(item)
        return item * 10


@pytest.mark.parametrize("count", [1, 2, 5, 99])
def test_results_come_in_order_and_no_more_are_at_work_than_may_be(count):
    worker = Worker()
    assert list(in_parallel(count, worker, range(12))) == [n * 10 for n in range(12)]
    assert worker.most == min(count, 12)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_takes_the_place_of_its_result(count):
    worker, results = Worker(bad=4), []
    with pytest.raises(ValueError, match="4"):
        for result in in_parallel(count, worker, range(12)):
            results.append(result)
    assert results == [0, 10, 20, 30] and not worker.now


def test_what_was_begun_is_finished_when_nobody_wants_more():
    worker = Worker()
    for _ in in_parallel(3, worker, range(12)):
        break
    assert not worker.now and worker.done == [1, 2, 0]


def test_items_may_end_it():
    def items():
        yield 0
        yield 1
        raise KeyError("no more")
    worker, results = Worker(), []
    with pytest.raises(KeyError):
        for result in in_parallel(3, worker, items()):
            results.append(result)
    assert sorted(worker.done) == [0, 1] and not worker.now
