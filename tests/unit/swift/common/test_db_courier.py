# SPDX-License-Identifier: Apache-2.0
"""Small databases go to a device by as few rsyncs as there are turns, large ones by their own."""
import os

import pytest

from swift.common.concurrency import Event, GreenPool, Semaphore, Timeout
from swift.common.db_courier import SMALL, Courier

HERE, THERE = {"device": "here"}, {"device": "there"}


class Rsync:
    """Notes what goes together; each copy waits until `go` is sent."""

    def __init__(self):
        self.copies, self.go, self.results = [], Event(), {}

    def target(self, node, path):
        return f"{node['device']}/{path}"

    def copy(self, sources, target, *options):
        self.copies.append((target, [os.path.basename(source) for source in sources]))
        self.go.wait()
        result = self.results.get(self.copies[-1][1][0], True)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def rsync():
    return Rsync()


@pytest.fixture
def bring(rsync, tmp_path):
    """A function: bring files of these names, all at a time; their results by name."""
    courier = Courier(rsync, Semaphore())             # one turn: who waits lets the next have it

    def one(name, node, size, results):
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        try:
            with courier.turns:
                results[name] = courier.bring(str(path), node)
        except OSError as exc:
            results[name] = str(exc)

    def run(*files, node=HERE):
        pool, results = GreenPool(), {}
        rsync.go, rsync.copies = Event(), []
        with Timeout(60):
            for number, file in enumerate(files):
                name, place, size = (file, node, 1) if isinstance(file, str) else file
                pool.spawn_n(one, name, place, size, results)
                if not number:
                    while not rsync.copies:           # the first one is on its way
                        Event().wait(0.001)
            for _ in range(3):
                Event().wait(0.001)                   # all others wait or are on theirs
            rsync.go.send(None)
            pool.waitall()
        return results
    return run


def test_who_comes_while_others_are_on_their_way_goes_with_all_who_wait(bring, rsync):
    assert bring("a", "b", "c", "d") == dict.fromkeys("abcd", True)
    assert rsync.copies == [("here/tmp/", ["a"]), ("here/tmp/", ["b", "c", "d"])]
    assert bring("e") == {"e": True}                  # nobody is at work any more


def test_nobody_waits_for_what_goes_elsewhere_or_is_large(bring, rsync):
    assert all(bring("a", ("b", THERE, 1), ("c", HERE, SMALL + 1), "d").values())
    assert rsync.copies == [("here/tmp/", ["a"]), ("here/tmp/", ["c"]), ("there/tmp/", ["b"]),
                            ("here/tmp/", ["d"])]


def test_what_failed_has_not_arrived_and_the_next_go_all_the_same(bring, rsync):
    rsync.results = {"a": False}
    assert bring("a", "b") == {"a": False, "b": True}
    rsync.results = {"b": OSError("no more processes")}
    assert bring("a", "b", "c") == {"a": True, "b": "no more processes", "c": "no more processes"}
    assert bring("d") == {"d": True}
