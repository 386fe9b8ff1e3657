# SPDX-License-Identifier: Apache-2.0
"""The partition power of an object ring grows while objects are written, changed and deleted."""
import json
import logging
import os
import time

import pytest

from swift.cli import object_relinker, ringbuilder
from swift.common import storage_policy
from swift.common.ring import Ring, RingBuilder
from swift.obj import relinker
from swift.obj.relinker import Relinker, Task


@pytest.fixture
def growing(node, monkeypatch):
    """A node whose object ring an operator is about to grow."""
    monkeypatch.setattr(storage_policy, "_policies", None)     # not those of another test's node
    return Growing(node, monkeypatch)


class Growing:
    def __init__(self, node, monkeypatch):
        self.node = node
        monkeypatch.setenv("SWIFT_DIR", str(node.etc))
        self.builder = str(node.etc / "object.builder")
        builder = RingBuilder(2, 3, 0)
        for number in range(4):
            builder.add_dev(dict(region=1, zone=number + 1, ip="127.0.0.1",
                                 port=node.ports["object"], device=f"d{number}", weight=1))
        builder.rebalance(seed="node")
        builder.save(self.builder)

    def step(self, name, code=0):
        assert ringbuilder.run([self.builder, name]) == code
        if code == 0:
            assert ringbuilder.run([self.builder, "write_ring"]) == 0
            self.node.rings["object"] = Ring(str(self.node.etc), ring_name="object")
        return self.node.rings["object"]

    def relink(self, action, code=0, **options):
        words = [word for key, value in options.items()
                 for word in (f"--{key.replace('_', '-')}", str(value))]
        assert object_relinker.main([
            action, "--devices", str(self.node.devices), "--skip-mount-check",
            "--workers", "1", *words]) == code

    def put(self, name, body, power=None):
        header = {"X-Backend-Next-Part-Power": str(power)} if power else {}
        assert self.node.everywhere("object", "PUT", ("a", "c", name),
                                    {"Content-Type": "t/p", **header}, body) == [201] * 3

    def files(self):
        """{(device, partition, hash): names} of the object files."""
        found = {}
        for base, _, names in os.walk(self.node.devices):
            names = sorted(n for n in names if n.endswith((".data", ".ts", ".meta")))
            if names:
                device, _, partition, _, name_hash = \
                    os.path.relpath(base, self.node.devices).split("/")
                found[device, int(partition), name_hash] = names
        return found


def test_partition_power_grows_under_way(growing):
    node = growing.node
    node.make_container("a", "c")
    bodies = {f"o{n}": f"body {n}".encode() for n in range(12)}
    for name, body in bodies.items():
        growing.put(name, body)
    growing.relink("relink", code=2)                       # nothing is prepared
    growing.step("increase_partition_power", code=2)
    ring = growing.step("prepare_increase_partition_power")
    assert (ring.part_power, ring.next_part_power) == (2, 3)
    growing.step("prepare_increase_partition_power", code=2)
    assert ringbuilder.run([growing.builder, "rebalance"]) == 2
    # Written, deleted and changed while the ring says what is to come.
    growing.put("new", b"new", power=3)
    bodies["new"] = b"new"
    follow = {"X-Backend-Next-Part-Power": "3"}
    assert node.everywhere("object", "DELETE", ("a", "c", "o0"), follow) == [204] * 3
    assert node.everywhere("object", "POST", ("a", "c", "o1"),
                           {"X-Object-Meta-A": "b", **follow}) == [202] * 3
    del bodies["o0"]
    assert "not replicated" in node.once("object_replicator", "object")
    growing.relink("cleanup", code=2)                      # not yet
    growing.relink("relink")
    growing.relink("relink")                               # once more changes nothing
    places = growing.files()
    for (device, partition, name_hash), names in places.items():
        to_be = int(name_hash[:8], 16) >> 29
        assert partition in (to_be, int(name_hash[:8], 16) >> 30)
        assert places[device, to_be, name_hash] == names

    ring = growing.step("increase_partition_power")
    assert (ring.part_power, ring.next_part_power, ring.partition_count) == (3, 3, 8)
    for name, body in bodies.items():
        assert node.get_all("object", "a", "c", name) == [(200, body)] * 3
    assert [status for status, _ in node.get_all("object", "a", "c", "o0")] == [404] * 3
    growing.put("o2", b"newer", power=3)
    bodies["o2"] = b"newer"
    growing.relink("cleanup")
    growing.step("finish_increase_partition_power")
    assert all(partition == int(name_hash[:8], 16) >> 29
               for _, partition, name_hash in growing.files())
    assert "not replicated" not in node.once("object_replicator", "object")
    for name, body in bodies.items():
        assert node.get_all("object", "a", "c", name) == [(200, body)] * 3
    assert len(growing.files()) == 3 * (len(bodies) + 1)   # and a tombstone


def test_cancel_goes_back(growing):
    node = growing.node
    node.make_container("a", "c")
    growing.put("o", b"body")
    before = growing.files()
    growing.step("prepare_increase_partition_power")
    growing.relink("relink")
    assert len(growing.files()) in (3, 6)                  # where it is may be where it is to be
    ring = growing.step("cancel_increase_partition_power")
    assert ring.next_part_power == ring.part_power == 2
    growing.relink("cleanup")
    growing.step("finish_increase_partition_power")
    assert growing.files() == before
    assert node.get_all("object", "a", "c", "o") == [(200, b"body")] * 3


# -- one device, no servers ------------------------------------------------

THEN = int(time.time()) - 100                     # tombstones of long ago would go
HASH = "fcd938702024c25fef6c32fef05298eb"         # partition 3 of 4, 7 of 8


def stored(base, partition, name, content=b"x"):
    folder = base / f"objects/{partition}/{HASH[-3:]}/{HASH}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def run(device, cleanup=False, **options):
    powers = (3, 3) if cleanup else (2, 3)
    made = Relinker(str(device), Task(cleanup, "objects", *powers, **options),
                    logging.getLogger("relinker"))
    return made.run(), made


def test_a_newer_file_there_is_not_covered_by_an_older_here(tmp_path):
    stored(tmp_path, 3, f"{THEN}.00000.data")
    newer = stored(tmp_path, 7, f"{THEN + 1}.00000.ts", b"")
    assert run(tmp_path)[0]
    assert [p.name for p in newer.parent.iterdir()] == [f"{THEN + 1}.00000.ts"]
    assert run(tmp_path, cleanup=True)[0]
    assert not (tmp_path / "objects/3").exists()


def test_a_newer_file_here_is_brought_over_at_cleanup(tmp_path):
    """Written by a proxy that had not heard of the increase yet: cleanup must not lose it."""
    stored(tmp_path, 7, f"{THEN}.00000.data", b"old")
    stored(tmp_path, 3, f"{THEN + 1}.00000.data", b"new")
    fine, made = run(tmp_path, cleanup=True)
    assert fine and made.counts["linked"] == made.counts["removed"] == 1
    folder = tmp_path / f"objects/7/{HASH[-3:]}/{HASH}"
    assert (folder / f"{THEN + 1}.00000.data").read_bytes() == b"new"


def test_another_file_of_the_same_name_is_an_error_or_clobbered(tmp_path):
    here = stored(tmp_path, 3, f"{THEN}.00000.data", b"here")
    there = stored(tmp_path, 7, f"{THEN}.00000.data", b"there")
    fine, made = run(tmp_path)
    assert not fine and made.counts["errors"] == 1 and there.read_bytes() == b"there"
    fine, _ = run(tmp_path, cleanup=True)
    assert not fine and here.exists()
    fine, _ = run(tmp_path, clobber=True)
    assert fine and there.read_bytes() == b"here"
    assert list((tmp_path / "quarantined/objects").iterdir())


def test_an_ended_pass_goes_on_where_it_was(tmp_path, monkeypatch):
    stored(tmp_path, 3, f"{THEN}.00000.data")
    other = tmp_path / f"objects/0/abc/{'0' * 29}abc"
    other.mkdir(parents=True)
    (other / f"{THEN}.00000.data").touch()
    seen = []
    plain = Relinker._one_partition

    def ended(self, partition):
        seen.append(partition)
        if len(seen) == 2:
            raise KeyboardInterrupt
        plain(self, partition)

    monkeypatch.setattr(relinker.Relinker, "_one_partition", ended)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    known = json.loads((tmp_path / "relink.objects.json").read_text())
    assert known["state"] == {"0": False, "3": True} and known["next_part_power"] == 3
    assert run(tmp_path)[0]
    assert seen == ["3", "0", "0"]
