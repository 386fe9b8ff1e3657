# SPDX-License-Identifier: Apache-2.0
"""A client cannot tell which of proxy and storage nodes are real Swift and which are ours."""
import itertools
import json
import os
import time
from urllib.parse import quote

import pytest

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]      # a fixture starts 13 processes
PATIENCE = 30
_numbers = itertools.count()


@pytest.fixture
def user(mixed):
    return mixed.login()


@pytest.fixture
def box(user):
    name = f"c{next(_numbers)}"
    assert user("PUT", "/" + name)[0] == 201
    return "/" + name


def test_an_object_and_its_metadata(user, box):
    meta = {"X-Object-Meta-Colour": "grün", "Content-Type": "text/x", "Content-Encoding": "x"}
    wire = {key: value.encode().decode("latin-1") for key, value in meta.items()}
    assert user("PUT", box + "/o", wire, b"hello")[0] == 201
    for _ in range(6):                          # whichever replica answers
        status, headers, body = user("GET", box + "/o")
        assert (status, body, headers["x-object-meta-colour"], headers["content-type"]) == \
            (200, b"hello", wire["X-Object-Meta-Colour"], "text/x")
        assert headers["etag"] == "5d41402abc4b2a76b9719d911017c592"
    assert user("POST", box + "/o", {"X-Object-Meta-New": "1", "Content-Type": "a/b"})[0] == 202
    for _ in range(6):
        status, headers, _ = user("HEAD", box + "/o")
        assert (status, headers.get("x-object-meta-new"), headers["content-type"]) == \
            (200, "1", "a/b")
        assert "x-object-meta-colour" not in headers
    assert json.loads(user("GET", box + "?format=json")[2])[0]["content_type"] == "a/b"
    assert user("DELETE", box + "/o")[0] == 204
    assert [user("GET", box + "/o")[0] for _ in range(6)] == [404] * 6
    assert user("GET", box)[0] == 204


@pytest.mark.parametrize("size", [0, 1, 65537, 3 << 20])
def test_bodies_and_ranges(user, box, size):
    body = os.urandom(size)
    assert user("PUT", box + "/o", body=body)[0] == 201
    assert user("GET", box + "/o")[2] == body
    chunks = iter([piece for piece in (body[:100], body[100:]) if piece])
    assert user("PUT", box + "/chunked", body=chunks)[0] == 201
    assert user("GET", box + "/chunked")[2] == body
    if size > 1:
        for _ in range(4):
            assert user("GET", box + "/o", {"Range": "bytes=10-29"})[::2] == (206, body[10:30])
            status, headers, parts = user("GET", box + "/o", {"Range": "bytes=0-4,100-104"})
            assert status == 206 and headers["content-type"].startswith("multipart/byteranges")
            assert body[:5] in parts and body[100:105] in parts


def test_conditions(user, box):
    etag = user("PUT", box + "/o", body=b"x")[1]["etag"]
    for _ in range(4):
        assert user("GET", box + "/o", {"If-None-Match": etag})[0] == 304
        assert user("GET", box + "/o", {"If-Match": "other"})[0] == 412
        assert user("PUT", box + "/o", {"If-None-Match": "*"}, b"y")[0] == 412
        assert user("PUT", box + "/o", {"ETag": "0" * 32}, b"y")[0] == 422
    assert user("GET", box + "/o")[2] == b"x"


def test_listings(user, box):
    names = ["a", "a/b", "a/c", "ä ö", "z/1", "<&>", "%41"]
    for name in names:
        assert user("PUT", f"{box}/{quote(name)}", body=b"1")[0] == 201
    listed = sorted(names, key=str.encode)
    for _ in range(6):
        assert user("GET", box)[2].decode().splitlines() == listed
        assert [row["name"] for row in json.loads(user("GET", box + "?format=json")[2])] == listed
        assert user("GET", box + "?delimiter=/")[2].decode().splitlines() == \
            sorted([name for name in names if "/" not in name] + ["a/", "z/"], key=str.encode)
        assert user("GET", box + "?prefix=a/&limit=1")[2] == b"a/b\n"
        assert user("GET", box + "?reverse=true")[2].decode().splitlines() == listed[::-1]
    headers = user("HEAD", box)[1]
    assert (headers["x-container-object-count"], headers["x-container-bytes-used"]) == ("7", "7")


def test_containers_and_accounts(mixed, user, box):
    assert user("POST", box, {"X-Container-Meta-A": "b", "X-Container-Read": ".r:*"})[0] == 204
    for _ in range(6):
        headers = user("HEAD", box)[1]
        assert headers["x-container-meta-a"] == "b" and headers["x-container-read"] == ".r:*"
    assert user("POST", "", {"X-Account-Meta-K": "v"})[0] == 204
    assert all(user("HEAD")[1]["x-account-meta-k"] == "v" for _ in range(6))
    assert mixed.request("PUT", user.base + box + "/o", body=b"")[0] == 401
    assert user("PUT", box + "/o", body=b"1")[0] == 201
    assert user("DELETE", box)[0] == 409
    assert box[1:] in user("GET")[2].decode().split()
    user("DELETE", box + "/o")
    assert user("DELETE", box)[0] == 204
    assert [user("HEAD", box)[0] for _ in range(6)] == [404] * 6
    assert user("PUT", box)[0] == 201


def test_policies(user):
    name = f"/p{next(_numbers)}"
    assert user("PUT", name, {"X-Storage-Policy": "policy1"})[0] == 201
    assert all(user("HEAD", name)[1]["x-storage-policy"] == "policy1" for _ in range(6))
    assert user("PUT", name, {"X-Storage-Policy": "policy0"})[0] == 409
    assert user("PUT", name + "/o", body=b"1")[0] == 201
    assert all(user("GET", name + "/o")[2] == b"1" for _ in range(6))


def test_large_objects(user, box):
    parts = [os.urandom(1000), os.urandom(500)]
    for number, part in enumerate(parts):
        assert user("PUT", f"{box}/part{number}", body=part)[0] == 201
    manifest = json.dumps([{"path": f"{box}/part{n}", "size_bytes": len(part)}
                           for n, part in enumerate(parts)])
    assert user("PUT", box + "/slo?multipart-manifest=put", body=manifest)[0] == 201
    assert user("PUT", box + "/dlo", {"X-Object-Manifest": box[1:] + "/part"}, b"")[0] == 201
    assert user("POST", box + "/slo", {"X-Object-Meta-A": "b"})[0] == 202
    for _ in range(4):
        assert user("GET", box + "/slo")[2] == b"".join(parts)
        assert user("GET", box + "/dlo")[2] == b"".join(parts)
    assert user("COPY", box + "/slo", {"Destination": box + "/copy"})[0] == 201
    assert user("GET", box + "/copy")[2] == b"".join(parts)


def test_expired_objects_go(mixed, user, box):
    assert user("PUT", box + "/o", {"X-Delete-After": "2"}, b"1")[0] == 201
    deadline = time.monotonic() + PATIENCE
    while user("GET", box + "/o")[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    mixed.everyone_once("container_updater")      # makes the queue's account list its container
    mixed.once("object_expirer", 1)
    mixed.once("object_expirer", 0)
    mixed.everyone_once("object_updater")
    assert user("GET", box)[0] == 204
    assert not list(mixed.root.glob("n*/d*/async_pending/*/*"))
