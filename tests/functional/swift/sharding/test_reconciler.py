# SPDX-License-Identifier: Apache-2.0
"""A container whose replicas were made in two storage policies: its objects end up in one."""
import json

import pytest

from swift.cli import reconciler_enqueue
from swift.container.reconciler import ContainerReconciler
from swift.container.replicator import ContainerReplicator


def make_in_two_policies(store):
    """Two replicas in policy 1 with objects, a third, which is older, in policy 0; its times."""
    part, nodes = store.places("container", "a", "c")
    stamps = [store.now() for _ in nodes]
    store.everywhere("account", "PUT", ("a",))
    for at, (node, stamp) in enumerate(zip(nodes, stamps, strict=True)):
        assert store.request("container", "PUT", f"/{node['device']}/{part}/a/c", {
            "X-Timestamp": stamp,
            "X-Backend-Storage-Policy-Index": "0" if at == 0 else "1"})[0] == 201
    return part, nodes


def queue_of(store):
    """All entries of the reconciler's queue."""
    found = []
    for container in json.loads(store.ask_for("/.misplaced_objects?format=json")):
        found += json.loads(store.ask_for(
            f"/.misplaced_objects/{container['name']}?format=json"))
    return found


def in_policy(store, name, policy):
    """Statuses of an object's replicas in a policy."""
    part, nodes = store.places("object", "a", "c", name)
    return [store.request("object", "GET", f"/{node['device']}/{part}/a/c/{name}",
                          {"X-Backend-Storage-Policy-Index": str(policy)}) for node in nodes]


def put_in(store, name, policy, body, method="PUT"):
    return store.everywhere("object", method, ("a", "c", name), {
        "Content-Type": "t/p", "X-Object-Meta-Color": "blue",
        "X-Backend-Storage-Policy-Index": str(policy)}, body)


def test_objects_are_moved_to_the_containers_policy(store):
    make_in_two_policies(store)
    assert put_in(store, "moved", 1, b"body") == [201] * 3
    put_in(store, "both", 1, b"old")
    put_in(store, "both", 0, b"new")
    put_in(store, "gone", 0, b"x")
    put_in(store, "gone", 1, b"x")
    put_in(store, "gone", 1, b"", "DELETE")
    replicate(store)
    assert store.listed() == ["both", "gone"]
    store.get_count("a")                                   # accounts learn of the queue, too
    # Replicas that were of the other policy still may have entered what is in its place.
    assert {entry["name"] for entry in queue_of(store)} - {"0:/a/c/both", "0:/a/c/gone"} == {
        "1:/a/c/moved", "1:/a/c/both", "1:/a/c/gone"}
    counts = store.run(ContainerReconciler).counts
    assert (counts["moved"], counts["removed"], counts["retries"]) == (2, 1, 0)
    assert queue_of(store) == []
    assert store.listed() == ["both", "moved"]
    for name, body in (("moved", b"body"), ("both", b"new")):
        for status, headers, found in in_policy(store, name, 0):
            assert (status, found, headers["x-object-meta-color"]) == (200, body, "blue")
        assert [answer[0] for answer in in_policy(store, name, 1)] == [404] * 3
    assert [answer[0] for answer in in_policy(store, "gone", 0)] == [404] * 3
    # What the user writes after all that counts.
    store.fill(["moved"], b"later")
    assert store.ask("GET", "/moved")[2] == b"later"


def replicate(store):
    """Replicator passes until all replicas are of the older one's policy: one that told its own
    to a peer at the same time as the older one did may have to be told again."""
    for _ in range(10):
        store.run(ContainerReplicator)
        if {head[1]["x-backend-storage-policy-index"] for head in heads(store)} == {"0"}:
            store.run(ContainerReplicator)
            return
    raise AssertionError(heads(store))


def heads(store):
    part, nodes = store.places("container", "a", "c")
    return [store.request("container", "HEAD", f"/{node['device']}/{part}/a/c")
            for node in nodes]


def test_an_object_nobody_can_read_now_stays_in_the_queue(store):
    make_in_two_policies(store)
    put_in(store, "o", 1, b"body")
    replicate(store)
    store.get_count("a")
    for device in store.devices.iterdir():
        if (device / "objects-1").exists():
            (device / "objects-1").rename(device / "away")
    assert store.run(ContainerReconciler).counts["retries"] == 1 and len(queue_of(store)) == 1
    for device in store.devices.iterdir():
        if (device / "away").exists():
            (device / "away").rename(device / "objects-1")
    assert store.run(ContainerReconciler).counts["moved"] == 1
    assert [answer[::2] for answer in in_policy(store, "o", 0)] == [(200, b"body")] * 3


def test_an_operator_enters_an_object(store, monkeypatch, capsys):
    """And the daemon, as a process of its own, moves it."""
    store.ask("PUT")
    put_in(store, "o", 1, b"body")
    stamp = in_policy(store, "o", 1)[0][1]["x-backend-timestamp"]
    monkeypatch.setenv("SWIFT_DIR", str(store.etc))
    for bad in (("7", "/a/c/o", stamp), ("1", "/a/c", stamp), ("1", "/a/c/o", "soon")):
        with pytest.raises(SystemExit) as exc:
            reconciler_enqueue.main(list(bad))
        assert exc.value.code == 2
    capsys.readouterr()
    assert reconciler_enqueue.main(["1", "/a/c/o", stamp]) == 0
    assert capsys.readouterr().out.strip().isdigit()
    log = store.once("container_reconciler", "container")
    assert "ERROR" not in log and "Traceback" not in log
    assert [answer[::2] for answer in in_policy(store, "o", 0)] == [(200, b"body")] * 3
    assert store.listed() == ["o"]
