# SPDX-License-Identifier: Apache-2.0
"""Databases that a peer's replicator has copied into a device's tmp get their place there."""
import json
import os
from pathlib import Path

import pytest
from wsgi_call import call

from swift.common import db_rpc, durable
from swift.container.backend import ContainerBroker

NAME = "0" * 32


@pytest.fixture
def place(tmp_path):
    """Where the database belongs."""
    return tmp_path / f"sda/containers/1/000/{NAME}/{NAME}.db"


@pytest.fixture
def arrived(app, tmp_path):
    """A function: a peer's database, with an object of that name in it, comes to lie in tmp."""
    def arrive(name, identity="peer-id"):
        temp = tmp_path / "sda/tmp" / identity
        broker = ContainerBroker(str(temp.with_suffix(".made")), "a", "c")
        broker.db_dir = str(tmp_path / "sda/containers/9/000/x")    # its device is found by this
        broker.initialize("0000000001.00000", 0)
        broker.merge_items([{"name": name, "created_at": "0000000002.00000", "size": 1,
                             "content_type": "t/p", "etag": "e", "deleted": 0}])
        os.rename(broker.db_file, temp)
        return temp
    return arrive


def replicate(app, op, identity="peer-id"):
    return call(app, "REPLICATE", f"/sda/1/{NAME}", {}, json.dumps([op, identity]).encode())[0]


def names(path):
    return [row["name"] for row in ContainerBroker(str(path)).items_since(-1, 100)]


@pytest.fixture
def steps(monkeypatch):
    """What was synced and moved, in order."""
    found = []

    def sync(fd):
        found.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")

    def rename(source, target, real=os.rename):
        found.append(f"rename {Path(source).name}")
        real(source, target)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(db_rpc.disk_sync, "fsync", sync)
    monkeypatch.setattr(db_rpc, "sync_names",
                        lambda directory, _: found.append(f"sync {Path(directory).name}"))
    monkeypatch.setattr(durable, "fsync_dirs",
                        lambda directory, _: found.append(f"sync {Path(directory).name}"))
    return found


def test_a_whole_database_is_synced_then_named_then_its_name_is_synced(app, arrived, place, steps):
    temp = arrived("o")
    steps.clear()
    assert replicate(app, "complete_rsync") == 204
    assert steps == ["sync peer-id", "rename peer-id", f"sync {NAME}"]
    assert names(place) == ["o"] and not temp.exists()
    broker = ContainerBroker(str(place))
    assert broker.sync_point("peer-id") == 1 and broker.stat()["id"] != "peer-id"


def test_one_that_takes_the_place_of_ours_too(app, arrived, place, steps):
    arrived("ours")
    assert replicate(app, "complete_rsync") == 204
    temp = arrived("theirs", "other-id")
    steps.clear()
    assert replicate(app, "rsync_then_merge", "other-id") == 204
    assert steps == ["sync other-id", "rename other-id", f"sync {NAME}"]
    assert sorted(names(place)) == ["ours", "theirs"] and not temp.exists()


def test_nothing_is_synced_before_a_file_is_whole(app, arrived, place, monkeypatch):
    """SQLite would, three times a transaction, with everybody else waiting."""
    arrived("o")
    asked = []
    real = db_rpc.Broker.become_copy

    def become_copy(broker, identity):
        real(broker, identity)
        asked.append(broker.write(lambda conn: [
            conn.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")]))
    monkeypatch.setattr(db_rpc.Broker, "become_copy", become_copy)
    assert replicate(app, "complete_rsync") == 204
    assert asked == [[0, "memory"]]


def test_of_two_that_arrive_at_a_time_the_first_stays(app, arrived, place, monkeypatch):
    """Others run while the disk works: the other one has got its place by then."""
    first, second = arrived("first", "first-id"), arrived("second", "second-id")
    monkeypatch.setattr(db_rpc.disk_sync, "fsync", os.fsync)

    def meanwhile(fd):
        monkeypatch.setattr(db_rpc.disk_sync, "fsync", os.fsync)
        assert replicate(app, "complete_rsync", "first-id") == 204
    monkeypatch.setattr(db_rpc.disk_sync, "fsync", meanwhile)
    assert replicate(app, "complete_rsync", "second-id") == 404
    assert names(place) == ["first"] and not first.exists() and not second.exists()


@pytest.mark.parametrize("op", ["complete_rsync", "rsync_then_merge"])
def test_what_is_no_database_goes_and_takes_nothing_with_it(app, arrived, place, tmp_path, op):
    if op == "rsync_then_merge":
        arrived("ours")
        assert replicate(app, "complete_rsync") == 204
    other = arrived("other", "other-id")
    temp = tmp_path / "sda/tmp/peer-id"
    temp.write_bytes(b"no database" * 1000)
    assert replicate(app, op) == 404
    assert not temp.exists() and other.exists() and place.exists() == (op == "rsync_then_merge")


def test_what_cannot_be_merged_does_not_stay(app, arrived):
    temp = arrived("o")
    assert replicate(app, "rsync_then_merge") == 404 and not temp.exists()
