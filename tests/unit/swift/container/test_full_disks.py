# SPDX-License-Identifier: Apache-2.0
"""Disks that run full: what a container server takes then, and how databases leave them."""
import io
import json
import logging
import os
from types import SimpleNamespace

import pytest

from swift.container.replicator import ContainerReplicator

NODES = [{"id": n, "device": f"sd{n}", "ip": "127.0.0.1", "port": 1} for n in range(3)]


def ask(app, method, path, **headers):
    """The status of a request."""
    got = []
    env = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "",
           "HTTP_X_TIMESTAMP": "0000000009.00000", **headers}
    app(env, lambda status, *_: got.append(int(status[:3])))
    return got[0]


def test_below_the_reserve_only_what_frees_room_is_taken(app):
    assert ask(app, "PUT", "/sda/1/a/c") == 201
    app.reserve = (100, True)
    assert [ask(app, method, path) for method, path in (
        ("PUT", "/sda/1/a/c"), ("PUT", "/sda/1/a/c/o"), ("POST", "/sda/1/a/c"),
        ("UPDATE", "/sda/1/a/c"), ("REPLICATE", "/sda/1/abc"), ("PUT", "/sdb/1/a/c"))] == [507] * 6
    assert ask(app, "HEAD", "/sda/1/a/c") == 204
    assert ask(app, "DELETE", "/sda/1/a/c", HTTP_X_TIMESTAMP="0000000010.00000") == 204


@pytest.fixture
def replicate(broker, monkeypatch):
    """One database on device `at` (3: of no primary) is replicated, to peers that say `results`;
    whether it was sent, and whether it is still there."""
    def run(at, results, **conf):
        sent = []
        daemon = ContainerReplicator({key: str(value) for key, value in conf.items()},
                                     logging.getLogger("replicator"))
        daemon._ring = SimpleNamespace(get_part_nodes=lambda _: NODES)
        daemon.counts = dict.fromkeys(("unchanged", "in_step", "removed"), 0)
        monkeypatch.setattr(daemon, "_to_all", lambda *_: sent.append(1) or results)
        monkeypatch.setattr(daemon, "after_replication", lambda *_: None)
        monkeypatch.setattr(daemon, "removable", lambda _: True)
        daemon.replicate(broker.db_file, "1", at)
        return bool(sent), os.path.exists(broker.db_file)
    return run


@pytest.mark.parametrize(("at", "only", "sent"), [(0, "no", True), (0, "yes", False),
                                                  (3, "yes", True)])
def test_only_what_belongs_elsewhere_is_sent(replicate, at, only, sent):
    assert replicate(at, [True, False, False], handoffs_only=only) == (sent, True)


@pytest.mark.parametrize(("results", "enough", "stays"), [
    ([True, True, False], "auto", True), ([True, True, False], 2, False),
    ([True, False, False], 2, True), ([True, True, True], "auto", False)])
def test_it_goes_when_enough_have_it(replicate, broker, results, enough, stays):
    replicate(3, results, handoff_delete=enough)
    assert os.path.exists(broker.db_file) == stays


def test_primaries_never_go_for_that(replicate, broker):
    replicate(0, [True, True], handoff_delete=1)
    assert os.path.exists(broker.db_file)


def test_an_empty_disk_can_be_sent_databases(app, tmp_path):
    """Its peers lay them into a folder that nothing else may have made yet."""
    body = json.dumps(["sync", 1, "0" * 32, "id", "1", "1", "0", "{}"]).encode()
    assert ask(app, "REPLICATE", f"/sda/1/{'a' * 32}", **{"wsgi.input": io.BytesIO(body)}) == 404
    assert (tmp_path / "sda/tmp").is_dir()
