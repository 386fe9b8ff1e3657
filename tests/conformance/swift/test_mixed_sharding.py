# SPDX-License-Identifier: Apache-2.0
"""One container divided by the sharders of both, on databases of both, listed by either proxy."""
import json
import time

import pytest
from real_swift import MixedCluster

from swift.common import storage
from swift.common.ring import Ring
from swift.container.backend import ContainerBroker

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]      # a hundred processes a test
HALF = {(kind, n) for kind in ("object", "container", "account") for n in (1, 3)}
SIZES = """[container-sharder]
auto_shard = true
shard_container_threshold = 20
rows_per_shard = 8
minimum_shard_size = 2
shrink_threshold = 2
expansion_limit = 16
cleave_batch_size = 8
"""
NAMES = [*(f"o{number:03}" for number in range(24)), "dir/a", "dir/b", "ü/é"]
DEADLINE = 600


class ShardingCluster(MixedCluster):
    def configure(self):
        super().configure()
        for n in range(self.nodes):
            path = self.etc / f"container-{n}.conf"
            path.write_text(path.read_text().replace("[container-sharder]\n", SIZES))

    def replicas(self, account, container):
        """(node, database) of each primary, the leader's first."""
        part, nodes = Ring(str(self.etc), ring_name="container").get_nodes(account, container)
        found = []
        for node in nodes:
            n = int(node["device"][1:])
            paths = sorted((self.root / f"n{n}/d{n}/containers/{part}").rglob("*.db"))
            found.append((n, next(str(path) for path in paths
                                  if ContainerBroker(str(path), keep=False).path
                                  == f"{account}/{container}")))
        return found

    def shard(self, account, container, state="sharded"):
        """Sharder passes on all nodes until each replica is in that state."""
        deadline = time.monotonic() + DEADLINE
        while True:
            self.everyone_once("container_sharder")
            states = [ContainerBroker(path, keep=False).db_state()
                      for _, path in self.replicas(account, container)]
            if set(states) == {state}:
                return
            assert time.monotonic() < deadline, states


@pytest.fixture(params=["our-proxy-their-tool", "their-proxy-our-tool"])
def cluster(request, tmp_path, monkeypatch):
    """Nodes 0 and 2 ours, 1 and 3 real."""
    monkeypatch.setattr(storage, "_secrets", (b"changeme", b"tests"))
    ours = request.param.startswith("our")
    with ShardingCluster(tmp_path / "cluster", HALF | (set() if ours else {("proxy", 0)})
                         ) as made:
        made.theirs_manages = ours
        yield made


def manage(cluster, *arguments):
    """swift-manage-shard-ranges of one or the other."""
    if cluster.theirs_manages:
        done = cluster.theirs("swift.cli.manage_shard_ranges", *arguments)
    else:
        done = cluster.ours("manage_shard_ranges", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(user, query=""):
    status, _, body = user("GET", f"/c?format=json{query}")
    assert status == 200, body
    return [row.get("name", row.get("subdir")) for row in json.loads(body)]


def test_both_divide_one_container(cluster):
    user = cluster.login()
    account = user.base.rpartition("/")[2]
    assert user("PUT", "/c")[0] == 201
    for name in NAMES:
        assert user("PUT", "/c/" + name.replace("ü/é", "%C3%BC/%C3%A9"), body=b"x")[0] == 201
    names = sorted(NAMES)
    assert listed(user) == names
    _, path = cluster.replicas(account, "c")[0]
    manage(cluster, path, "find_and_replace", "8", "--minimum-shard-size", "2", "--enable",
           "--force")
    cluster.everyone_once("container_replicator")
    cluster.shard(account, "c")
    shown = json.loads(manage(cluster, cluster.replicas(account, "c")[1][1], "show"))
    assert [one["state"] for one in shown] == ["active"] * 4
    assert sum(one["object_count"] for one in shown) == len(names)
    for _ in range(4):                                     # whichever replicas answer
        assert listed(user) == names
        assert listed(user, "&reverse=true") == names[::-1]
        assert listed(user, "&delimiter=/") == ["dir/", *names[2:-1], "ü/"]
        assert listed(user, "&marker=o003&limit=9") == names[names.index("o003") + 1:][:9]
        assert listed(user, "&prefix=o01") == [name for name in names if name.startswith("o01")]

    # Updates go to shards; what waited on disk, or came to the root, finds its shard.
    for name in ("zz", "aa", "o0005"):
        assert user("PUT", f"/c/{name}", body=b"x")[0] == 201
    assert user("DELETE", "/c/o001")[0] == 204
    names = sorted({*names, "zz", "aa", "o0005"} - {"o001"})
    for n in range(4):
        cluster.once("object_updater", n)
    cluster.everyone_once("container_sharder")
    for _ in range(4):
        assert listed(user) == names
    head = user("HEAD", "/c", {"X-Newest": "true"})[1]
    assert int(head["x-container-object-count"]) == len(names)
    for n in range(4):
        cluster.once("container_auditor", n)
        cluster.once("container_replicator", n)
    assert not list(cluster.root.glob("n*/d*/quarantined/*/*"))
    assert listed(user) == names
