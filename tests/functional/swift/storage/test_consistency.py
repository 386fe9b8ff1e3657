# SPDX-License-Identifier: Apache-2.0
"""Daemons bring back what was lost, deliver what was not told and move away what is broken."""
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import threading
import time

import pytest

from swift.common import storage, storage_policy
from swift.obj.auditor import ObjectAuditor


def names_in(answers):
    return [[entry["name"] for entry in json.loads(body)] for _, body in answers]


def files_below(path, end):
    return sorted(os.path.join(base, name) for base, _, names in os.walk(path) for name in names
                  if name.endswith(end))


def test_put_then_list_shows_it(node):
    node.make_container("a", "c")
    for number in range(5):
        assert node.put("a", "c", f"o{number}", b"x" * number) == [201] * 3
        assert names_in(node.get_all("container", "a", "c", query="?format=json")) == \
            [[f"o{n}" for n in range(number + 1)]] * 3


def test_object_replicator_heals_an_emptied_device(node):
    node.make_container("a", "c")
    bodies = {f"o{n}": os.urandom(100 + n) for n in range(20)}
    for name, body in bodies.items():
        node.put("a", "c", name, body)
    before = [len(files_below(node.devices / f"d{n}" / "objects", ".data")) for n in range(4)]
    shutil.rmtree(node.devices / "d1" / "objects")
    log = node.once("object_replicator", "object")
    after = [len(files_below(node.devices / f"d{n}" / "objects", ".data")) for n in range(4)]
    assert after == before and sum(after) == 60
    for name, body in bodies.items():
        assert node.get_all("object", "a", "c", name) == [(200, body)] * 3
    suffixes, rsyncs = map(int, re.search(r" (\d+) suffixes, (\d+) rsyncs", log).groups())
    assert rsyncs <= 3 < suffixes            # one from each device: starting it is what is dear


def test_object_replicator_moves_a_handoffs_partition_home(node):
    node.make_container("a", "c")
    part, nodes = node.places("object", "a", "c", "o")
    handoff = next(node.rings["object"].get_more_nodes(part))
    status, _, _ = node.request("object", "PUT", f"/{handoff['device']}/{part}/a/c/o",
                                {"X-Timestamp": node.now(), "Content-Type": "t/p"}, b"stray")
    assert status == 201
    node.once("object_replicator", "object")
    assert node.get_all("object", "a", "c", "o") == [(200, b"stray")] * 3
    assert not (node.devices / handoff["device"] / "objects" / str(part)).exists()


def test_a_tombstone_is_replicated(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"body")
    part, nodes = node.places("object", "a", "c", "o")
    assert node.request("object", "DELETE", f"/{nodes[0]['device']}/{part}/a/c/o",
                        {"X-Timestamp": node.now()})[0] == 204
    node.once("object_replicator", "object")
    assert [status for status, _ in node.get_all("object", "a", "c", "o")] == [404] * 3


def test_database_replicators_heal_an_emptied_device(node):
    for number in range(6):
        node.make_container("a", f"c{number}")
        for name in ("x", "y"):
            node.put("a", f"c{number}", name, b"1")
    shutil.rmtree(node.devices / "d2" / "containers")
    shutil.rmtree(node.devices / "d2" / "accounts", ignore_errors=True)
    node.once("container_replicator", "container")
    node.once("account_replicator", "account")
    for number in range(6):
        assert names_in(node.get_all("container", "a", f"c{number}", query="?format=json")) == \
            [["x", "y"]] * 3
    assert [status for status, _ in node.get_all("account", "a")] == [200] * 3


@pytest.mark.parametrize("daemon, kind", [("container_replicator", "container"),
                                          ("object_replicator", "object")])
def test_replicators_sweep_what_the_dead_left(node, daemon, kind):
    """A copy of a database whose sender was killed, and a file."""
    tmp = node.devices / "d1" / "tmp"
    copy = tmp / f"{kind}.copy" / "db"
    copy.parent.mkdir(parents=True)
    for path in (copy, tmp / f"{kind}.db", copy.parent):
        if path != copy.parent:
            path.write_text("x")
        os.utime(path, (1, 1))
    (tmp / "young").write_text("x")
    node.once(daemon, kind)
    assert os.listdir(tmp) == ["young"]


@pytest.mark.parametrize("rows", [3, 60])
def test_container_replicator_sends_missing_rows(tmp_path, rows):
    """A few rows are sent, many as a file (rsync_then_merge); either way all have all."""
    from swift_node import StorageNode

    with StorageNode(tmp_path / "node", "per_diff = 10\n") as node:
        node.make_container("a", "c")
        part, nodes = node.places("container", "a", "c")
        row = {"X-Size": "1", "X-Content-Type": "t/p", "X-Etag": "e"}
        node.request("container", "PUT", f"/{nodes[1]['device']}/{part}/a/c/only-there",
                     {"X-Timestamp": node.now(), **row})
        for number in range(rows):
            node.request("container", "PUT", f"/{nodes[0]['device']}/{part}/a/c/o{number:03}",
                         {"X-Timestamp": node.now(), **row})
        node.once("container_replicator", "container")
        node.once("container_replicator", "container")
        everything = sorted([f"o{number:03}" for number in range(rows)] + ["only-there"])
        assert names_in(node.get_all("container", "a", "c", query="?format=json")) == \
            [everything] * 3
        heads = [node.request("container", "HEAD", f"/{place['device']}/{part}/a/c")[1]
                 for place in nodes]
        assert {head["x-container-object-count"] for head in heads} == {str(rows + 1)}


def test_a_deleted_container_is_replicated(node):
    node.make_container("a", "c")
    part, nodes = node.places("container", "a", "c")
    assert node.request("container", "DELETE", f"/{nodes[0]['device']}/{part}/a/c",
                        {"X-Timestamp": node.now()})[0] == 204
    node.once("container_replicator", "container")
    assert [status for status, _ in node.get_all("container", "a", "c")] == [404] * 3


def test_updates_wait_on_disk_for_the_updater(node):
    """Container servers down: the object is stored, its rows come when they are back."""
    node.make_container("a", "c")
    node.kill(signal.SIGTERM)
    node.start("object")
    assert node.put("a", "c", "late", b"body") == [201] * 3
    waiting = [path for n in range(4)
               for path in files_below(node.devices / f"d{n}" / "async_pending", "")]
    assert len(waiting) == 3
    node.kill(signal.SIGTERM)
    node.start()
    assert names_in(node.get_all("container", "a", "c", query="?format=json")) == [[]] * 3
    node.once("object_updater", "object")
    assert names_in(node.get_all("container", "a", "c", query="?format=json")) == [["late"]] * 3
    assert not [path for path in waiting if os.path.exists(path)]


def test_container_updater_tells_the_account(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"12345")
    node.once("container_updater", "container")
    for _, body in node.get_all("account", "a", query="?format=json"):
        [entry] = json.loads(body)
        assert (entry["count"], entry["bytes"]) == (1, 5)


def test_dark_data_is_found(node, monkeypatch, caplog):
    """Objects that are in no listing, told from those of a container that does not answer."""
    node.make_container("a", "c")
    node.put("a", "c", "known", b"x")
    node.put("a", "c", "dark", b"x", inform=False)
    node.put("a", "none", "unknown", b"x", inform=False)
    monkeypatch.setattr(storage, "_secrets", (b"node", b"tests"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    conf = {"devices": str(node.devices), "mount_check": "false", "swift_dir": str(node.etc),
            "watchers": "swift#dark_data", "zero_byte_files_per_second": "0",
            "files_per_second": "0", "node_timeout": "60", "conn_timeout": "10"}

    def audit(**options):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            ObjectAuditor({**conf, **options}, logging.getLogger("auditor")).run_once()
        return caplog.text

    assert "0 objects are dark, 9 are not" in audit()                  # too young
    assert "3 objects are dark, 3 are not, of 3 it is unknown" in audit(grace_age="0")
    audit(grace_age="0", action="quarantine")
    assert len(list(node.devices.glob("*/quarantined/objects/*"))) == 3
    node.put("a", "c", "dark", b"x", inform=False)
    audit(grace_age="0", action="delete")
    assert [node.get_all("object", "a", *names)[0][0] for names in (
        ("c", "dark"), ("c", "known"), ("none", "unknown"))] == [404, 200, 200]


def test_object_auditor_quarantines_a_changed_body(node):
    """And the replicator brings the good copy back."""
    node.make_container("a", "c")
    node.put("a", "c", "o", b"good body")
    broken = files_below(node.devices, ".data")[0]
    with open(broken, "r+b") as data_file:
        data_file.write(b"bad")
    node.once("object_auditor", "object")
    assert not os.path.exists(broken)
    device = node.devices / os.path.relpath(broken, node.devices).split("/")[0]
    assert files_below(device / "quarantined" / "objects", ".data")
    node.once("object_replicator", "object")
    assert node.get_all("object", "a", "c", "o") == [(200, b"good body")] * 3


def test_a_truncated_body_is_never_served(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"good body")
    for path in files_below(node.devices, ".data"):
        with open(path, "r+b") as data_file:
            data_file.truncate(4)
    assert [status for status, _ in node.get_all("object", "a", "c", "o")] == [404] * 3


@pytest.mark.parametrize("kind", ["container", "account"])
def test_database_auditor_quarantines_a_broken_file(node, kind):
    node.make_container("a", "c")
    broken = next(path for path in files_below(node.devices, ".db") if f"/{kind}s/" in path)
    node.kill(signal.SIGTERM)
    with open(broken, "r+b") as db_file:
        db_file.seek(0)
        db_file.write(os.urandom(8192))
    node.once(f"{kind}_auditor", kind)
    assert not os.path.exists(broken)
    node.start()
    node.once(f"{kind}_replicator", kind)
    names = ("a", "c") if kind == "container" else ("a",)
    assert {status for status, _ in node.get_all(kind, *names)} <= {200, 204}


def test_account_reaper_removes_what_a_deleted_account_holds(node):
    node.make_container("a", "c")
    for number in range(3):
        node.put("a", "c", f"o{number}", b"x")
    assert node.everywhere("account", "DELETE", ("a",)) == [204] * 3
    node.once("account_reaper", "account")
    for number in range(3):
        assert [s for s, _ in node.get_all("object", "a", "c", f"o{number}")] == [404] * 3
    assert [s for s, _ in node.get_all("container", "a", "c")] == [404] * 3


def test_kill_9_in_mid_write_loses_nothing_acknowledged(node):
    """Writers run; the servers are killed; what was answered 201 is there, whole and listed."""
    node.make_container("a", "c")
    acknowledged, stop = {}, threading.Event()

    def write(worker):
        number = 0
        while not stop.is_set():
            name, body = f"w{worker}-{number}", os.urandom(4096 if number % 3 else 400000)
            number += 1
            try:
                if node.put("a", "c", name, body) == [201] * 3:
                    acknowledged[name] = body
            except OSError:
                time.sleep(0.01)

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        time.sleep(0.5)
        node.kill()
        node.start()
    time.sleep(0.3)
    node.kill()
    stop.set()
    for worker in workers:
        worker.join(30)
    node.start()
    assert len(acknowledged) > 10
    for name, body in acknowledged.items():
        assert node.get_all("object", "a", "c", name) == [(200, body)] * 3
    node.once("object_updater", "object")
    for listed in names_in(node.get_all("container", "a", "c", query="?format=json")):
        assert set(acknowledged) <= set(listed)


def test_all_daemons_in_one_process(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"12345")
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "swift.cli.consistency", "--once",
         *(str(node.etc / f"{kind}.conf") for kind in ("object", "container", "account"))],
        env=node.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    [entry] = json.loads(node.get_all("account", "a", query="?format=json")[0][1])
    assert (entry["count"], entry["bytes"]) == (1, 5)


def test_a_pending_row_survives_kill_9(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"x")
    node.kill()
    pending = [path for path in files_below(node.devices, ".pending")
               if "/containers/" in path and os.path.getsize(path)]
    assert pending                      # the row was not merged yet: this is what is tested
    node.start()
    assert names_in(node.get_all("container", "a", "c", query="?format=json")) == [["o"]] * 3
    with sqlite3.connect(pending[0].removesuffix(".pending")) as conn:
        assert conn.execute("SELECT object_count FROM policy_stat").fetchone() == (1,)


def test_expired_objects_leave_the_listing(node):
    """The queue's servers the proxy names are down, the updater delivers; the expirer deletes."""
    node.make_container("a", "c")
    soon = str(int(time.time()) + 4)
    statuses = node.everywhere("object", "PUT", ("a", "c", "brief"),
                               {"Content-Type": "t/p", "X-Delete-At": soon,
                                "X-Delete-At-Host": "127.0.0.1:1", "X-Delete-At-Device": "d0",
                                "X-Delete-At-Partition": "0"}, b"x")
    node.put("a", "c", "lasting", b"x")
    assert statuses == [201] * 3
    node.once("object_updater", "object")
    node.once("container_updater", "container")
    while time.time() < int(soon) + 1:
        time.sleep(0.1)
    assert names_in(node.get_all("container", "a", "c", query="?format=json")) == \
        [["brief", "lasting"]] * 3
    node.once("object_expirer", "object")
    assert names_in(node.get_all("container", "a", "c", query="?format=json")) == \
        [["lasting"]] * 3
    assert node.get_all("object", "a", "c", "lasting") == [(200, b"x")] * 3
