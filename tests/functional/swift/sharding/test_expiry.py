# SPDX-License-Identifier: Apache-2.0
"""The queue of what expires, divided among shards, and objects of divided containers in it."""
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from swift.common.internal_client import InternalClient
from swift.common.ring import Ring
from swift.common.timestamp import Timestamp
from swift.container.sharder import ContainerSharder
from swift.obj.expirer import ObjectExpirer
from swift.operations.async_delete import AsyncDeletion, NotMarked

DELETER_TIMEOUT = 120
NAMES = [f"o{n:02}" for n in range(30)]


def shard(store, *containers):
    """Divide containers of the hidden account, or a/c, as an operator asks."""
    for account, container in containers:
        assert store.everywhere("container", "POST", (account, container), {
            "X-Container-Sysmeta-Sharding": "True"}) == [204] * 3
    for _ in range(4):
        store.run(ContainerSharder)


def queue(store):
    """{container: names} of the queue, through the proxy."""
    return {entry["name"]: [row["name"] for row in json.loads(
        store.ask_for(f"/.expiring_objects/{entry['name']}?format=json"))]
        for entry in json.loads(store.ask_for("/.expiring_objects?format=json"))}


@pytest.fixture
def expiring(store, monkeypatch):
    """All of NAMES expire, to an expirer of tomorrow; their queue and container are divided."""
    store.make_container("a", "c")
    at = str(int(time.time()) + 3600)
    part, nodes = store.places("container", ".expiring_objects", "1000000000")
    for name in NAMES:
        holder = {"X-Delete-At": at, "X-Delete-At-Container": "1000000000",
                  "X-Delete-At-Partition": str(part),
                  "X-Delete-At-Host": ",".join([f"127.0.0.1:{store.ports['container']}"] * 3),
                  "X-Delete-At-Device": ",".join(node["device"] for node in nodes)}
        assert store.everywhere("object", "PUT", ("a", "c", name), {
            "Content-Type": "t/p", **holder}, b"x") == [201] * 3
    store.get_count("a")
    shard(store, ("a", "c"), (".expiring_objects", "1000000000"))
    assert store.ranges()[1] == "sharded" and len(queue(store)["1000000000"]) == len(NAMES)
    monkeypatch.setattr("swift.obj.expirer.time", SimpleNamespace(
        time=lambda: int(at) + 1, monotonic=time.monotonic))
    return store


@pytest.mark.whole
def test_what_expires_is_found_in_shards_of_the_queue(expiring):
    assert expiring.listed() == NAMES
    assert expiring.run(ObjectExpirer, "object").expired == len(NAMES)
    # at once, without the sharder: rows went to and from the shards themselves
    assert expiring.listed() == []
    assert queue(expiring) == {"1000000000": []}
    assert expiring.run(ObjectExpirer, "object").expired == 0
    part, nodes = expiring.places("object", "a", "c", NAMES[0])
    assert expiring.request("object", "GET", f"/{nodes[0]['device']}/{part}/a/c/{NAMES[0]}",
                            {"X-Backend-Replication": "true"})[0] == 404


def deleter(store, *words):
    """swift-container-deleter's result."""
    return subprocess.run([sys.executable, "-W", "ignore", "-m", "swift.cli.container_deleter",
                           *words], env=store.environment, capture_output=True, text=True,
                          timeout=DELETER_TIMEOUT, check=False)


@pytest.mark.whole
def test_objects_are_deleted_in_the_background(store):
    store.make_container("a", "c")
    store.fill(NAMES)
    shard(store, ("a", "c"))
    done = deleter(store, "a", "c", "--marker", "o04", "--end-marker", "o25")
    assert done.returncode == 0 and "Marked 20 objects" in done.stdout, done
    store.fill(["o10"])                                    # newer than what is to be deleted
    assert store.listed() == NAMES
    store.get_count("a")
    # the rows as OpenStack Swift's tool makes them: fractions of seconds, and a type
    [rows] = queue(store).values()
    assert len(rows) == 20 and rows[0].partition("-")[0].count(".") == 1
    assert store.run(ObjectExpirer, "object").expired == 20
    assert store.listed() == [*NAMES[:5], "o10", *NAMES[25:]]
    assert list(queue(store).values()) == [[]]


def test_a_queue_that_cannot_be_written_is_told(store, monkeypatch):
    store.make_container("a", "c")
    store.fill(NAMES[:2])
    done = deleter(store, "a", "none", "--request-tries", "1")
    assert done.returncode == 1 and "answered 404" in done.stderr, done
    monkeypatch.setattr("swift.operations.async_delete.node_client.request",
                        lambda *_: (_ for _ in ()).throw(OSError("no way")))
    deletion = AsyncDeletion(InternalClient.of({"swift_dir": str(store.etc)}),
                             Ring(str(store.etc), ring_name="container"), "a", "c",
                             Timestamp.now(), tries=1)
    with pytest.raises(NotMarked, match="took the objects: no way"):
        list(deletion.mark())
