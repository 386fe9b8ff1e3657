# SPDX-License-Identifier: Apache-2.0
"""Erasure coded objects in clusters of which a part is real Swift: written, read, rebuilt and
brought home by either."""
import os
import shutil

import pytest
from real_swift import MixedCluster

from swift.common import node_client, safe_pickle

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]
NODES, SEGMENT = 7, 65536
OBJECTS = [("object", n) for n in range(NODES)]
LAYOUTS = {
    "our proxy, real nodes": OBJECTS,
    "real proxy, our nodes": [("proxy", 0)],
    "our proxy, half the nodes each": OBJECTS[::2],
    "real proxy, half the nodes each": [*OBJECTS[::2], ("proxy", 0)],
}
SIZES = (0, 1, SEGMENT, 3 * SEGMENT + 77)


@pytest.fixture(params=LAYOUTS, ids=lambda name: name.replace(" ", "-"))
def coded(request, tmp_path):
    """A cluster of seven nodes with a policy of 4+2."""
    with MixedCluster(tmp_path / "cluster", LAYOUTS[request.param], nodes=NODES, policies=2,
                      coded={1: (4, 2)}, segment_size=SEGMENT,
                      # nodes that were gone are asked again at once
                      proxy_options="error_suppression_limit = 100000") as cluster:
        yield cluster


def fill(user):
    assert user("PUT", "/box", {"X-Storage-Policy": "policy1"})[0] == 201
    stored = {}
    for size in SIZES:
        body = os.urandom(size)
        assert user("PUT", f"/box/o{size}", {"X-Object-Meta-A": "b"}, body)[0] == 201
        stored[f"/box/o{size}"] = body
    return stored


def check(user, stored):
    for path, body in stored.items():
        for _ in range(3):
            status, headers, got = user("GET", path)
            assert (status, got == body, headers["x-object-meta-a"]) == (200, True, "b"), path
        if body:
            for first, last in ((0, 0), (5, SEGMENT + 5), (len(body) - 1, len(body) + 5)):
                if first < len(body):
                    assert user("GET", path, {"Range": f"bytes={first}-{last}"})[::2] == (
                        206, body[first:last + 1])
            assert user("GET", path, {"Range": "bytes=-9"})[2] == body[-9:]


def fragments(cluster):
    """node -> name and bytes of each fragment."""
    return {n: {path.name: path.read_bytes() for path in
                cluster.root.glob(f"n{n}/d{n}/objects-1/*/*/*/*.data")} for n in range(NODES)}


def test_requests(coded):
    user = coded.login()
    stored = fill(user)
    check(user, stored)
    path, body = f"/box/o{SIZES[-1]}", stored[f"/box/o{SIZES[-1]}"]
    status, headers, got = user("GET", path, {"Range": "bytes=0-4,70000-70004"})
    assert status == 206 and headers["content-type"].startswith("multipart/byteranges")
    assert body[:5] in got and body[70000:70005] in got
    etag = user("HEAD", path)[1]["etag"]
    assert user("GET", path, {"If-None-Match": etag})[0] == 304
    assert user("GET", path, {"If-Match": "x"})[0] == 412
    assert user("POST", path, {"X-Object-Meta-A": "c", "Content-Type": "t/p"})[0] == 202
    assert user("HEAD", path)[1]["x-object-meta-a"] == "c"
    assert user("COPY", path, {"Destination": "/box/copy"})[0] == 201
    assert user("GET", "/box/copy")[2] == body
    assert user("DELETE", path)[0] == 204
    assert {user("GET", path)[0] for _ in range(4)} == {404}


def test_two_nodes_may_be_gone_and_everything_comes_home(coded):
    user = coded.login()
    stored, late = fill(user), {}
    for gone in ((0, 1), (2, 5)):
        for n in gone:
            coded.kill("object", n)
        check(user, stored)
        # Of these there is one fragment more than needed: no node may be gone until it is rebuilt.
        path, body = f"/box/late{gone[0]}", os.urandom(2 * SEGMENT)
        assert user("PUT", path, {"X-Object-Meta-A": "b"}, body)[0] == 201
        late[path] = body
        for n in gone:
            coded.start("object", n)
    stored |= late
    shutil.rmtree(coded.root / "n3/d3/objects-1")
    for _ in range(2):
        coded.everyone_once("object_reconstructor")
    held = fragments(coded)
    assert sum(len(names) for names in held.values()) == 6 * len(stored)
    times = {}
    for names in held.values():
        for name in names:
            time, index, durable = name.removesuffix(".data").split("#")
            times.setdefault(time, set()).add(index)
            assert durable == "d"
    assert set(map(len, times.values())) == {6}
    check(user, stored)


def test_hashes_and_disks_are_the_same(coded):
    """What one wrote and hashed, the other finds and hashes alike."""
    user = coded.login()
    stored = fill(user)
    user("POST", "/box/o1", {"X-Object-Meta-A": "b"})
    user("PUT", "/box/gone", body=b"1")
    user("DELETE", "/box/gone")

    def hashes():
        found = {}
        for n in range(NODES):
            for path in coded.root.glob(f"n{n}/d{n}/objects-1/*"):
                (path / "hashes.pkl").unlink(missing_ok=True)
                answer = node_client.request(
                    "127.0.0.1", coded.port("object", n), "REPLICATE", f"/d{n}/{path.name}",
                    {"X-Backend-Storage-Policy-Index": "1"}, b"", 5, 10)
                found[n, path.name] = safe_pickle.loads(answer.body)
        return found

    before = hashes()
    for n in range(NODES):
        coded.swap_object_server(n)
    assert hashes() == before
    check(user, stored)
