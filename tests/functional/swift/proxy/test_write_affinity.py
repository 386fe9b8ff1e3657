# SPDX-License-Identifier: Apache-2.0
"""Two regions: new objects stay in the proxy's own until replicators move them home."""
import itertools
import os

import pytest
from fault_cluster import FaultCluster

pytestmark = pytest.mark.timeout(300)
PATIENCE = 90               # seconds for an answer of a machine that does much else
LOCAL = {0, 1, 2}           # of six nodes, those in region 1
OPTIONS = """sorting_method = affinity
read_affinity = r1=100
write_affinity = r1
[proxy-server:policy:1]
write_affinity = r2
write_affinity_node_count = 1
[proxy-server:policy:2]
write_affinity = r1
"""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with FaultCluster(tmp_path_factory.mktemp("regions"), nodes=6, regions=2, policies=3,
                      coded={2: (2, 1)}, segment_size=65536, proxy_options=OPTIONS) as made:
        for n in range(made.nodes):
            with open(made.etc / f"object-{n}.conf", "a") as conf:
                conf.write("[object-reconstructor]\n")
        yield made


class Box:
    """A container, and where its objects are."""

    def __init__(self, cluster, policy=0):
        self.cluster, self.user, self.name = cluster, cluster.login(), f"c{next(_numbers)}"
        self.ring = f"object-{policy}" if policy else "object"
        assert self.user("PUT", f"/{self.name}", {"X-Storage-Policy": f"policy{policy}"})[0] == 201

    def __call__(self, method, name, headers=None, body=None):
        return self.user(method, f"/{self.name}/{name}", headers, body, PATIENCE)

    def names(self, name):
        return self.user.base.split("/")[2], self.name, name

    def home(self, name):
        """Numbers of the primaries."""
        return {node["id"] for node in self.cluster.places(self.ring, *self.names(name))[1]}

    def on(self, name, end=".data"):
        """Numbers of the nodes with a file of the object."""
        return sorted(int(path.relative_to(self.cluster.root).parts[0][1:])
                      for path in self.cluster.object_files(*self.names(name))
                      if path.name.endswith(end))


def replicate(cluster):
    for n in range(cluster.nodes):
        cluster.once("object_replicator", f"object-{n}.conf")


def test_objects_are_local_until_a_replicator_moves_them(cluster):
    box = Box(cluster)
    bodies = {f"o{n}": os.urandom(300_000 if n % 2 else 100) for n in range(6)}
    for name, body in bodies.items():
        assert box("PUT", name, body=body)[0] == 201
        assert box.on(name) == sorted(LOCAL) and box.home(name) - LOCAL
        assert box("GET", name)[2] == body
        assert box("POST", name, {"X-Object-Meta-Color": name})[0] == 202
    gone = bodies.popitem()[0]
    assert box("DELETE", gone)[0] == 204 and box("GET", gone)[0] == 404
    assert box.on(gone) == [] and LOCAL <= set(box.on(gone, ".ts"))
    replicate(cluster)
    assert box("GET", gone)[0] == 404 and box.on(gone) == []
    for name, body in bodies.items():
        assert box.on(name) == sorted(box.home(name)) != sorted(LOCAL)
        status, headers, got = box("GET", name)
        assert (status, headers["x-object-meta-color"], got) == (200, name, body)
        assert box("POST", name, {"X-Object-Meta-Color": "red"})[0] == 202
        assert box("HEAD", name)[1]["x-object-meta-color"] == "red"
        assert box("DELETE", name)[0] == 204 and box.on(name) == []
    assert box("DELETE", "o0")[0] == 404 and box("POST", "o0")[0] == 404


def test_a_policy_has_its_own(cluster):
    """One copy in region 2, where its policy wants one, and the others where they belong."""
    box = Box(cluster, policy=1)
    for n in range(6):
        assert box("PUT", f"o{n}", body=b"x")[0] == 201
        there, home = set(box.on(f"o{n}")), box.home(f"o{n}")
        assert there == home


@pytest.mark.parametrize("size", [100, 300_000])
def test_fragments_are_local_too(cluster, size):
    box, body = Box(cluster, policy=2), os.urandom(size)
    for n in range(3):
        name = f"o{n}"
        assert box("PUT", name, body=body)[0] == 201
        assert box.on(name) == sorted(LOCAL) and box("GET", name)[2] == body
        assert box("POST", name, {"X-Object-Meta-Color": "red"})[0] == 202
        assert box("HEAD", name)[1]["x-object-meta-color"] == "red"
        assert box("DELETE", name)[0] == 204 and box("GET", name)[0] == 404


def test_reconstructors_bring_fragments_home(cluster):
    box, body = Box(cluster, policy=2), os.urandom(200_000)
    names = [f"o{n}" for n in range(4)]
    for name in names:
        assert box("PUT", name, body=body)[0] == 201
        assert box.on(name) == sorted(LOCAL) != sorted(box.home(name))
    for n in range(cluster.nodes):
        cluster.once("object_reconstructor", f"object-{n}.conf")
    for name in names:
        assert box.on(name) == sorted(box.home(name))
        assert box("GET", name)[2] == body


def test_the_other_region_takes_over(cluster):
    box = Box(cluster)
    for n in LOCAL:
        cluster.kill("object", n)
    try:
        assert box("PUT", "o", body=b"far")[0] == 201 and box("GET", "o")[2] == b"far"
        assert box.on("o") == [3, 4, 5]
    finally:
        for n in LOCAL:
            cluster.start("object", n)
