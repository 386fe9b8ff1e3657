# SPDX-License-Identifier: Apache-2.0
"""A storage node that is slow slows nobody down where several are asked; real processes."""
import itertools
import os
import signal
import time

import pytest
from fault_cluster import FaultCluster

TIMEOUT = 15.0             # of a node that says nothing
QUICK = 10.0               # for an answer that did not wait for it
OPTIONS = f"""recoverable_node_timeout = {TIMEOUT}
concurrent_gets = on
concurrency_timeout = 0.1
error_suppression_limit = 1000
[proxy-server:policy:1]
concurrent_gets = off
[proxy-server:policy:3]
concurrent_gets = off
sorting_method = timing
[proxy-server:policy:4]
concurrent_gets = off
sorting_method = timing
"""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with FaultCluster(tmp_path_factory.mktemp("slow"), proxy_options=OPTIONS, policies=5,
                      coded={2: (2, 1), 4: (2, 1)}, segment_size=65536) as made:
        yield made


@pytest.fixture
def stop(cluster):
    """A function that has a server say nothing until the test is over."""
    stopped = []

    def do(kind, n):
        cluster.signal(kind, n, signal.SIGSTOP)
        stopped.append((kind, n))
    yield do
    for kind, n in stopped:
        cluster.signal(kind, n, signal.SIGCONT)


@pytest.fixture
def stored(cluster):
    """A function that stores an object: client, path, body, numbers of the nodes it is on."""
    def do(policy, size):
        user, name = cluster.login(), f"c{next(_numbers)}"
        assert user("PUT", f"/{name}", {"X-Storage-Policy": f"policy{policy}"})[0] == 201
        body = os.urandom(size)
        assert user("PUT", f"/{name}/o", body=body)[0] == 201
        account = user.base.split("/")[2]
        ring = f"object-{policy}" if policy else "object"
        places = [node["id"] for node in cluster.places(ring, account, name, "o")[1]]
        assert user("GET", f"/{name}/o")[2] == body
        return user, f"/{name}/o", body, places
    return do


def seconds(ask, *args):
    start = time.monotonic()
    answer = ask(*args)
    return time.monotonic() - start, answer


def open_files(cluster):
    """How many the proxy has."""
    return len(os.listdir(f"/proc/{cluster.processes['proxy', 0].pid}/fd"))


@pytest.mark.parametrize("policy", [0, 2], ids=["replicated", "coded"])
@pytest.mark.parametrize("size", [100, 400_000])
def test_a_slow_node_is_not_waited_for(stored, stop, policy, size):
    user, path, body, places = stored(policy, size)
    stop("object", places[0])
    for method in ("GET", "HEAD") * 6:
        took, (status, headers, got) = seconds(user, method, path)
        assert status == 200 and int(headers["content-length"]) == size
        assert got == (body if method == "GET" else b"")
        assert took < QUICK
    took, (status, _, got) = seconds(user, "GET", path, {"Range": "bytes=10-39,60-69"})
    assert status == 206 and body[10:40] in got and body[60:70] in got and took < QUICK


@pytest.mark.parametrize("policy", [0, 2], ids=["replicated", "coded"])
def test_those_that_are_not_waited_for_are_closed(cluster, stored, stop, policy):
    user, path, body, places = stored(policy, 100)
    for place in places[:1 if policy else 2]:
        stop("object", place)
    before = open_files(cluster)
    for _ in range(12):
        took, answer = seconds(user, "GET", path)
        assert answer[2] == body and took < QUICK
    assert open_files(cluster) < before + 5         # a slow node is asked at each, nearly


def test_nor_one_with_the_containers_rows(cluster, stored, stop):
    user, path, _, _ = stored(0, 1)
    name = path.split("/")[1]
    places = cluster.places("container", user.base.split("/")[2], name)[1]
    stop("container", places[1]["id"])
    for _ in range(8):
        took, (status, _, listing) = seconds(user, "GET", f"/{name}")
        assert status == 200 and listing == b"o\n" and took < QUICK


def test_a_policy_of_its_own_waits(stored, stop):
    """The same node is waited for where the policy's section says so."""
    user, path, body, places = stored(1, 100)
    stop("object", places[0])
    for _ in range(40):                # it is the first of three in random order
        took, answer = seconds(user, "GET", path)
        assert answer[2] == body
        if took > TIMEOUT * 0.9:
            return
    raise AssertionError("the slow node was never asked first")


@pytest.mark.parametrize("policy", [3, 4], ids=["replicated", "coded"])
def test_timing_waits_once(stored, stop, policy):
    """Once a node is found slow it is not asked again: of 20 times, chance would choose it 7."""
    user, path, body, places = stored(policy, 100)
    stop("object", places[0])
    slow = 0
    for _ in range(20):
        took, answer = seconds(user, "GET", path)
        assert answer[2] == body
        slow += took > QUICK
    assert slow <= 1
