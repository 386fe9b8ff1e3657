# SPDX-License-Identifier: Apache-2.0
"""What daemons tell a statsd server of their work, by OpenStack Swift's names."""
from collections import Counter
from types import SimpleNamespace

import pytest

from swift.account.reaper import AccountReaper
from swift.account.replicator import AccountReplicator
from swift.common import node_client, storage, storage_policy
from swift.container import sharder as sharder_module
from swift.container.sharder import ContainerSharder
from swift.container.sync import ContainerSync
from swift.obj.expirer import ObjectExpirer
from swift.obj.replicator import ObjectReplicator
from swift.obj.updater import ObjectUpdater

NODE = {"id": 0, "device": "sda", "ip": "127.0.0.1", "port": 6200,
        "replication_ip": "127.0.0.1", "replication_port": 6200}


class Told:
    """A statsd client that remembers; timings count one each."""

    def __init__(self):
        self.all = Counter()

    def counts(self, numbers):
        self.all.update({name: number for name, number in numbers.items() if number})

    def count(self, name, number):
        self.all[name] += number

    def timing(self, name, seconds, share=1):
        assert 0 <= seconds < 3600
        self.all[name] += 1


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function that makes a daemon over one device, with a Told."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    (tmp_path / "sda").mkdir()

    def daemon(cls, **conf):
        made = cls({"log_address": "/none", "log_level": "CRITICAL", "mount_check": "false",
                    "devices": str(tmp_path), "swift_dir": str(tmp_path),
                    "bind_ip": "127.0.0.1", "bind_port": "6200", **conf})
        made.statsd = Told()
        return made
    return daemon


class OneRing:
    """Of one node."""

    next_part_power, partition_count, replica_count, devs = None, 4, 1, [NODE]

    def get_part_nodes(self, part):
        return [NODE] if int(part) < 2 else [{**NODE, "id": 7, "device": "sdb"}]

    def get_nodes(self, *names):
        return 0, [NODE]

    def get_more_nodes(self, part):
        return iter(())


def test_partitions(make, tmp_path, monkeypatch):
    for part in range(4):
        (tmp_path / f"sda/objects/{part}/abc").mkdir(parents=True)
    daemon = make(ObjectReplicator)
    monkeypatch.setattr(daemon, "ring", lambda policy: OneRing())
    monkeypatch.setattr(daemon, "hashes_of", lambda *args: "no answer")
    daemon.run_once()
    told = daemon.statsd.all
    assert told["partition.update.count.sda"] == told["partition.update.timing"] == 2
    assert told["partition.delete.count.sda"] == told["partition.delete.timing"] == 2
    assert told["suffix.hashes"] == 4


def test_rows_of_the_expirer_s_queue(make, monkeypatch):
    daemon = make(ObjectExpirer, delay_reaping_late="86400", processes="1")
    now = int(sharder_module.time.time())
    monkeypatch.setattr(daemon, "pages", lambda *args: iter([{"name": "0000000001"}]))
    monkeypatch.setattr(daemon, "rows", lambda *args: (
        (("q", "1"), {"name": name}) for name in ("5-a/c/o", "none", f"{now - 5}-late/c/o",
                                                  "6-a/c/other")))
    monkeypatch.setattr(daemon, "_mine", lambda row: "other" not in row)
    monkeypatch.setattr(daemon, "_delete_expired", lambda task: False)
    monkeypatch.setattr(daemon, "_drop_empty", lambda *args: None)
    daemon.run_once()
    assert daemon.statsd.all == {"tasks.assigned": 1, "tasks.parse_errors": 1, "tasks.delayed": 1,
                                 "tasks.skipped": 1, "timing": 1, "errors": 1}


def answers(status):
    return lambda *args: SimpleNamespace(status=status, headers={}, body=b"[]")


def test_what_the_reaper_was_answered(make, monkeypatch):
    daemon = make(AccountReaper)
    monkeypatch.setattr(daemon, "ring", lambda name: OneRing())
    counts = {"containers": 0, "objects": 0, "left": 0}
    for status in (204, 503):
        monkeypatch.setattr(node_client, "request", answers(status))
        daemon._reap_object("a", "c", "o", "0", 0, [NODE], counts)
    assert daemon.statsd.all == {"return_codes.2": 1, "return_codes.5": 1, "objects_remaining": 1,
                                 "objects_failures": 1}
    daemon.statsd = Told()
    daemon._reap_container("a", "c", counts)
    assert daemon.statsd.all == {"return_codes.5": 2, "containers_remaining": 1,
                                 "containers_failures": 1}


def test_what_the_object_updater_was_answered(make, monkeypatch):
    daemon = make(ObjectUpdater)
    for status in (201, 404):
        monkeypatch.setattr(node_client, "request", answers(status))
        daemon._send(NODE, 0, "PUT", ["a", "c"], "o", {})
    assert daemon.statsd.all == {"updater.timing.status.201": 1, "updater.timing.status.404": 1}


def test_what_container_sync_sent(make):
    daemon = make(ContainerSync)
    peer = SimpleNamespace(account="a", container="c", target="t", send=lambda row: None)
    for deleted in (0, 1):
        daemon._sent(peer, {"name": "o", "deleted": deleted})
    assert daemon.statsd.all == {"puts": 1, "puts.timing": 1, "deletes": 1, "deletes.timing": 1}


def test_what_the_sharder_did(make, monkeypatch):
    daemon = make(ContainerSharder)
    monkeypatch.setattr(daemon, "local_nodes", lambda: {0: NODE})
    monkeypatch.setattr(sharder_module, "databases", lambda *args: iter([("x", "sda", "1")]))

    def visit(*args):
        daemon.sharding.add("visited", "skipped")
        daemon.sharding.add("cleaved", "success", 3)

    monkeypatch.setattr(daemon, "_visit", visit)
    daemon.run_once()
    assert daemon.statsd.all == {"cleaved_success": 3}


class Broker:
    """Of a database that a peer lacks three rows of."""

    db_file = db_dir = "/srv/sda/accounts/1/abc/hash"
    given = 0

    def sync_point(self, *args, **more):
        return -1

    def items_since(self, point, most):
        self.given += 1
        return [{"ROWID": self.given}] if self.given <= 3 else []

    def merge_syncs(self, *args, **more):
        pass

    def syncs(self):
        return []


@pytest.mark.parametrize("most, told", [("100", {"diffs": 1}), ("2", {"diffs": 1, "diff_caps": 1})])
def test_how_databases_got_into_step(make, monkeypatch, most, told):
    daemon = make(AccountReplicator, max_diffs=most)
    daemon.counts = Counter()
    answer = SimpleNamespace(
        status=200, headers={},
        body=b'{"id": "x", "point": -1, "hash": "y", "max_row": 0, "metadata": ""}')
    monkeypatch.setattr(node_client, "request", lambda *args: answer)
    monkeypatch.setattr(daemon, "after_answer", lambda *args: None)
    info = dict.fromkeys(("hash", "id", "created_at", "put_timestamp", "delete_timestamp",
                          "metadata", *daemon.more_sync_args), "z") | {"max_row": 3}
    daemon._to_node(Broker(), "1", info, NODE)
    assert daemon.statsd.all == told
    daemon._to_node(Broker(), "1", {**info, "hash": "y"}, NODE)
    assert daemon.statsd.all["hashmatches"] == 1
