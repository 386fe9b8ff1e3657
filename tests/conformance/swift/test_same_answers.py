# SPDX-License-Identifier: Apache-2.0
"""The same request to a storage server of ours and to a real one: the same answer, the same disk.

Node 0 is ours, node 1 is real; DEV in a path is the device of each.
"""
import http.client
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from real_swift import MixedCluster
from swift_cluster import TYPES
from swift_disk import columns, snapshot

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]      # a fixture starts 13 processes
# What no one on the wire looks at, and what tells when and where, not what.
UNLIKE = {"date", "x-trans-id", "x-openstack-request-id", "server", "connection",
          "content-length", "content-type", "allow", "x-timestamp", "x-backend-expired"}
OBJECT = "/DEV/3/AUTH_a/c/"
NO_CONTAINER_SERVER = {"X-Container-Host": "127.0.0.1:1", "X-Container-Device": "d9",
                       "X-Container-Partition": "1", "X-Trans-Id": "t"}


class Pair:
    """Both servers of each kind; `differences` is what was not the same."""

    def __init__(self, cluster):
        self.cluster, self.start, self.differences = cluster, time.time(), []

    def at(self, seconds, **headers):
        """Headers with a time so many seconds after the start."""
        return {"X-Timestamp": f"{self.start + seconds:.5f}",
                **{name.replace("_", "-"): value for name, value in headers.items()}}

    def _one(self, kind, n, method, path, headers, body):
        conn = http.client.HTTPConnection("127.0.0.1", self.cluster.ports[kind, n], timeout=30)
        try:
            conn.request(method, path.replace("DEV", f"d{n}"), body or None, {
                **({"Content-Length": str(len(body))} if method in ("PUT", "POST") else {}),
                **{name: value.encode() for name, value in headers.items()}})
            reply = conn.getresponse()
            shown = {name.lower(): value for name, value in reply.getheaders()
                     if name.lower() not in UNLIKE
                     and not (kind != "object" and name.lower() == "x-backend-timestamp")}
            return reply.status, shown, reply.read()
        finally:
            conn.close()

    def ask(self, kind, method, path, headers=None, body=b""):
        ours, real = (self._one(kind, n, method, path, headers or {}, body) for n in (0, 1))
        same = ours[0] == real[0]
        if ours[0] < 300:
            same = same and ours[1] == real[1]
        if ours[0] in (200, 206) and method == "GET":
            same = same and ours[2] == real[2]
        if not same:
            self.differences.append((kind, method, path, headers, ours, real))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    cluster = MixedCluster(tmp_path_factory.mktemp("pair"), {(kind, 1) for kind in TYPES},
                           nodes=2, policies=2)
    cluster.configure()
    try:
        for kind in TYPES:
            for n in (0, 1):
                cluster.start(kind, n)
        yield Pair(cluster)
    finally:
        cluster.stop()


@pytest.fixture(autouse=True)
def nothing_differs(pair):
    pair.differences.clear()
    yield
    assert not pair.differences


def test_objects(pair):
    at, ask, o = pair.at, pair.ask, OBJECT + "o"
    text = {"Content_Type": "text/plain"}
    for method, headers in (("PUT", at(0, **text)), ("GET", {}), ("HEAD", {}),
                            ("PUT", at(0, **text)), ("PUT", at(-1, **text)), ("PUT", at(1)),
                            ("PUT", {"Content-Type": "a/b"}), ("POST", at(2, X_Object_Meta_N="ñ")),
                            ("HEAD", {}), ("POST", at(3, Content_Type="n/t")), ("HEAD", {}),
                            ("POST", at(2.5)), ("POST", at(4, X_Delete_At="1")), ("FOO", {})):
        ask("object", method, o, headers, b"hello" if method == "PUT" else b"")
    for spec in ("0-1", "-2", "3-", "99-", "5-2", "-0", "0-99", "x"):
        ask("object", "GET", o, {"Range": "bytes=" + spec})
    for condition in ({"If-Match": "5d41402abc4b2a76b9719d911017c592"}, {"If-Match": "x"},
                      {"If-Match": "*"}, {"If-None-Match": "*"}, {"If-None-Match": "x"},
                      {"If-Modified-Since": "Sat, 28 Nov 2037 17:29:47 GMT"},
                      {"If-Unmodified-Since": "Mon, 28 Nov 2016 17:29:47 GMT"}):
        for name in (o, OBJECT + "nothing"):
            ask("object", "GET", name, condition)
            ask("object", "HEAD", name, condition)
    ask("object", "PUT", o, at(5, If_None_Match="*", **text), b"x")
    for seconds in (6, 7, 6.5):
        ask("object", "DELETE", OBJECT + "gone", at(seconds))
    ask("object", "GET", OBJECT + "gone")
    ask("object", "PUT", OBJECT + "gone", at(6.2, **text), b"x")
    for name in (o, OBJECT + "gone", OBJECT + "nothing"):
        for seconds, at_time in ((8, "55"), (8, "55.00000"), (8, "0.00000"), (8, "abc"), (1, "55")):
            if (name, at_time) != (o, "0.00000"):
                ask("object", "DELETE", name, at(seconds, X_If_Delete_At=at_time))


def test_metadata_of_objects(pair):
    at, ask = pair.at, pair.ask
    ask("object", "PUT", OBJECT + "%C3%A4%20x/y", at(
        1, Content_Type="text/ö", X_Object_Meta_Foo="bär", X_Object_Sysmeta_X="y",
        X_Object_Transient_Sysmeta_T="t", Content_Encoding="gzip", Content_Disposition="at",
        X_Object_Manifest="c/x", X_Foo="no", X_Static_Large_Object="True",
        X_Object_Meta_Empty=""), b"hello")
    ask("object", "HEAD", OBJECT + "%C3%A4%20x/y")
    ask("object", "POST", OBJECT + "%C3%A4%20x/y", at(2, X_Object_Meta_New="é"))
    ask("object", "HEAD", OBJECT + "%C3%A4%20x/y")
    moved = {"X-Timestamp": f"{pair.start + 1:.5f}_0000000000000003", "Content-Type": "a/b"}
    ask("object", "PUT", OBJECT + "moved", moved, b"x")
    ask("object", "POST", OBJECT + "moved", {**moved, "X-Timestamp":
                                             f"{pair.start + 2:.5f}_0000000000000003"})
    ask("object", "HEAD", OBJECT + "moved")
    ask("object", "PUT", OBJECT + "at", at(1, Content_Type="a/b",
                                           X_Object_Sysmeta_Crypto_Etag="abc"), b"x")
    ask("object", "GET", OBJECT + "at", {"X-Backend-Etag-Is-At": "X-Object-Sysmeta-Crypto-Etag",
                                         "If-None-Match": "abc"})


def test_expiry_of_objects(pair):
    at, ask = pair.at, pair.ask
    past = str(int(pair.start) - 50)
    for name in ("exp", "exp2"):
        ask("object", "PUT", OBJECT + name, at(-100, Content_Type="a/b", X_Delete_At=past), b"x")
    for headers in ({}, {"X-Backend-Open-Expired": "true"}, {"X-Backend-Replication": "true"}):
        ask("object", "GET", OBJECT + "exp", headers)
    ask("object", "POST", OBJECT + "exp", at(9))
    ask("object", "POST", OBJECT + "exp", at(9, X_Backend_Open_Expired="true"))
    ask("object", "DELETE", OBJECT + "exp2", at(10, X_If_Delete_At=past + ".00000"))
    ask("object", "PUT", OBJECT + "past", at(0, Content_Type="a/b", X_Delete_At=past), b"x")
    queue = {"X-Delete-At": str(int(pair.start) + 86400), "X-Delete-At-Container": "1700000000",
             "X-Delete-At-Partition": "1", "X-Delete-At-Host": "127.0.0.1:1",
             "X-Delete-At-Device": "d9"}
    ask("object", "PUT", OBJECT + "queued", {**at(1, Content_Type="a/b"), **queue}, b"x")
    ask("object", "DELETE", OBJECT + "queued", at(2))


def test_updates_that_wait(pair):
    at, ask = pair.at, pair.ask
    for number, more in enumerate((
            {}, {"X-Backend-Container-Update-Override-Etag": "oe",
                 "X-Backend-Container-Update-Override-Size": "7"},
            {"X-Object-Sysmeta-Container-Update-Override-Etag": "se"},
            {"X-Backend-Quoted-Container-Path": ".shards_a/c%C3%A4"})):
        ask("object", "PUT", f"{OBJECT}w{number}",
            {**at(1, Content_Type="a/b;p=1"), **NO_CONTAINER_SERVER, **more}, b"x")
    ask("object", "POST", OBJECT + "w2", {**at(2, Content_Type="x/y"), **NO_CONTAINER_SERVER})
    ask("object", "DELETE", OBJECT + "w1", {**at(3), **NO_CONTAINER_SERVER})


def test_policies_of_objects(pair):
    one = {"X-Backend-Storage-Policy-Index": "1"}
    pair.ask("object", "PUT", OBJECT + "p", {**pair.at(1, Content_Type="a/b"), **one}, b"x")
    pair.ask("object", "GET", OBJECT + "p", one)
    pair.ask("object", "GET", OBJECT + "p")
    pair.ask("object", "GET", OBJECT + "p", {"X-Backend-Storage-Policy-Index": "7"})


@pytest.mark.parametrize("kind, path", [("account", "/DEV/3/AUTH_a"),
                                        ("container", "/DEV/3/AUTH_a/c")])
def test_databases(pair, kind, path):
    at, ask, title = pair.at, pair.ask, kind.title()
    for method, headers in (
            ("HEAD", {}), ("GET", {}), ("POST", at(0)), ("DELETE", at(0.5)),
            ("PUT", at(1, **{f"X_{title}_Meta_Foo": "bär", f"X_{title}_Sysmeta_B": "s"})),
            ("PUT", at(0.9)), ("PUT", at(1.1)), ("PUT", {}), ("HEAD", {}), ("GET", {}),
            ("POST", at(2, **{f"X_{title}_Meta_New": "s", "X_Container_Read": ".r:*",
                              "X_Foo": "f"})), ("HEAD", {}),
            ("POST", at(3, **{f"X_{title}_Meta_Foo": ""})), ("HEAD", {}), ("FOO", {}),
            ("POST", at(3.1, **{f"X_{title}_Meta_{n}": "x" for n in range(100)})),
            ("GET", {"Accept": "application/json"}), ("GET", {"Accept": "foo/x"})):
        ask(kind, method, path, headers)


def test_rows_and_listings(pair):
    at, ask, c = pair.at, pair.ask, "/DEV/3/AUTH_a/c"
    row = {"X_Size": "3", "X_Content_Type": "text/plain", "X_Etag": "etag"}
    for number, name in enumerate(("a", "a/b", "a/c", "b", "ä", "z/1", "z/2/3", "<&\"'>")):
        ask("container", "PUT", f"{c}/{quote(name)}", at(10 + number, **row))
    ask("container", "PUT", c + "/a", at(9, **row))
    ask("container", "PUT", c + "/bytes", at(30, **{**row, "X_Content_Type": "t;swift_bytes=7"}))
    ask("container", "PUT", c + "/ct", at(31, **row))
    for ctype, meta in ((32, 33), (31.5, 34)):
        ask("container", "PUT", c + "/ct", at(
            31, **{**row, "X_Content_Type": f"new/{ctype}"},
            X_Content_Type_Timestamp=at(ctype)["X-Timestamp"],
            X_Meta_Timestamp=at(meta)["X-Timestamp"]))
    ask("container", "PUT", c + "/other", at(35, **row, X_Backend_Storage_Policy_Index="1"))
    ask("container", "DELETE", c + "/a/c", at(40))
    ask("container", "DELETE", c, at(41))
    for query in ("", "limit=2", "limit=0", "limit=99999", "marker=b", "end_marker=b", "prefix=a",
                  "prefix=z/&delimiter=/", "delimiter=/", "delimiter=/&limit=2", "path=z",
                  "delimiter=/&marker=a/", "reverse=true", "reverse=on&delimiter=/&limit=3",
                  "prefix=%ff", "delimiter=/&end_marker=z/"):
        for form in ("json", "plain"):
            ask("container", "GET", f"{c}?format={form}&{query}")
    ask("container", "GET", c + "?format=json", {"X-Backend-Override-Policy": "true",
                                                 "X-Backend-Storage-Policy-Index": "1"})
    ask("container", "HEAD", c)
    numbers = {"X_Put_Timestamp": at(10)["X-Timestamp"], "X_Delete_Timestamp": "0",
               "X_Object_Count": "2", "X_Bytes_Used": "30"}
    for name in ("a", "b", "ä"):
        ask("account", "PUT", "/DEV/3/AUTH_a/" + quote(name), at(10, **numbers))
    ask("account", "PUT", "/DEV/3/AUTH_none/b", at(10, **numbers))
    for query in ("", "limit=1", "marker=a", "prefix=b", "reverse=true"):
        ask("account", "GET", f"/DEV/3/AUTH_a?format=json&{query}")
    for method, seconds in (("DELETE", 50), ("HEAD", 50), ("PUT", 51), ("PUT", 49), ("POST", 51)):
        ask("account", method, "/DEV/3/AUTH_a", at(seconds))


def _timeless(value):
    """Without what names the server that wrote it."""
    if isinstance(value, dict):
        headers = value.get("headers")
        if isinstance(headers, dict):
            value = {**value, "headers": {name: text for name, text in headers.items()
                                          if name not in ("Referer", "User-Agent")}}
        return {key: _timeless(item) for key, item in value.items() if key != "metadata"}
    if isinstance(value, (list, tuple)):
        return [_timeless(item) for item in value]
    return str(value)


def test_the_disks_hold_the_same(pair):
    """Runs last: file names, extended attributes, hashes, waiting updates, rows."""
    for kind in TYPES:
        for n in (0, 1):
            pair.cluster.kill(kind, n)
    ours, real = (snapshot(Path(pair.cluster.root) / f"n{n}/d{n}") for n in (0, 1))
    kept = [name for name in real if not name.endswith(".pending")]
    assert set(kept) == {name for name in ours if not name.endswith(".pending")}
    assert len(kept) > 20
    for name in kept:
        assert _timeless(ours[name]) == _timeless(real[name]), name
        if name.endswith(".db"):
            first, second = (columns(Path(pair.cluster.root) / f"n{n}/d{n}/{name}")
                             for n in (0, 1))
            assert {table: sorted(names) for table, names in first.items()} == \
                {table: sorted(names) for table, names in second.items()}
