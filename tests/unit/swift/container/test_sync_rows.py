# SPDX-License-Identifier: Apache-2.0
"""New rows of a container that is synchronised are sent some at a time."""
import logging
from types import SimpleNamespace

import pytest

from swift.common import storage
from swift.common.concurrency import sleep
from swift.container.sync import ContainerSync


class Broker:
    """Of forty rows."""

    points = ()

    def items_since(self, first, most):
        return [{"ROWID": n + 1, "name": str(n), "deleted": 0}
                for n in range(first, min(40, first + most))]

    def set_sync_points(self, *points):
        self.points = points


class Peer:
    account = container = target = "x"
    working = most = 0

    def __init__(self):
        self.sent = set()

    def send(self, row):
        self.working += 1
        self.most = max(self.most, self.working)
        sleep(0.01)
        self.working -= 1
        self.sent.add(row["name"])


@pytest.mark.parametrize("conf, at_once", [({}, 8), ({"sync_row_concurrency": "1"}, 1)])
def test_so_many_at_a_time(monkeypatch, tmp_path, conf, at_once):
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    daemon = ContainerSync({"log_address": "/none", "swift_dir": str(tmp_path),
                            "bind_ip": "127.0.0.1", **conf}, logging.getLogger("sync"))
    broker, peer = Broker(), Peer()
    daemon._send_rows(peer, broker, {"x_container_sync_point1": 0,
                                     "x_container_sync_point2": 0}, 0, 1)
    assert peer.sent == {str(n) for n in range(40)} and not peer.working
    assert peer.most == at_once
    assert broker.points == (40, None)


def test_the_log_has_what_a_pass_did(monkeypatch, tmp_path, caplog):
    daemon = ContainerSync({"log_address": "/none", "swift_dir": str(tmp_path),
                            "bind_ip": "127.0.0.1"}, logging.getLogger("sync"))
    monkeypatch.setattr("swift.container.sync.databases", lambda *args: iter([("x", "sda", "1")]))
    monkeypatch.setattr(daemon, "_idle", SimpleNamespace(begin=lambda: None, has=lambda db: False))

    def sync(db_file, device, partition):
        peer = Peer()
        for deleted in (0, 1, 1):
            daemon._sent(peer, {"name": "o", "deleted": deleted})
        monkeypatch.setattr(peer, "send", lambda row: (_ for _ in ()).throw(OSError("away")))
        daemon._sent(peer, {"name": "o", "deleted": 0})
        daemon._note("syncs")

    monkeypatch.setattr(daemon, "sync", sync)
    caplog.set_level(logging.INFO)
    daemon.run_once()
    assert caplog.messages[-1].startswith(
        "Container sync pass: 1 syncs, 1 puts, 2 deletes, 0 skips, 1 failures in ")
