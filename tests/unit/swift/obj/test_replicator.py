# SPDX-License-Identifier: Apache-2.0
"""What the object replicator makes of its peers' answers."""
import pickle

import pytest

from swift.common import node_client
from swift.common.storage_policy import StoragePolicy
from swift.obj.replicator import PARCEL, PARCEL_BYTES, ObjectReplicator, Parcel

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
