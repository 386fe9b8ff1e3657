# SPDX-License-Identifier: Apache-2.0
"""What the container replicator does for one database, with peers that are servers of this
process."""
import json
import logging
import os
import shutil
from types import SimpleNamespace

import pytest
from wsgi_call import call

from swift.common import db_connection, node_client
from swift.container.backend import ContainerBroker
from swift.container.replicator import ContainerReplicator

NODES = [{"id": n, "device": f"sd{'abc'[n]}", "ip": "127.0.0.1", "port": 1} for n in range(3)]
NAME = "0" * 32


@pytest.fixture
def looks(monkeypatch):
    """The databases that were looked at, one entry for each transaction."""
    found = []

    def run(path, *args, real=db_connection.run):
        found.append(path.split("/")[-6])
        return real(path, *args)
    monkeypatch.setattr(db_connection, "run", run)
    return found


@pytest.fixture
def daemon(app, tmp_path, monkeypatch):
    """A replicator whose peers are the server `app`, and whose rsync copies files as it would."""
    def request(ip, port, method, path, headers, body, *_):
        status, headers, answer = call(app, method, path, headers, body)
        return node_client.NodeAnswer(status, headers, answer)

    def copy(sources, target, *options):
        daemon.loads.append([os.path.basename(source) for source in sources])
        for source in sources:
            shutil.copy(source, target)
        return True
    for node in NODES:
        (tmp_path / node["device"]).mkdir(exist_ok=True)
    daemon = ContainerReplicator({"devices": str(tmp_path), "bind_ip": "127.0.0.1",
                                  "bind_port": "1"}, logging.getLogger("replicator"))
    daemon.loads, daemon._queues = [], {}             # as in a pass
    daemon.counts = dict.fromkeys(("unchanged", "in_step", "removed", "rsyncs", "rows",
                                   "failures"), 0)
    daemon._ring = SimpleNamespace(get_part_nodes=lambda _: NODES,
                                   get_more_nodes=lambda _: iter(()))
    monkeypatch.setattr(node_client, "request", request)
    monkeypatch.setattr(daemon.courier.rsync, "copy", copy)
    return daemon


def on(tmp_path, device):
    return ContainerBroker(str(tmp_path / device / f"containers/1/000/{NAME}/{NAME}.db"), "a", "c")


@pytest.fixture
def broker(tmp_path):
    """A container with an object, on the first device."""
    made = on(tmp_path, "sda")
    os.makedirs(made.db_dir)
    made.initialize("0000000001.00000", 0)
    made.put_object("o", "0000000002.00000", 1, "t/p", "e")
    return made


def test_a_missing_database_is_sent_whole(daemon, broker, tmp_path):
    daemon.replicate(broker.db_file, "1", 0)
    identity = broker.stat()["id"]
    assert daemon.loads == [[identity], [identity]] and daemon.counts["rsyncs"] == 2
    for device in ("sdb", "sdc"):
        copy = on(tmp_path, device)
        assert [row["name"] for row in copy.items_since(-1, 9)] == ["o"]
        assert copy.sync_point(identity) == broker.max_row() == 1
        assert os.listdir(tmp_path / device / "tmp") == []
    assert os.listdir(tmp_path / "sda/tmp") == []
    assert daemon.counts["in_step"] == 1


def test_databases_in_step_are_not_looked_at_more_than_needed(daemon, broker, looks):
    """There are many of them: of each what it is, up to where a peer has it, and whether objects
    of it are misplaced."""
    for _ in range(2):
        daemon._in_step.clear()
        daemon.pass_number = 1                        # none in which old rows are looked for
        daemon.replicate(broker.db_file, "1", 0)
    looks.clear()
    daemon._in_step.clear()
    daemon.replicate(broker.db_file, "1", 0)
    assert daemon.counts["in_step"] == 3 and daemon.counts["failures"] == 0
    assert sorted(looks) == ["sda"] * 2 + ["sdb"] * 2 + ["sdc"] * 2


def test_a_peer_takes_what_is_newer_and_answers_what_it_is_then(app, broker, tmp_path):
    info = broker.replication_info()
    message = ["sync", 5, "f" * 32, "peer", "0000000000.50000", "0000000003.00000", "0",
               json.dumps({"X-Container-Meta-A": ["1", "0000000003.00000"]}),
               "0000000003.00000", 0, 0]
    status, _, body = call(app, "REPLICATE", f"/sda/1/{NAME}", {}, json.dumps(message).encode())
    theirs = json.loads(body)
    assert status == 200 and theirs["put_timestamp"] == "0000000003.00000" != info["put_timestamp"]
    assert theirs["created_at"] == "0000000000.50000" and "X-Container-Meta-A" in theirs["metadata"]
    assert broker.metadata()["X-Container-Meta-A"] == ["1", "0000000003.00000"]


def test_a_deleted_database_goes_when_all_peers_know_and_it_is_old(daemon, broker, tmp_path):
    broker.delete_object("o", "0000000003.00000")
    broker.delete_db("0000000005.00000")
    daemon.replicate(broker.db_file, "1", 0)
    assert daemon.counts["removed"] == 1 and not os.path.exists(broker.db_file)
    assert on(tmp_path, "sdb").is_deleted()
