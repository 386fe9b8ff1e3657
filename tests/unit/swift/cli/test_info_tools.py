# SPDX-License-Identifier: Apache-2.0
"""swift-get-nodes, swift-object-info, swift-container-info, swift-account-info."""
import logging
import os
from pathlib import Path

import pytest

from swift.account.backend import AccountBroker
from swift.cli import account_info, container_info, get_nodes, object_info
from swift.common import storage, storage_policy
from swift.common.ring import Ring, RingBuilder
from swift.common.shards import ShardRange, State
from swift.container.backend import ContainerBroker
from swift.inspection import databases
from swift.obj.backend import Manager

SWIFT_CONF = """[swift-hash]
swift_hash_path_suffix = tests
[storage-policy:0]
name = plain
default = yes
[storage-policy:1]
name = gold
"""


@pytest.fixture
def etc(tmp_path, monkeypatch):
    """A configuration folder with rings of four devices, d0 to d3."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "swift.conf").write_text(SWIFT_CONF)
    for name in ("account", "container", "object", "object-1"):
        builder = RingBuilder(4, 3, 0)
        for n in range(4):
            builder.add_dev(dict(region=1, zone=n, ip="10.0.0.1", port=6200 + n, device=f"d{n}",
                                 weight=1))
        builder.rebalance(seed=name)
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))
    monkeypatch.setenv("SWIFT_DIR", str(folder))
    monkeypatch.setattr(storage, "_secrets", None)
    monkeypatch.setattr(storage_policy, "_policies", None)
    return folder


def run(program, capsys, *arguments):
    code = program([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def contents(path):
    """The files beside a file, by name."""
    return {found.name: found.read_bytes() for found in Path(path).parent.iterdir()}


def test_get_nodes_shows_what_the_ring_says(etc, capsys):
    ring = Ring(str(etc), ring_name="object")
    part, nodes = ring.get_nodes("AUTH_a", "c", "o/ü p")
    code, out, _ = run(get_nodes.main, capsys, etc / "object.ring.gz", "AUTH_a", "c", "o/ü p")
    assert code == 0
    assert f"Partition\t{part}\n" in out
    name_hash = storage.hash_path("AUTH_a", "c", "o/ü p")
    assert f"Hash     \t{name_hash}\n" in out
    lines = [line for line in out.splitlines() if line.startswith("Server:Port")]
    assert [line.split()[-1] for line in lines[:3]] == [node["device"] for node in nodes]
    assert lines[3].endswith("[Handoff]") and len(lines) == 4
    node = nodes[0]
    assert f'"http://10.0.0.1:{node["port"]}/{node["device"]}/{part}/AUTH_a/c/o/%C3%BC%20p"' in out
    assert f"/{node['device']}/objects/{part}/{name_hash[-3:]}/{name_hash}" in out
    for words in (["AUTH_a/c/o/ü p"], ["/AUTH_a/c/o/ü p"], ["-Q", "AUTH_a/c/o/%C3%BC%20p"]):
        assert run(get_nodes.main, capsys, etc / "object.ring.gz", *words)[1] == out


def test_get_nodes_of_a_policy_and_of_a_partition(etc, capsys):
    code, out, _ = run(get_nodes.main, capsys, "-P", "GOLD", "-p", 3)
    assert code == 0 and "/objects-1/3\"" in out
    assert out.count('-H "X-Backend-Storage-Policy-Index: 1"') == 4
    assert run(get_nodes.main, capsys, etc / "object-1.ring.gz", "-p", 3)[1] == out
    out = run(get_nodes.main, capsys, etc / "container.ring.gz", "a", "c", "o")[1]
    assert "mismatch between ring and item" in out and "/objects/" in out


@pytest.mark.parametrize("names, kind", [(["a"], "account"), (["a", "c"], "container")])
def test_get_nodes_of_a_policy_takes_the_ring_of_what_has_none(etc, capsys, names, kind):
    code, out, _ = run(get_nodes.main, capsys, "-P", "gold", *names)
    assert code == 0 and "Policy-Index" not in out
    assert out == run(get_nodes.main, capsys, etc / f"{kind}.ring.gz", *names)[1]


@pytest.mark.parametrize("arguments, says", [
    (["a", "c"], "Need to specify policy_name or <ring.gz>"),
    (["-P", "nix", "a"], "No policy named 'nix'"),
    (["-P", "gold"], "either names or --partition"),
    (["-P", "gold", "-p", "16"], "the ring has 0 to 15"),
    (["-P", "gold", "object.ring.gz", "a"], "not the ring of policy"),
    (["other.ring.gz", "a"], "none of account"),
    (["/nowhere/object.ring.gz", "a"], "No such file"),
    (["-P", "gold", "a//o"], "empty"),
])
def test_get_nodes_refuses(etc, capsys, arguments, says):
    code, out, err = run(get_nodes.main, capsys, *arguments)
    assert code == 1 and says in err and not out


def test_object_info_checks_the_body(etc, tmp_path, capsys):
    manager = Manager({"devices": str(tmp_path), "mount_check": "false"}, logging.getLogger())
    (tmp_path / "d0").mkdir()
    policy = storage_policy.policies().by_index(1)
    diskfile = manager.diskfile("d0", "5", "AUTH_a", "c", "ü", policy)
    with diskfile.create() as writer:
        writer.write(b"hello")
        size, etag = writer.finish()
        writer.put({"X-Timestamp": "1700000000.12345", "Content-Type": "text/plain",
                    "ETag": etag, "Content-Length": str(size), "X-Object-Meta-Two": "2",
                    "X-Object-Sysmeta-S": "s", "Content-Encoding": "gzip"})
    path = f"{diskfile.datadir}/1700000000.12345.data"
    code, out, _ = run(object_info.main, capsys, path)
    assert code == 0
    for line in ("Path: /AUTH_a/c/ü", "  Object: ü", f"ETag: {etag} (valid)",
                 "Content-Length: 5 (valid)", "  X-Object-Meta-Two: 2", "  X-Object-Sysmeta-S: s",
                 "  Content-Encoding: gzip",
                 "Timestamp: 2023-11-14T22:13:20.123450 (1700000000.12345)"):
        assert line in out.splitlines(), line
    assert "/objects-1/" in out and "Policy-Index: 1" in out
    with open(path, "ab") as body:
        body.write(b"!")
    out = run(object_info.main, capsys, path, "--drop-prefixes")[1]
    assert "doesn't match file hash" in out and "doesn't match file length of 6" in out
    assert "  Two: 2" in out
    assert "(not checked)" in run(object_info.main, capsys, path, "-n")[1]
    plain = run(object_info.main, capsys, path, "-P", "plain")[1]
    assert "not 'plain'" in plain and "/objects-1/" in plain
    code, out, _ = run(object_info.main, capsys, path, "-P", "nix")
    assert code == 0 and "no policy named 'nix'" in out and "/objects-1/" in out
    os.removexattr(path, "user.swift.metadata")
    code, _, err = run(object_info.main, capsys, path)
    assert code == 1 and "no metadata" in err
    assert run(object_info.main, capsys, tmp_path / "nowhere")[0] == 1


def test_database_info_reads_and_changes_nothing(etc, tmp_path, capsys):
    log = logging.getLogger()
    path = str(tmp_path / "d0/containers/5/7ae/hash/hash.db")
    broker = ContainerBroker(path, "AUTH_a", "c", log)
    broker.initialize("1700000000.00000", 1)
    broker.put_object("o", "1700000001.00000", 4, "t/p", "e", 0, 1)
    broker.commit_pending()
    broker.update_metadata({"X-Container-Meta-A": ("b", "1700000000.00000"),
                            "X-Container-Read": (".r:*", "1700000000.00000"),
                            "X-Container-Sysmeta-S": ("s", "1700000000.00000")})
    broker.put_object("p", "1700000002.00000", 4, "t/p", "e", 0, 1)
    before = contents(path)
    code, out, _ = run(lambda argv: databases.run("container", argv), capsys, path, "-s")
    assert code == 0
    for line in ("Path: /AUTH_a/c", "  Deleted: False", "  Object Count: 2", "  Bytes Used: 8",
                 "  Storage Policy: gold (1)", "    X-Container-Meta-A: b",
                 "    X-Container-Sysmeta-S: s", "  X-Container-Read: .r:*", "Incoming Syncs:"):
        assert line in out.splitlines(), line
    assert "  Type: root\n  State: unsharded\nIncoming" in out
    assert contents(path) == before
    code, _, err = run(lambda argv: databases.run("account", argv), capsys, path)
    assert code == 1 and "not the database of accounts" in err
    assert callable(container_info.main)


def test_container_info_shows_shards(etc, tmp_path, capsys):
    path = str(tmp_path / "d0/containers/5/7ae/hash/hash.db")
    broker = ContainerBroker(path, "AUTH_a", "c")
    stamp = "1700000000.00000"
    broker.initialize(stamp, 0)
    broker.merge_shard_ranges([
        ShardRange(".shards_AUTH_a/c-1", stamp, "", "m", state=State.CLEAVED, object_count=2,
                   bytes_used=6),
        ShardRange(".shards_AUTH_a/c-2", stamp, "m", "", state=State.FOUND)])
    broker.enable_sharding("1700000100.00000")
    code, out, _ = run(lambda argv: databases.run("container", argv), capsys, path)
    assert code == 0 and "Shard Ranges (2):\n  States:\n        found: 1\n      cleaved: 1\n" in out
    assert "c-1" not in out and "(Use -v/--verbose" in out
    _, out, _ = run(lambda argv: databases.run("container", argv), capsys, path, "-v")
    assert "  Name: .shards_AUTH_a/c-1\n    lower: '', upper: 'm'\n    Object Count: 2, " \
           "Bytes Used: 6, State: cleaved (30)\n    Created at: 2023-11-14T" in out


def test_account_info_tells_policies_apart(etc, tmp_path, capsys, monkeypatch):
    path = str(tmp_path / "d0/accounts/5/7ae/hash/hash.db")
    broker = AccountBroker(path, "AUTH_a", None, logging.getLogger())
    broker.initialize("1700000000.00000")
    for index, name in enumerate(("c", "d")):
        broker.put_container(name, "1700000001.00000", "0", 3, 40 + index, index)
    broker.commit_pending()
    monkeypatch.setattr("sys.argv", ["swift-account-info", path])
    assert account_info.main() == 0
    out = capsys.readouterr().out
    assert "  Container Count: 2" in out and "  Bytes Used: 81" in out
    assert "Policy gold (1): Container Count 1, Object Count 3, Bytes Used 41" in out
    assert "Partition\t" in out
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 100)
    code, _, err = run(lambda argv: databases.run("account", argv), capsys, broken)
    assert code == 1 and "not a database" in err
    assert run(lambda argv: databases.run("account", argv), capsys, tmp_path / "no")[0] == 1
