# SPDX-License-Identifier: Apache-2.0
"""What one wrote to a disk the other serves, audits, replicates and delivers."""
import json
import os
import shutil
from urllib.parse import unquote

import pytest

from swift.common import node_client, safe_pickle
from swift.common.ring import Ring

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]      # forty processes a test
OBJECTS = 24
BOTH_WAYS = pytest.mark.parametrize("halves", ["rsync", "ssync"], indirect=True)


def fill(user, prefix="o"):
    """Objects of all shapes in three containers; path -> (body, metadata)."""
    stored = {}
    for box in ("c0", "c1", "ç2"):
        assert user("PUT", "/" + node_client.quote(box), {"X-Container-Meta-Box": "é".encode()
                    .decode("latin-1")})[0] in (201, 202)
        for number in range(OBJECTS // 3):
            name = node_client.quote(f"{prefix}{number}/ü")
            path = f"/{node_client.quote(box)}/{name}"
            body = os.urandom(10 + number * 4001)
            assert user("PUT", path, {"X-Object-Meta-N": f"ñ{number}".encode()
                        .decode("latin-1")}, body)[0] == 201
            if number % 3 == 1:
                assert user("POST", path, {"X-Object-Meta-N": "posted", "Content-Type": "p/t"}
                            )[0] == 202
            if number % 3 == 2:
                assert user("DELETE", path)[0] == 204
                continue
            stored[path] = body, "posted" if number % 3 else f"ñ{number}"
    return stored


def check(user, stored, times=3):
    """Everything is there, from whichever replica answers."""
    for path, (body, meta) in stored.items():
        for _ in range(times):
            status, headers, got = user("GET", path)
            assert (status, got) == (200, body), path
            assert headers["x-object-meta-n"].encode("latin-1").decode() == meta
    for box in ("c0", "c1", "%C3%A72"):
        for _ in range(times):
            rows = json.loads(user("GET", f"/{box}?format=json")[2])
            wanted = [path for path in stored if path.startswith(f"/{box}/")]
            assert {row["name"] for row in rows} >= {
                unquote(path.split("/", 2)[2]) for path in wanted}


def files(cluster, n, kind):
    """Names below a device that are data: objects' files, or databases."""
    base = cluster.root / f"n{n}/d{n}/{kind}"
    return {str(path.relative_to(base)) for end in (".data", ".meta", ".ts", ".db")
            for path in base.rglob("*" + end)}


def replicate(cluster, nodes):
    for n in nodes:
        cluster.node_once(n, "replicator")


@BOTH_WAYS
def test_each_heals_the_others_emptied_disk(halves):
    user = halves.login()
    stored = fill(user)
    before = {(n, kind): files(halves, n, kind) for n in range(4)
              for kind in ("objects", "containers", "accounts")}
    assert all(before[n, "objects"] for n in range(4))
    for emptied in (0, 1):
        for kind in ("objects", "containers", "accounts"):
            shutil.rmtree(halves.root / f"n{emptied}/d{emptied}/{kind}", ignore_errors=True)
        replicate(halves, [n for n in range(4) if n != emptied])
        for kind in ("objects", "containers", "accounts"):
            assert files(halves, emptied, kind) == before[emptied, kind], (emptied, kind)
        check(user, stored, 2)
    assert not list(halves.root.glob("n*/d*/quarantined/*/*"))


def hashes_of(cluster):
    """(partition -> node -> hashes) as REPLICATE tells them to peers."""
    ring = Ring(str(cluster.etc), ring_name="object")
    found = {}
    for part in range(ring.partition_count):
        for node in ring.get_part_nodes(part):
            answer = node_client.request(node["ip"], node["port"], "REPLICATE",
                                         node_client.path_of(node["device"], part), {})
            assert answer.status == 200
            found.setdefault(part, {})[node["device"]] = safe_pickle.loads(answer.body)
    return found


def test_both_hash_the_same(halves):
    """Else each pass would copy what the other has already."""
    fill(halves.login())
    found = hashes_of(halves)
    assert any(next(iter(nodes.values())) for nodes in found.values())
    for part, nodes in found.items():
        first, *others = nodes.values()
        assert all(other == first for other in others), part


def test_a_node_changes_hands_and_back(halves):
    user = halves.login()
    stored = fill(user)
    for n in range(4):
        halves.swap(n, real=n % 2 == 0)
    check(user, stored)
    stored.update(fill(user, "later"))
    for n in range(4):
        halves.node_once(n, "auditor")
    assert not list(halves.root.glob("n*/d*/quarantined/*/*"))
    for n in range(4):
        halves.swap(n, real=n % 2 == 1)
    check(user, stored)
    replicate(halves, range(4))
    check(user, stored, 1)
    found = hashes_of(halves)
    assert all(len({json.dumps(h, sort_keys=True) for h in nodes.values()}) == 1
               for nodes in found.values())


@BOTH_WAYS
@pytest.mark.parametrize("absent", [0, 1], ids=["ours", "real"])
def test_what_a_node_missed_comes_back_from_handoffs(halves, absent):
    user = halves.login()
    fill(user)
    for kind in ("object", "container", "account"):
        halves.kill(kind, absent)
    stored = fill(user, "missed")
    for kind in ("object", "container", "account"):
        halves.start(kind, absent)
    for _ in range(2):
        replicate(halves, [n for n in range(4) if n != absent])
    ring = Ring(str(halves.etc), ring_name="object")
    for part in range(ring.partition_count):
        primaries = {node["device"] for node in ring.get_part_nodes(part)}
        for n in range(4):
            path = halves.root / f"n{n}/d{n}/objects/{part}"
            if path.exists() and f"d{n}" not in primaries:
                assert not list(path.rglob("*.data")), f"{path} stays on a handoff"
    check(user, stored)


def test_waiting_updates_are_delivered_by_the_other(halves):
    """async_pending of one kind of node, delivered by the other kind of updater."""
    user = halves.login()
    assert user("PUT", "/late")[0] == 201
    assert user("GET", "/late")[0] == 204
    for n in range(4):
        halves.kill("container", n)
    for number in range(4):
        assert user("PUT", f"/late/%C3%B6bj{number}", body=b"1")[0] == 201
    waiting = {n: list(halves.root.glob(f"n{n}/d{n}/async_pending/*/*")) for n in range(4)}
    assert all(waiting.values())
    for n in range(4):
        halves.swap_object_server(n)
        halves.start("container", n)
    for n in range(4):
        halves.once("object_updater", n)
    assert user("GET", "/late")[2].decode().splitlines() == [f"öbj{n}" for n in range(4)]
    assert not list(halves.root.glob("n*/d*/async_pending/*/*"))
    assert not list(halves.root.glob("n*/d*/quarantined/*/*"))
