# SPDX-License-Identifier: Apache-2.0
"""What the object replicator makes of its peers' answers."""
import pickle
import shutil

import pytest

from swift.common import node_client, storage
from swift.common.storage_policy import StoragePolicy
from swift.obj import hashes
from swift.obj.parcels import PARCEL, PARCEL_BYTES, Parcel
from swift.obj.replicator import ObjectReplicator

NODE = {"id": 1, "ip": "10.0.0.1", "port": 6200, "device": "sda"}
POLICY = StoragePolicy(0, "gold")


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A function: a replicator whose peers give one answer, and the paths they were asked for."""
    def make(status, body):
        paths = []

        def request(host, port, method, path, *_):
            paths.append(path)
            return node_client.NodeAnswer(status, {}, body)
        monkeypatch.setattr(node_client, "request", request)
        replicator = ObjectReplicator({"devices": str(tmp_path), "log_address": "/none",
                                       "log_level": "CRITICAL"})
        replicator.counts = dict.fromkeys(replicator.counted, 0)
        return replicator, paths
    return make


def test_a_peer_may_take_notice_and_say_nothing(asked):
    """OpenStack Swift 2.38 answers None when told of suffixes: it hashes them when asked next."""
    replicator, paths = asked(200, pickle.dumps(None, 2))
    assert replicator.came(NODE, "7", POLICY, ["def", "abc"])
    assert paths == ["/sda/7/abc-def"] and not replicator.counts["failures"]
    assert isinstance(replicator.hashes_of(NODE, "7", POLICY), str)
    assert replicator.counts["failures"] == 1


@pytest.mark.parametrize("status", [404, 500, 503, 507])
def test_a_peer_that_fails_took_no_notice(asked, status):
    replicator, _ = asked(status, pickle.dumps({}, 2))
    assert not replicator.came(NODE, "7", POLICY, ["abc"])
    assert replicator.counts["failures"] == (status != 507)       # that one is out, not failing


def test_a_parcel_is_full_by_number_or_by_size(tmp_path):
    few = [f"{number:03x}" for number in range(PARCEL - 1)]
    parcel = Parcel(str(tmp_path), POLICY, NODE)
    parcel.add("1", few)                          # none of which is there any more
    assert not parcel.full()
    parcel.add("2", ["abc"])
    assert parcel.full()
    large = Parcel(str(tmp_path), POLICY, NODE)
    (tmp_path / "1/abc/hash").mkdir(parents=True)
    with open(tmp_path / "1/abc/hash/1.data", "wb") as data:
        data.truncate(PARCEL_BYTES)
    large.add("1", ["abc"])
    assert large.full()


@pytest.fixture
def handoff(monkeypatch, tmp_path):
    """A replicator of a partition 7 with one object that belongs on nodes 1 to 3, whose peers have
    nothing until rsync brought it; and the paths they were asked for."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    made = ObjectReplicator({"devices": str(tmp_path), "mount_check": "false",
                             "log_address": "/none", "log_level": "CRITICAL"})
    made.counts = dict.fromkeys(made.counted, 0)
    made.asked, made.copied = [], []

    def request(host, port, method, path, *_):
        made.asked.append(path)
        return node_client.NodeAnswer(200, {}, pickle.dumps({}, 2))
    monkeypatch.setattr(node_client, "request", request)
    monkeypatch.setattr(made.rsync, "copy", lambda sources, target, *_: made.copied.append(target)
                        or made.meanwhile())
    made.meanwhile = lambda: True
    made.part_dir = tmp_path / "sdz/objects/7"
    put(made.part_dir, "1")

    def work():
        made.work({"id": 0}, str(tmp_path / "sdz"), "7", POLICY,
                  [{**NODE, "id": number, "device": f"sd{number}"} for number in (1, 2, 3)])
        made.finish()
    made.pass_ = work
    return made


def put(part_dir, digit):
    """Write an object as an object server does."""
    hash_dir = part_dir / f"abc/{digit * 29}abc"
    hash_dir.mkdir(parents=True)
    (hash_dir / "1600000000.00000.data").write_bytes(b"")
    hashes.invalidate(str(hash_dir.parent))


def test_a_handoff_costs_a_peer_one_listing_and_one_notice(handoff):
    handoff.pass_()
    assert not handoff.part_dir.exists() and handoff.counts["removed"] == 1
    assert len(handoff.copied) == 3
    for number in (1, 2, 3):
        paths = [path for path in handoff.asked if path.startswith(f"/sd{number}/")]
        # the hashes; is the disk there; hash what came
        assert paths == [f"/sd{number}/7", f"/sd{number}/7/abc", f"/sd{number}/7/abc"]


@pytest.mark.parametrize("hashed", [False, True])
def test_what_came_in_while_it_was_pushed_stays(handoff, hashed):
    """Also when somebody asked for hashes since, so that none is said to be invalid."""
    def meanwhile():
        if len(handoff.copied) == 3:
            put(handoff.part_dir, "2")
            if hashed:
                hashes.get_hashes(str(handoff.part_dir))
        return True
    handoff.meanwhile = meanwhile
    handoff.pass_()
    assert handoff.counts["removed"] == 0
    assert len(list(handoff.part_dir.glob("abc/*/*.data"))) == 2
    handoff.pass_()
    assert handoff.counts["removed"] == 1


def test_a_handoff_stays_when_one_copy_failed(handoff):
    handoff.meanwhile = lambda: len(handoff.copied) != 2
    handoff.pass_()
    assert handoff.counts["removed"] == 0 and handoff.part_dir.exists()
    handoff.handoff_delete = 2
    handoff.copied.clear()
    handoff.pass_()
    assert handoff.counts["removed"] == 1


def test_an_empty_handoff_goes_unasked(handoff):
    shutil.rmtree(handoff.part_dir / "abc")
    handoff.pass_()
    assert not handoff.part_dir.exists() and not handoff.asked
