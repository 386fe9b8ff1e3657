# SPDX-License-Identifier: Apache-2.0
"""The object replicator with sync_method = ssync and real processes; rsync has nowhere to go."""
import os
import shutil

import pytest
from swift_node import StorageNode


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with StorageNode(tmp_path_factory.mktemp("ssync") / "node",
                     "sync_method = ssync\nrsync_module = /nowhere\n") as made:
        yield made


def files_of(node, number):
    base = node.devices / f"d{number}" / "objects"
    return sorted(str(path.relative_to(base)) for end in ("data", "meta", "ts")
                  for path in base.rglob("*." + end))


def test_an_emptied_device_is_filled_and_a_handoff_emptied(node):
    node.make_container("a", "c")
    bodies = {f"o{n}": os.urandom(10 + n * 40001) for n in range(12)}
    for name, body in bodies.items():
        node.put("a", "c", name, body)
    for name in ("o1", "o2"):
        part, nodes = node.places("object", "a", "c", name)
        for place in nodes[:1]:               # only one replica knows: the others must learn it
            path = f"/{place['device']}/{part}/a/c/{name}"
            if name == "o1":
                more = {"X-Timestamp": node.now(), "X-Object-Meta-M": "posted",
                        "Content-Type": "new/type"}
                assert node.request("object", "POST", path, more)[0] == 202
            else:
                assert node.request("object", "DELETE", path,
                                    {"X-Timestamp": node.now()})[0] == 204
    del bodies["o2"]
    node.once("object_replicator", "object")
    before = [files_of(node, n) for n in range(4)]
    assert sum(name.endswith(".ts") for names in before for name in names) == 3
    assert sum(name.endswith(".meta") for names in before for name in names) == 3
    shutil.rmtree(node.devices / "d1" / "objects")
    node.once("object_replicator", "object")
    assert [files_of(node, n) for n in range(4)] == before
    for name, body in bodies.items():
        assert node.get_all("object", "a", "c", name) == [(200, body)] * 3
    part, _ = node.places("object", "a", "c", "stray")
    handoff = next(node.rings["object"].get_more_nodes(part))
    assert node.request("object", "PUT", f"/{handoff['device']}/{part}/a/c/stray",
                        {"X-Timestamp": node.now(), "Content-Type": "t/p"}, b"stray")[0] == 201
    node.once("object_replicator", "object")
    assert node.get_all("object", "a", "c", "stray") == [(200, b"stray")] * 3
    assert not (node.devices / handoff["device"] / "objects" / str(part)).exists()


def test_a_broken_body_is_not_spread(node):
    node.make_container("a", "d")
    part, nodes = node.places("object", "a", "d", "o")
    place = nodes[0]["device"]
    assert node.request("object", "PUT", f"/{place}/{part}/a/d/o",
                        {"X-Timestamp": node.now(), "Content-Type": "t/p"}, b"x" * 100000)[0] == 201
    (path,) = [path for path in (node.devices / place / "objects" / str(part)).rglob("*.data")
               if path.stat().st_size == 100000]
    with open(path, "r+b") as body:
        body.write(b"broken")
    node.once("object_replicator", "object")
    assert [status for status, _ in node.get_all("object", "a", "d", "o")] == [404] * 3
    assert list((node.devices / place / "quarantined").rglob("*.data"))
