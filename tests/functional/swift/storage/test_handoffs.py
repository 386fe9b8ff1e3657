# SPDX-License-Identifier: Apache-2.0
"""Partitions that are on devices they do not belong on: how they get home, and when they go."""
import re
from collections import Counter

import pytest
import swift_node
from swift_node import StorageNode


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node of thirty-two partitions; each device is no primary of about eight."""
    monkeypatch.setattr(swift_node, "PART_POWER", 5)
    with StorageNode(tmp_path / "node") as made:
        made.make_container("a", "c")
        yield made


def stray(node, count=200):
    """Put objects on handoffs only; the folders of the partitions there."""
    folders = set()
    for number in range(count):
        name = f"o{number}"
        part, _ = node.places("object", "a", "c", name)
        handoff = next(node.rings["object"].get_more_nodes(part))
        assert node.request("object", "PUT", f"/{handoff['device']}/{part}/a/c/{name}",
                            {"X-Timestamp": node.now(), "Content-Type": "t/p"},
                            name.encode())[0] == 201
        folders.add(node.devices / handoff["device"] / "objects" / str(part))
    return folders


def replicate(node, options=""):
    conf = node.etc / "object.conf"
    text = re.sub(r"\[object-replicator\][^\[]*", f"[object-replicator]\n{options}\n",
                  conf.read_text())
    conf.write_text(text)
    log = node.once("object_replicator", "object")
    told = log.rpartition("Object replication pass: ")[2]
    return Counter({name: int(number) for number, name in re.findall(r"(\d+) ([a-z]+)", told)}), log


def test_all_that_goes_to_a_device_goes_by_one_rsync(node):
    folders = stray(node)
    assert len(folders) > 28
    counts, _ = replicate(node)
    assert counts["removed"] == len(folders) and not counts["failures"]
    assert counts["rsyncs"] <= 4 * 3 * 2          # 4 devices, each to 3; two parcels at the most
    assert not [folder for folder in folders if folder.exists()]
    for number in range(0, 200, 17):
        assert node.get_all("object", "a", "c", f"o{number}") == [(200, b"o%d" % number)] * 3


def test_it_stays_until_enough_have_it(node):
    folders = stray(node, 40)
    gone = node.devices / "d3"
    gone.rename(node.root / "d3")
    here = {folder for folder in folders if "d3" not in folder.parts}
    counts, _ = replicate(node)
    assert counts["removed"] == 0 and all(folder.exists() for folder in here)
    counts, _ = replicate(node)                   # what the others have is not sent again
    assert counts["rsyncs"] == counts["removed"] == 0
    counts, _ = replicate(node, "handoff_delete = 2")
    assert counts["removed"] == len(here)         # though primaries put them back for d3's sake
    (node.root / "d3").rename(gone)
    replicate(node)
    assert not [folder for folder in folders if folder.exists()]
    for number in range(40):
        assert node.get_all("object", "a", "c", f"o{number}") == [(200, b"o%d" % number)] * 3


def test_nothing_else_is_done_while_handoffs_are_left(node):
    """handoffs_first is for disks that are nearly full: nothing is to be added to them."""
    folders = stray(node, 10)
    part, nodes = next((part, nodes) for part, nodes in (
        node.places("object", "a", "c", f"lone{n}") for n in range(99))
        if "d3" not in [place["device"] for place in nodes])
    name = next(f"lone{n}" for n in range(99) if node.places("object", "a", "c", f"lone{n}")[0]
                == part)
    assert node.request("object", "PUT", f"/{nodes[0]['device']}/{part}/a/c/{name}",
                        {"X-Timestamp": node.now(), "Content-Type": "t/p"}, b"x")[0] == 201
    (node.devices / "d3").rename(node.root / "d3")
    counts, log = replicate(node, "handoffs_first = true")
    here = [folder for folder in folders if folder.exists()]
    assert f"{len(here)} of {len(here)} handoff partitions" in log and counts["removed"] == 0
    assert [status for status, _ in node.get_all("object", "a", "c", name)] == [200, 404, 404]
    (node.root / "d3").rename(node.devices / "d3")
    counts, _ = replicate(node, "handoffs_first = true")
    assert counts["removed"] == len(folders)
    assert node.get_all("object", "a", "c", name) == [(200, b"x")] * 3
