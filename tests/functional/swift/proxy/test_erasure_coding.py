# SPDX-License-Identifier: Apache-2.0
"""Objects of an erasure coded policy (2+1 on four nodes): whole, in parts, with nodes and fragments
missing, and made whole again."""
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from swift.common import storage, storage_policy
from swift.common.conf import read_conf
from swift.obj.reconstructor import ObjectReconstructor

SEGMENT = 65536                # see the cluster
SECONDS = 100                  # for one pass of a daemon on a busy machine
_numbers = itertools.count()


@pytest.fixture
def box(user):
    """The path of a fresh container of the policy."""
    name = f"/coded{next(_numbers)}"
    assert user("PUT", name, {"X-Storage-Policy": "policy2"})[0] == 201
    return name


def fragments(cluster):
    """Files of fragments on all nodes by node number."""
    return {int(found.parts[-7][1:]): found
            for found in cluster.root.glob("n*/d*/objects-2/*/*/*/*.data")}


@pytest.fixture(autouse=True)
def clean(cluster):
    """Each test sees only its own fragments, with all nodes up."""
    for path in cluster.root.glob("n*/d*/objects-2/*/*/*/*"):
        path.unlink()
    yield
    for n in range(cluster.nodes):
        if ("object", n) not in cluster.processes:
            cluster.start("object", n)


def reconstruct(cluster, n):
    """One pass of a node's reconstructor; what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "swift.cli.object_reconstructor",
         str(cluster.etc / f"object-{n}.conf"), "once", "verbose"],
        env=dict(os.environ, SWIFT_DIR=str(cluster.etc)), capture_output=True, text=True,
        timeout=SECONDS, check=False)
    assert done.returncode == 0 and "ERROR" not in done.stderr + done.stdout, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def reconstructor(cluster, monkeypatch):
    """A function that makes the reconstructor of a node here, with some options."""
    monkeypatch.setenv("SWIFT_DIR", str(cluster.etc))
    monkeypatch.setattr(storage, "_secrets", (b"changeme", b"tests"))
    monkeypatch.setattr(storage_policy, "_policies", None)

    def make(n, **options):
        conf = read_conf(str(cluster.etc / f"object-{n}.conf"))
        return ObjectReconstructor({**conf, **options})
    return make


@pytest.mark.parametrize("size", [0, 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT - 7])
def test_bodies_and_ranges(user, box, size):
    body = os.urandom(size)
    etag = hashlib.md5(body).hexdigest()
    status, headers, _ = user("PUT", box + "/o", {"X-Object-Meta-A": "b"}, body)
    assert (status, headers["etag"]) == (201, etag)
    status, headers, got = user("GET", box + "/o")
    assert (status, got, headers["etag"], headers["content-length"]) == (200, body, etag, str(size))
    assert headers["x-object-meta-a"] == "b" and headers["accept-ranges"] == "bytes"
    assert not [name for name in headers if "sysmeta" in name or "backend" in name]
    status, headers, _ = user("HEAD", box + "/o")
    assert (status, headers["etag"], headers["content-length"]) == (200, etag, str(size))
    row = json.loads(user("GET", box + "?format=json")[2])[0]
    assert (row["bytes"], row["hash"]) == (size, etag)
    for first, last in ((0, 0), (0, SEGMENT), (SEGMENT - 1, SEGMENT), (size - 2, size + 9)):
        if 0 <= first < size:
            status, headers, got = user("GET", box + "/o", {"Range": f"bytes={first}-{last}"})
            assert (status, got) == (206, body[first:last + 1])
            assert headers["content-range"] == f"bytes {first}-{min(last, size - 1)}/{size}"
    for count in (1, SEGMENT, size + 1):
        if size:
            assert user("GET", box + "/o", {"Range": f"bytes=-{count}"})[2] == body[-count:]
    status, headers, _ = user("GET", box + "/o", {"Range": f"bytes={size}-"})
    assert (status, headers["content-range"]) == (416, f"bytes */{size}")


def test_several_ranges(user, box):
    body = os.urandom(3 * SEGMENT)
    user("PUT", box + "/o", {"Content-Type": "t/p"}, body)
    wanted = [(0, 4), (SEGMENT - 5, SEGMENT + 5), (len(body) - 3, len(body) - 1)]
    text = ",".join(f"{first}-{last}" for first, last in wanted)
    status, headers, got = user("GET", box + "/o", {"Range": f"bytes={text}"})
    kind, _, boundary = headers["content-type"].partition(";boundary=")
    assert (status, kind, len(got)) == (206, "multipart/byteranges",
                                        int(headers["content-length"]))
    parts = got.split(b"--" + boundary.encode())[1:-1]
    for part, (first, last) in zip(parts, wanted, strict=True):
        head, _, data = part.partition(b"\r\n\r\n")
        assert b"Content-Type: t/p" in head
        assert f"Content-Range: bytes {first}-{last}/{len(body)}".encode() in head
        assert data == body[first:last + 1] + b"\r\n"
    assert user("GET", box + "/o", {"Range": "bytes=0-1,999999999-"})[2] == body[:2]


def test_conditions_and_metadata(user, box):
    etag = user("PUT", box + "/o", body=b"x" * 9)[1]["etag"]
    assert user("GET", box + "/o", {"If-None-Match": etag})[0] == 304
    assert user("HEAD", box + "/o", {"If-None-Match": etag})[1]["etag"] == etag
    assert user("GET", box + "/o", {"If-Match": "other"})[0] == 412
    assert user("GET", box + "/o", {"If-Match": etag})[0] == 200
    ranged = {"Range": "bytes=0-1", "If-Range": etag}
    assert user("GET", box + "/o", ranged)[2] == b"xx"
    assert user("GET", box + "/o", {**ranged, "If-Range": "other"})[::2] == (200, b"x" * 9)
    assert user("PUT", box + "/o", {"If-None-Match": "*"}, b"y")[0] == 412
    assert user("PUT", box + "/o", {"ETag": "0" * 32}, b"y")[0] == 422
    assert user("POST", box + "/o", {"X-Object-Meta-A": "b", "Content-Type": "a/b"})[0] == 202
    status, headers, got = user("GET", box + "/o")
    assert (got, headers["x-object-meta-a"], headers["content-type"]) == (b"x" * 9, "b", "a/b")
    row = json.loads(user("GET", box + "?format=json")[2])[0]
    assert (row["bytes"], row["hash"], row["content_type"]) == (9, etag, "a/b")
    assert user("DELETE", box + "/o")[0] == 204
    assert user("GET", box + "/o")[0] == user("DELETE", box + "/o")[0] == 404
    assert user("GET", box)[2] == b""


def test_copies_and_large_objects(user, box, container):
    parts = [os.urandom(SEGMENT + 9), os.urandom(100)]
    for number, part in enumerate(parts):
        user("PUT", f"{box}/part{number}", body=part)
    manifest = json.dumps([{"path": f"{box}/part{n}"} for n in range(2)])
    assert user("PUT", box + "/slo?multipart-manifest=put", body=manifest)[0] == 201
    user("PUT", box + "/dlo", {"X-Object-Manifest": box[1:] + "/part"}, b"")
    whole = b"".join(parts)
    for name in ("/slo", "/dlo"):
        assert user("GET", box + name)[2] == whole
        middle = {"Range": f"bytes={SEGMENT}-{SEGMENT + 20}"}
        assert user("GET", box + name, middle)[2] == whole[SEGMENT:SEGMENT + 21]
    for target in (f"{box}/copy", f"/{container}/copy"):
        assert user("COPY", box + "/slo", {"Destination": target})[0] == 201
        assert user("GET", target)[2] == whole
    assert user("COPY", f"/{container}/copy", {"Destination": f"{box}/back"})[0] == 201
    assert user("GET", f"{box}/back")[2] == whole


def test_any_node_may_be_gone_and_comes_back(cluster, user, box):
    body, newer = os.urandom(3 * SEGMENT), os.urandom(2 * SEGMENT)
    user("PUT", box + "/o", body=body)
    [gone, *_] = holders = list(fragments(cluster))
    spare = next(n for n in range(4) if n not in holders)
    cluster.kill("object", gone)
    for _ in range(4):
        assert user("GET", box + "/o")[2] == body
    assert user("PUT", box + "/o", body=newer)[0] == 201
    assert user("GET", box + "/o")[2] == newer
    cluster.start("object", gone)
    assert spare in fragments(cluster)
    for _ in range(4):
        assert user("GET", box + "/o")[2] == newer
    reconstruct(cluster, spare)
    found = fragments(cluster)
    assert set(found) == set(holders) and len({path.name.partition("#")[0]
                                               for path in found.values()}) == 1


def test_what_was_deleted_stays_deleted(cluster, user, box):
    user("PUT", box + "/o", body=b"x" * 100)
    gone, other, _ = fragments(cluster)
    cluster.kill("object", gone)
    assert user("DELETE", box + "/o")[0] == 204
    cluster.start("object", gone)
    assert {user("GET", box + "/o")[0] for _ in range(4)} == {404}
    reconstruct(cluster, other)
    assert not fragments(cluster)


def test_a_lost_fragment_is_rebuilt(cluster, user, box):
    body = os.urandom(2 * SEGMENT + 5)
    user("PUT", box + "/o", body=body)
    before = {n: (path, path.read_bytes()) for n, path in fragments(cluster).items()}
    lost, looks = list(before)[:2]
    before[lost][0].unlink()
    assert user("GET", box + "/o")[2] == body
    assert "1 sent" in reconstruct(cluster, looks)
    path, data = before[lost]
    assert path.read_bytes() == data


def test_a_solitary_fragment_goes_to_quarantine(cluster, user, box, reconstructor):
    """What a node that was away too long brought back is not tried again in each pass."""
    user("PUT", box + "/o", body=b"x" * 100)
    keeper, second, third = found = fragments(cluster)
    quarantined = cluster.root / f"n{keeper}/d{keeper}/quarantined/objects-2"
    found[third].unlink()
    enough = dict(quarantine_threshold="1", quarantine_age="0")
    reconstructor(keeper, **enough).run_once()                 # two can be read: rebuilt
    assert set(fragments(cluster)) == {keeper, second, third}
    found[second].unlink()
    found[third].unlink()
    for options in ({}, dict(enough, quarantine_age="600"), dict(enough, quarantine_threshold="0")):
        reconstructor(keeper, **options).run_once()
        assert set(fragments(cluster)) == {keeper}
    cluster.kill("object", second)                             # might have a fragment
    reconstructor(keeper, **enough).run_once()
    assert set(fragments(cluster)) == {keeper}
    cluster.start("object", second)
    reconstructor(keeper, **enough).run_once()
    assert not fragments(cluster)
    assert [path.name for path in quarantined.glob("*/*")] == [found[keeper].name]


def test_a_revert_brings_home_no_more_than_it_may(cluster, user, box, reconstructor):
    for number in range(12):
        user("PUT", f"{box}/o{number}", body=b"x" * 100)
    partition, count = Counter(int(path.parts[-4]) for path in cluster.root.glob(
        "n*/d*/objects-2/*/*/*/*.data")).most_common(1)[0]
    assert count >= 6
    homes = list(cluster.root.glob(f"n*/d*/objects-2/{partition}"))
    spare = ({0, 1, 2, 3} - {int(home.parts[-3][1:]) for home in homes}).pop()
    away = cluster.root / f"n{spare}/d{spare}/objects-2/{partition}"
    away.parent.mkdir(exist_ok=True)
    shutil.rmtree(away, ignore_errors=True)
    homes[0].rename(away)
    daemon = reconstructor(spare, max_objects_per_revert="1")
    for left in range(count // 3 - 1, -1, -1):
        daemon.run_once()
        assert len(list(away.glob("*/*/*.data"))) == left
    assert len(list(homes[0].glob("*/*/*.data"))) == count // 3


def test_a_broken_fragment_costs_nothing(cluster, user, box):
    body = os.urandom(SEGMENT // 2)
    user("PUT", box + "/o", body=body)
    path = fragments(cluster)[min(fragments(cluster))]
    with open(path, "r+b") as broken:
        broken.seek(100)
        broken.write(b"\0" * 20)
    for _ in range(6):
        assert user("GET", box + "/o")[2] == body


def test_what_nobody_made_durable_is_not_served(cluster, user, box):
    old, new = os.urandom(900), os.urandom(900)
    user("PUT", box + "/o", body=old)
    kept = {path: (path.read_bytes(), os.getxattr(path, "user.swift.metadata"),
                   os.getxattr(path, "user.swift.metadata_checksum"))
            for path in fragments(cluster).values()}
    user("PUT", box + "/o", body=new)
    for path in fragments(cluster).values():
        path.rename(str(path).replace("#d.data", ".data"))
    for path, (data, metadata, checksum) in kept.items():
        path.write_bytes(data)
        os.setxattr(path, "user.swift.metadata", metadata)
        os.setxattr(path, "user.swift.metadata_checksum", checksum)
    for _ in range(4):
        assert user("GET", box + "/o")[2] == old
    for path in kept:
        path.unlink()
    assert user("GET", box + "/o")[0] == 404
