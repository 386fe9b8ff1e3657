# SPDX-License-Identifier: Apache-2.0
"""The partition power of an erasure coded policy's ring grows: fragments and their marks move."""
import logging
import os
import time

import pytest
from swift_cluster import SwiftCluster

from swift.cli import object_relinker, ringbuilder
from swift.common.ring import RingBuilder
from swift.common.storage_policy import set_policies
from swift.obj.ec_hashes import FragmentHasher
from swift.obj.relinker import Relinker, Task

THEN = int(time.time()) - 100
HASH = "fcd938702024c25fef6c32fef05298eb"         # partition 3 of 4, 7 of 8
HASHER = FragmentHasher(6, 604800, 60)


def stored(base, partition, name, content=b"x"):
    folder = base / f"objects-1/{partition}/{HASH[-3:]}/{HASH}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def run(device, cleanup=False):
    made = Relinker(str(device), Task(cleanup, "objects-1", *((3, 3) if cleanup else (2, 3)),
                                      hasher=HASHER), logging.getLogger("relinker"))
    assert made.run()
    return {int(folder.parents[1].name): sorted(os.listdir(folder))
            for folder in device.glob("objects-1/*/*/*")}


def test_all_fragments_move_and_those_of_before_do_not(tmp_path):
    old, new = f"{THEN}.00000", f"{THEN + 1}.00000"
    kept = [f"{new}#1#d.data", f"{new}#4.data", f"{THEN + 2}.00000#2.data"]
    stored(tmp_path, 3, f"{old}#1#d.data")
    for name in kept:
        stored(tmp_path, 3, name)
    assert run(tmp_path) == {3: kept, 7: kept}
    assert run(tmp_path, cleanup=True) == {7: kept}
    assert not (tmp_path / "objects-1/3").exists()


def test_the_mark_of_older_releases_moves_along(tmp_path):
    names = [f"{THEN}.00000#1.data", f"{THEN}.00000.durable"]
    for name in names:
        stored(tmp_path, 3, name)
    stored(tmp_path, 7, names[1])                 # another node's writer made it there, too
    assert run(tmp_path, cleanup=True) == {7: sorted(names)}


@pytest.mark.parametrize("durable_at, cleanup", [(3, False), (7, False), (7, True), (3, True)])
def test_a_mark_that_reached_one_place_only_wins(tmp_path, durable_at, cleanup):
    """A server was killed between the two places of what it made durable."""
    plain, durable = f"{THEN}.00000#1.data", f"{THEN}.00000#1#d.data"
    first = stored(tmp_path, durable_at, durable)
    other = tmp_path / f"objects-1/{10 - durable_at}/{HASH[-3:]}/{HASH}"
    other.mkdir(parents=True)
    os.link(first, other / plain)
    found = run(tmp_path, cleanup)
    assert found[7] == [durable]
    assert set(found) == ({7} if cleanup else {3, 7})


@pytest.mark.whole
@pytest.mark.timeout(600)
def test_coded_objects_survive_the_growth(tmp_path, monkeypatch):
    """By real servers: written before and in between, changed, deleted; read at every step."""
    with SwiftCluster(tmp_path / "c", policies=2, coded={1: (2, 1)}, part_power=2,
                      segment_size=65536) as cluster:
        monkeypatch.setenv("SWIFT_DIR", str(cluster.etc))
        set_policies(None)
        try:
            _grow(cluster, monkeypatch)
        finally:
            set_policies(None)


def _grow(cluster, monkeypatch):
    builder = RingBuilder(2, 3, 0)
    for n in range(4):
        builder.add_dev(dict(region=1, zone=n + 1, ip="127.0.0.1", port=cluster.ports["object", n],
                             device=f"d{n}", weight=1))
    builder.rebalance(seed="tests")
    path = str(cluster.etc / "object-1.builder")
    builder.save(path)

    def step(name):
        assert ringbuilder.run([path, name]) == 0
        assert ringbuilder.run([path, "write_ring"]) == 0
        cluster.kill("proxy")                     # a server looks at its rings every 15 s
        cluster.start("proxy")
        return cluster.login()

    def relink(action):
        for n in range(4):
            assert object_relinker.main([
                action, "--devices", str(cluster.root / f"n{n}"), "--skip-mount-check",
                "--workers", "1", "--policy", "policy1"]) == 0

    user = cluster.login()
    assert user("PUT", "/box", {"X-Storage-Policy": "policy1"})[0] == 201
    bodies = {f"o{n}": os.urandom(70000) for n in range(8)}

    def put(name):
        assert user("PUT", f"/box/{name}", {}, bodies[name])[0] == 201

    def check():
        for name, body in bodies.items():
            assert user("GET", f"/box/{name}")[::2] == (200, body)
        assert user("GET", "/box/o0")[0] == 404

    for name in bodies:
        put(name)
    user = step("prepare_increase_partition_power")
    bodies["between"] = b"between"
    bodies["o2"] = b"newer"
    put("between")
    put("o2")
    assert user("DELETE", "/box/o0")[0] == 204
    del bodies["o0"]
    assert user("POST", "/box/o1", {"X-Object-Meta-A": "b"})[0] == 202
    relink("relink")
    check()
    user = step("increase_partition_power")
    check()
    bodies["o3"] = b"after the increase"
    put("o3")
    relink("cleanup")
    user = step("finish_increase_partition_power")
    check()
    assert user("HEAD", "/box/o1")[1]["x-object-meta-a"] == "b"
    places = [found.parts for found in cluster.root.glob("n*/d*/objects-1/*/*/*/*.*")
              if found.suffix in (".data", ".meta", ".ts")]
    assert len(places) == 3 * (len(bodies) + 2)   # one .meta, one tombstone
    assert all(int(parts[-4]) == int(parts[-2][:8], 16) >> 29 for parts in places)
