# SPDX-License-Identifier: Apache-2.0
"""The same request to our proxy and to a real one, each over storage of its own: the same answer.

Compared are status, headers and body. Of refusals the words are ours, which say what was wrong,
and only the headers in OF_REFUSALS are compared; pages of web sites are our own too. What
is otherwise by intent is in DELIBERATE, with its reason and both answers: no row outlives it.
"""
import hashlib
import hmac
import json
import re
from itertools import product
from urllib.parse import quote

import pytest
from real_swift import MixedCluster
from same_proxies import Pair
from swift_cluster import TYPES

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]      # a fixture starts 12 processes
BODY = b"abcdefghijklmnopqrstuvwxyz" * 2
ETAG = hashlib.md5(BODY).hexdigest()
PAST, FUTURE = "Sat, 28 Nov 2007 17:29:47 GMT", "Sat, 28 Nov 2037 17:29:47 GMT"
ROOT = "/v1/AUTH_test"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    everything = {(kind, 0) for kind in (*TYPES, "proxy")}
    with MixedCluster(tmp_path_factory.mktemp("ours"), nodes=1, policies=2) as ours, \
            MixedCluster(tmp_path_factory.mktemp("real"), everything, nodes=1, policies=2) as real:
        yield Pair(ours, real)


@pytest.fixture(autouse=True)
def nothing_differs(pair):
    pair.differences.clear()
    yield
    assert not pair.differences


@pytest.fixture
def c(pair, request):
    """The path of a container of the test's own, there on both sides, with an object o."""
    path = f"{ROOT}/{re.sub(r'[^0-9A-Za-z]+', '_', request.node.name)[5:60]}"
    pair.ask("PUT", path)
    pair.ask("PUT", path + "/o", {"Content-Type": "text/x; charset=utf-8",
                                  "X-Object-Meta-A": "ü", "Content-Encoding": "gzip"}, BODY)
    return path


def test_paths_and_methods(pair, c):
    pair.ask_all(("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "FOO", "get"), (
        "/v1", "/v1/", "/", "/foo", "/v2/AUTH_test", "/v1/AUTH_none", "/v1/SERVICE_test",
        "/v1/nobody", "/v1//c", "//v1/AUTH_test", ROOT + "/no", ROOT + "/no/o", ROOT + "//o",
        ROOT + "/%FF", ROOT + "/%00", c + "/no", c + "/%FF", c + "//", c + "/..", "/healthcheck",
        ROOT + "/" + "x" * 257, c + "/" + "x" * 1025, ROOT + "/" + "ä" * 257))
    pair.ask_all(("GET", "PUT", "DELETE"), (ROOT + "/" + "ä" * 256, c + "/" + "ä" * 600))
    for method, path in product(("GET", "HEAD", "PUT", "POST"), (ROOT, c, c + "/o")):
        for user in (None, "test2:tester2", "test:tester3"):
            pair.ask(method, path, user=user)


LISTINGS = (
    "", "limit=2", "limit=0", "limit=-1", "limit=abc", "limit=10001", "limit=10000", "limit=",
    "marker=b", "marker=%FF", "end_marker=b", "marker=b&end_marker=z", "prefix=a", "prefix=%FF",
    "prefix=%00", "delimiter=/", "delimiter=--", "delimiter=%FF", "delimiter=%00", "path=",
    "delimiter=/&prefix=z/", "delimiter=/&limit=2", "delimiter=/&marker=a/", "path=a", "path=z/2",
    "path=%00", "reverse=on", "reverse=true&marker=b", "reverse=x", "delimiter=--&reverse=true",
    "states=listing", "limit=2&limit=3", "&&", "prefix=sp+ace", "prefix=%zz", "versions",
    "multipart-manifest=get", "symlink=get", "prefix=" + "p" * 2000)
FORMATS = ("", "format=plain", "format=json", "format=xml", "format=XML", "format=no", "format=",
           "format=%FF")
ACCEPTS = ("*/*", "text/plain", "text/*", "application/json", "application/xml", "text/xml",
           "application/*", "text/html", "foo", "application/json;q=0.5, text/xml;q=0.8", "*",
           "application/json, text/plain", "text/xml, application/xml", "application/json,", ",",
           ";", "text/*;q=0.1,application/json;q=0.1", "text/plain;q=2", "application/json;q=x",
           "application/json;charset=utf-8", '"', "*/json", "application/json/x", "x" * 3000)


def test_listings(pair, c):
    for name in ("a", "a/b", "a--b", "b/", "ä", "z/1", "z/2/3", "<&\"'>", "sp ace", "x\ny", "ü/ö"):
        pair.ask("PUT", f"{c}/{quote(name)}", {"Content-Type": "a/b; c=d ;e"}, b"x")
    pair.ask_all(("GET", "HEAD"), [f"{c}?{form}&{query}" for form in FORMATS for query in LISTINGS])
    pair.ask_all(("GET", "HEAD"), (c, c + "?format=json"), [{"Accept": kind} for kind in ACCEPTS])
    pair.ask_all(("GET", "HEAD"), [ROOT + "-none?" + form for form in FORMATS], [{}], [None])
    for form in FORMATS:
        # Not HEAD: of such an account a real one's is a 200, which its own tests forbid.
        pair.ask("GET", f"/v1/AUTH_never?{form}", user="admin:admin")
    pair.ask_all(("GET", "HEAD"), (c,), ({"Range": "bytes=0-1"}, {"If-None-Match": "*"},
                                         {"If-Match": "x"}, {"If-Modified-Since": FUTURE}))


@pytest.mark.parametrize("kind, path", [("Account", ""), ("Container", "/mc"),
                                        ("Object", "/mc/o")])
def test_metadata(pair, c, kind, path):
    x = f"X-{kind}-Meta-"
    path = ROOT + path
    pair.ask("PUT", ROOT + "/mc")
    pair.ask("PUT", ROOT + "/mc/o", {}, b"x")
    for headers in (
            {x + "A": "v"}, {x + "A": ""}, {x: "v"}, {x + "n" * 129: "v"}, {x + "A": "v" * 256},
            {x + "A": "v" * 257}, {},
            {f"{x}B{n}": "v" * 256 for n in range(16)}, {f"{x}C{n}": "v" for n in range(91)},
            {x + "A": "ü"}, {x + "A": " v  "}, {f"X-Remove-{kind}-Meta-A": "x"},
            {f"X-Remove-{kind}-Meta-Q": "x", x + "Q": "y"}, {f"X-{kind}-Sysmeta-A": "v"},
            {"X-Backend-Foo": "1"}, {x + "A": "v" * 8000}):
        pair.ask("POST", path, headers)
        pair.ask("HEAD", path)
    pair.ask("GET", path)


def test_settings_of_containers(pair, c):
    for headers in (
            {"X-Container-Read": ".r:*,.rlistings"}, {"X-Container-Read": ".r:-a.com,.r:*"},
            {"X-Container-Read": ".r:"}, {"X-Container-Read": ".foo:*"}, {"X-Container-Read": ","},
            {"X-Container-Read": ".r:**"}, {"X-Container-Write": ".r:*"},
            {"X-Container-Write": "a:b,*:c"}, {"X-Remove-Container-Read": "x"},
            {"X-Container-Sync-To": "foo"}, {"X-Versions-Location": "v"},
            {"X-Versions-Location": "v/x"}, {"X-History-Location": "h"},
            {"X-History-Location": "h", "X-Versions-Location": "v"}, {"X-Versions-Location": ""},
            {"X-Storage-Policy": "policy1"}, {"X-Storage-Policy": "no"},
            {"X-Container-Meta-Quota-Bytes": "abc"}, {"X-Container-Meta-Quota-Bytes": "10"},
            {"X-Timestamp": "1"}, {"X-Container-Host": "1.2.3.4"}):
        for method in ("PUT", "POST"):
            pair.ask(method, c, headers)
            pair.ask("HEAD", c)


def test_puts(pair, c):
    for headers in (
            {}, {"ETag": ETAG}, {"ETag": f'"{ETAG}"'}, {"ETag": "bad"}, {"ETag": ""},
            {"If-None-Match": "*"}, {"If-None-Match": "x"}, {"If-Match": "x"}, {"X-Delete-At": "1"},
            {"X-Delete-At": "abc"}, {"X-Delete-At": "4000000000"}, {"X-Delete-At": "1.5"},
            {"X-Delete-After": "abc"}, {"X-Delete-After": "-1"}, {"Content-Type": ""},
            {"Content-Type": "foo"}, {"Content-Type": "a/b;swift_bytes=5"},
            {"Content-Type": "a/b; charset=ü"}, {"X-Object-Manifest": "c/p"},
            {"X-Object-Manifest": "foo"}, {"X-Object-Manifest": "/c/p"},
            {"X-Object-Manifest": "c%2Fp/"}, {"X-Object-Manifest": "c/p?x"},
            {"Content-Disposition": 'attachment; filename="ü"'}, {"Cache-Control": "no-cache"},
            {"X-Detect-Content-Type": "true", "Content-Type": "a/b"}, {"X-Timestamp": "1"},
            {"X-Static-Large-Object": "true"}, {"X-Copy-From": ""},
            {"Content-Length": "5368709123"},
            {"X-Object-Meta-X": "1", "X-Object-Meta-Y": ""}, {"Range": "bytes=0-1"}):
        name = c + "/p.jpg"
        pair.ask("PUT", name, headers, BODY)
        for method in ("GET", "HEAD", "DELETE"):
            pair.ask(method, name)
    for headers in (
            {}, {"X-Object-Meta-B": "2"}, {"Content-Type": "a/b"}, {"X-Delete-At": "1"},
            {"X-Delete-After": "-1"}, {"Content-Encoding": "x"}, {"X-Remove-Delete-At": "x"},
            {"X-Static-Large-Object": "true"}, {"X-Symlink-Target": "a/b"}, {"If-Match": "x"}):
        pair.ask("POST", c + "/o", headers)
        pair.ask("HEAD", c + "/o")


RANGES = (
    "bytes=0-1", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=-", "bytes=", "bytes", "bytes=51-",
    "bytes=52-", "bytes=-99", "bytes=5-2", "bytes=a-b", "Bytes=0-1", "bytes=0-1,3-4",
    "bytes=0-1, 3-4", "bytes=3-4,0-1", "bytes=0-5,3-8", "bytes=0-5,3-8,4-9", "bytes=0-0,0-0,0-0",
    "bytes=0-1,99-", "bytes=99-,98-", "bytes=-1,-2,-3", "items=0-1", "bytes=99999999999999999999-",
    "bytes=0-99999999999999999999", "bytes=" + ",".join(f"{n}-{n}" for n in range(51)),
    "bytes=" + ",".join(f"{n}-{n}" for n in range(20, 0, -1)))
CONDITIONS = [
    *({name: value} for name in ("If-Match", "If-None-Match") for value in (
        "*", ETAG, f'"{ETAG}"', '"x"', "x", f'"x", "{ETAG}"', "", "**", f"*, {ETAG}", ",")),
    *({name: value} for name in ("If-Modified-Since", "If-Unmodified-Since") for value in (
        PAST, FUTURE, "foo", "", "Sat, 28 Nov 1937 17:29:47 GMT", "Sat Nov 28 17:29:47 2037",
        "Saturday, 28-Nov-37 17:29:47 GMT", "Sat, 32 Nov 2037 17:29:47 GMT", "1700000000")),
    {"If-Match": "x", "Range": "bytes=0-1"}, {"If-None-Match": "*", "Range": "bytes=99-"},
    {"If-Match": f'W/"{ETAG}"'}, {"If-Match": "x", "Range": "bytes=99-"},
    {"If-None-Match": ETAG, "If-Modified-Since": PAST}]


def test_ranges_and_conditions(pair, c):
    pair.ask("PUT", c + "/e", {}, b"")
    pair.ask_all(("GET", "HEAD"), (c + "/o",), [{"Range": spec} for spec in RANGES])
    pair.ask_all(("GET",), (c + "/e", c + "/no"), [{"Range": spec} for spec in RANGES])
    pair.ask_all(("GET", "HEAD"), (c + "/o", c + "/no"), CONDITIONS)


def test_queries_of_objects(pair, c):
    pair.ask_all(("GET", "HEAD"), [f"{c}/o?{query}" for query in (
        "format=json", "multipart-manifest=get", "part-number=1", "version-id=null", "version-id=",
        "version-id=x", "symlink=get", "temp_url_sig=x", "a=%FF", "%FF", "bulk-delete")])


def test_static_large_objects(pair, c):
    def put(segments, headers=None, query="", name="m"):
        body = segments if isinstance(segments, bytes) else json.dumps(segments).encode()
        pair.ask("PUT", f"{c}/{name}?multipart-manifest=put{query}", headers, body)
        for method, query in product(("GET", "HEAD"), ("", "?multipart-manifest=get")):
            pair.ask(method, f"{c}/{name}{query}")
    short = c[len(ROOT):]
    for number in range(4):
        pair.ask("PUT", f"{c}/{number}", {}, bytes([97 + number]) * 10)
    pair.ask("PUT", c + "/e", {}, b"")
    first = {"path": short + "/0"}
    for segments in (
            b"", b"{", b"{}", b"null", [], [first], [{"path": short[1:] + "/0"}], [{"path": "/x"}],
            [{"path": "//x"}], [{"path": short + "/no"}], [{**first, "etag": "bad"}],
            [{**first, "size_bytes": 10}], [{**first, "size_bytes": 9}],
            [{**first, "size_bytes": "10"}], [{**first, "size_bytes": -1}],
            [{**first, "size_bytes": 10.0}], [{**first, "range": "0-4"}],
            [{**first, "range": "bytes=0-4"}], [{**first, "range": "-4"}],
            [{**first, "range": "20-"}], [{**first, "range": ""}], [{**first, "foo": "x"}],
            [last := {"path": short + "/e"}], [last, first], [first, last],
            [{"data": "aGVsbG8="}], [{"data": "aGVsbG8="}, first], [{"data": "!!"}],
            [{"path": short + "/m"}], [first] * 1001):
        put(segments)
    put([{"path": f"{short}/{number}"} for number in range(4)], {"X-Object-Meta-A": "b"})
    for headers in ({"ETag": "bad"}, {"If-None-Match": "*"}, {"Content-Type": "a/b; c=d"}):
        put([first], headers, name="h")
    for query in ("multipart-manifest=get&format=raw", "part-number=1", "part-number=5",
                  "part-number=0", "part-number=x", "part-number=01"):
        pair.ask("GET", f"{c}/m?{query}")
    pair.ask("GET", c + "/m?part-number=1", {"Range": "bytes=0-1"})
    pair.ask_all(("GET", "HEAD"), (c + "/m", c + "/m?multipart-manifest=get"), [
        {"Range": spec} for spec in ("bytes=9-10", "bytes=-5")])
    pair.ask_all(("GET",), (c + "/m",), ({"Range": "bytes=0-1,20-21"}, {"Range": "bytes=40-"}))
    whole = hashlib.md5("".join(hashlib.md5(bytes([97 + n]) * 10).hexdigest()
                                for n in range(4)).encode()).hexdigest()
    pair.ask_all(("GET", "HEAD"), (c + "/m",), (
        {"If-Match": whole}, {"If-None-Match": f'"{whole}"'}, {"If-Match": "x"},
        {"If-None-Match": "*", "Range": "bytes=99-"}, {"If-Modified-Since": FUTURE}))
    put([{"path": short + "/m"}, {**first, "range": "0-2"}], name="n")
    pair.ask("GET", c + "/n", {"Range": "bytes=35-41"})
    pair.ask("COPY", c + "/m", {"Destination": short[1:] + "/copy"})
    pair.ask("COPY", c + "/m?multipart-manifest=get", {"Destination": short[1:] + "/copym"})
    for name in ("copy", "copym"):
        pair.ask("HEAD", f"{c}/{name}")
    pair.ask("DELETE", c + "/1")
    pair.ask("GET", c + "/m", {"Range": "bytes=0-3"})
    pair.ask_all(("DELETE",), [f"{c}/{name}?multipart-manifest=delete" for name in "mmo"],
                 [{"Accept": "application/json"}])


def test_dynamic_large_objects(pair, c):
    for number in range(3):
        pair.ask("PUT", f"{c}/p/{number}", {}, bytes([97 + number]) * 10)
    container = c.rpartition("/")[2]
    for value in ("p/", "p", "no", "p/?x"):
        pair.ask("PUT", c + "/m", {"X-Object-Manifest": f"{container}/{value}"}, b"own")
        pair.ask_all(("GET", "HEAD"), (c + "/m", c + "/m?multipart-manifest=get"), (
            {}, {"If-Match": "x"}, {"If-None-Match": "*"}))
        pair.ask_all(("GET",), (c + "/m",), ({"Range": "bytes=5-14"}, {"Range": "bytes=99-"}))
    pair.ask("POST", c + "/m", {"X-Object-Meta-A": "1"})
    pair.ask("HEAD", c + "/m")


def test_links(pair, c):
    container = c.rpartition("/")[2]
    for headers in (
            {}, {"X-Symlink-Target-Etag": ETAG}, {"X-Symlink-Target-Etag": "bad"},
            {"X-Symlink-Target-Account": "AUTH_test"}, {"X-Symlink-Target-Account": "a/b"},
            {"X-Symlink-Target-Account": ""}, {"X-Symlink-Target-Account": "AUTH_ä"},
            {"X-Symlink-Target": ""}, {"X-Symlink-Target": "c"}, {"X-Symlink-Target": c},
            {"X-Symlink-Target": f"{container}/link"}, {"X-Symlink-Target": "no/x"},
            {"Content-Type": "a/b", "X-Object-Meta-S": "s"}, {"X-Object-Manifest": "a/b"}):
        pair.ask("PUT", c + "/link", {"X-Symlink-Target": f"{container}/o", **headers}, b"")
        pair.ask_all(("GET", "HEAD"), (c + "/link", c + "/link?symlink=get"))
        pair.ask("GET", c + "?format=json")
        pair.ask("DELETE", c + "/link")
    for number in range(4):
        pair.ask("PUT", f"{c}/{number}", {"X-Symlink-Target": container + "/" + (
            str(number - 1) if number else "o")}, b"")
        pair.ask_all(("GET", "HEAD", "POST"), (f"{c}/{number}",))
    pair.ask("GET", c + "/0", {"Range": "bytes=1-2", "If-Match": ETAG})
    pair.ask("COPY", c + "/0?symlink=get", {"Destination": container + "/copy"})
    pair.ask("HEAD", c + "/copy?symlink=get")


def test_copies(pair, c):
    container = c.rpartition("/")[2]
    pair.ask("POST", c + "/o", {"X-Object-Meta-S": "s", "X-Delete-At": "4000000000"})
    to = f"{container}/d"
    for headers in (
            {}, {"Destination": c}, {"Destination": ""}, {"Destination": "/"},
            {"Destination": "no/d"}, {"Destination": f"{container}/%64"},
            {"Destination": f"{container}/" + "x" * 1025}, {"Destination-Account": "a/b"},
            {"Destination-Account": "nobody"}, {"X-Fresh-Metadata": "true"},
            {"X-Object-Meta-S": "over", "X-Object-Meta-N": ""}, {"Content-Type": "n/n"},
            {"X-Delete-At": "1"}, {"Range": "bytes=0-5"}, {"If-Match": ETAG},
            {"ETag": "x"}):
        pair.ask("COPY", c + "/o", {"Destination": to, **headers})
        pair.ask_all(("HEAD", "DELETE"), (c + "/d",))
    for headers in (
            {}, {"X-Copy-From": container}, {"X-Copy-From": "no/o"}, {"X-Copy-From": "/"},
            {"X-Copy-From-Account": ""}, {"X-Copy-From-Account": "a/b"}, {"ETag": "x"},
            {"X-Copy-From-Account": "AUTH_test2"}, {"If-Match": ETAG}):
        pair.ask("PUT", c + "/d", {"X-Copy-From": f"/{container}/o", **headers})
        pair.ask_all(("HEAD", "DELETE"), (c + "/d",))
    pair.ask("PUT", c + "/d", {"X-Copy-From": f"/{container}/o"}, b"body")


@pytest.mark.parametrize("mode", ["X-Versions-Location", "X-History-Location"])
def test_versions_of_the_first_kind(pair, c, mode):
    versions = c + mode[2:3]
    pair.ask("PUT", versions)
    pair.ask("PUT", c + mode[2:5], {mode: versions.rpartition("/")[2]})
    name = c + mode[2:5] + "/o"
    for method, headers, body in (
            *(("PUT", {"X-Object-Meta-I": str(n)}, b"v%d" % n) for n in range(3)),
            ("POST", {"X-Object-Meta-Z": "z"}, None), *[("DELETE", {}, None)] * 5,
            ("PUT", {}, b"a"), ("PUT", {"If-None-Match": "*"}, b"b")):
        pair.ask(method, name, headers, body)
        pair.ask("GET", name)
        listed = pair.answers("GET", versions + "?format=json")
        sizes = {side: [row["bytes"] for row in json.loads(answer[2])]
                 for side, answer in listed.items()}
        assert sizes["ours"] == sizes["real"]


def test_versions_of_the_second_kind(pair, c):
    pair.ask("POST", c, {"X-Versions-Enabled": "true"})
    name = c + "/v"

    def look():
        # Not reverse: a real one does not turn them round and calls another one the latest.
        pair.ask_all(("GET",), [f"{c}?{query}" for query in (
            "versions", "versions&limit=1", "format=json", "versions&format=xml",
            "versions&prefix=v&delimiter=/")])
        pair.ask_all(("GET", "HEAD"), [name + query for query in (
            "", "?version-id=null", "?version-id=x", "?version-id=1234567890.12345")])
    for method, headers, body in (
            ("PUT", {"X-Object-Meta-I": "1"}, b"one"), ("PUT", {}, b"two"), ("DELETE", {}, None),
            ("POST", {}, None), ("PUT", {"If-None-Match": "*"}, b"three")):
        pair.ask(method, name, headers, body)
        look()
    for method, query in (("PUT", "null"), ("PUT", "x"), ("DELETE", "x"), ("DELETE", "")):
        pair.ask(method, f"{name}?version-id={query}")
        look()
    pair.ask("DELETE", c)


def test_temporary_addresses(pair, c):
    pair.ask("POST", c, {"X-Container-Meta-Temp-Url-Key": "k"})

    def sign(method, path=c + "/o", digest="sha256", lead=""):
        return hmac.new(b"k", f"{lead}{method}\n4000000000\n{path}".encode(), digest).hexdigest()
    for method, signed in product(("GET", "HEAD", "POST", "OPTIONS"), ("GET", "HEAD", "PUT")):
        pair.ask(method, f"{c}/o?temp_url_sig={sign(signed)}&temp_url_expires=4000000000",
                 user=None)
    for digest in ("sha1", "sha512", "md5"):
        pair.ask("GET", f"{c}/o?temp_url_sig={sign('GET', digest=digest)}"
                 "&temp_url_expires=4000000000", user=None)
    for query in (
            "filename=a%20b", "filename=%C3%BC/x", "filename=a%22b", "filename=a%0d%0ab", "inline",
            "inline&filename=x", "temp_url_sig=x", "multipart-manifest=get", "foo=bar",
            "temp_url_prefix=o", "temp_url_ip_range=127.0.0.1", "filename="):
        pair.ask("GET", f"{c}/o?temp_url_sig={sign('GET')}&temp_url_expires=4000000000&{query}",
                 user=None)
    for expires in ("1000", "abc", "", "2096-10-02T07:06:40Z", "2096-10-02"):
        pair.ask("GET", f"{c}/o?temp_url_sig={sign('GET')}&temp_url_expires={expires}", user=None)
    prefix = sign("GET", c + "/", lead="prefix:")
    for name in ("o", "no"):
        pair.ask("GET", f"{c}/{name}?temp_url_sig={prefix}&temp_url_expires=4000000000"
                 "&temp_url_prefix=", user=None)


def test_sites(pair, c):
    for name in ("index.html", "sub/index.html", "sub2/y", "404err.html"):
        pair.ask("PUT", f"{c}/{name}", {}, name.encode())
    for headers in (
            {"X-Container-Meta-Web-Index": "index.html"}, {"X-Container-Read": ".r:*"},
            {"X-Container-Meta-Web-Error": "err.html"}, {"X-Container-Read": ".r:*,.rlistings"}):
        pair.ask("POST", c, headers)
        for path in ("", "/", "/index.html", "/sub", "/sub/", "/sub2", "/sub2/", "/no", "/sub/no"):
            pair.ask("GET", c + path, user=None)


def test_bulk(pair, c):
    container = c.rpartition("/")[2]
    for kind in ("application/json", "text/xml", "text/plain", ""):
        pair.ask("PUT", c + "/x", {}, b"x")
        pair.ask("POST", ROOT + "?bulk-delete", {"Accept": kind},
                 f"{container}/x\n{container}/no\n{container}\n".encode())
    for body in (b"", b"\n", b"bk\0\n", b"no/x", b"x" * 9000):
        pair.ask("POST", ROOT + "?bulk-delete", {"Accept": "application/json"}, body)
    for kind in ("tar", "tar.gz", "tar.bz2", "zip", ""):
        pair.ask("PUT", f"{ROOT}?extract-archive={kind}", {"Accept": "application/json"}, b"")


def test_rights(pair, c):
    for acl in ("", ".r:*", ".r:*,.rlistings", ".rlistings", ".r:.example.com", ".r:*,.r:-bad.com",
                "test:tester3", "test2", "*:tester3", "*"):
        pair.ask("POST", c, {"X-Container-Read": acl,
                             "X-Container-Write": "" if ".r" in acl else acl})
        for user, method, path in product(
                (None, "test2:tester2", "test:tester3"), ("GET", "HEAD", "POST"),
                (c, c + "/o", c + "/no")):
            pair.ask(method, path, user=user)
        for referrer in ("http://www.example.com/x", "http://bad.com", "", "*", "http://a@bad.com"):
            pair.ask("GET", c + "/o", {"Referer": referrer}, user=None)
    for text in ("{}", '{"admin":["test:tester3"]}', '{"read-only":["*"]}', '{"admin":"x"}', "[]",
                 '{"foo":["x"]}', "x", ""):
        pair.ask("POST", ROOT, {"X-Account-Access-Control": text})
        for user, method in product(("test:tester3", "test2:tester2"), ("GET", "POST")):
            pair.ask(method, c, user=user)


def test_logins(pair, c):
    good = {"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    for path in ("/auth/v1.0", "/auth/v1.0/", "/auth/v1/test/auth", "/auth/v1/other/auth"):
        pair.ask("GET", path, good, user=None)
    for headers in (
            {}, {"X-Auth-User": "test:tester"}, {"X-Auth-User": "tester", "X-Auth-Key": "testing"},
            {"X-Storage-User": "test:tester", "X-Storage-Pass": "testing"}, {
                "X-Auth-User": "test:tester", "X-Auth-Key": "bad"}, {**good, "Host": "foo.bar"}):
        pair.ask("GET", "/auth/v1.0", headers, user=None)
    for headers in ({"X-Auth-Token": "bad"}, {"X-Auth-Token": "AUTH_tkbad"},
                    {"X-Auth-Token": ""}, {"X-Storage-Token": "bad"}):
        pair.ask("GET", c, headers, user=None)
    pair.ask("GET", c, {"X-Service-Token": "bad"})
    for query in ("swiftinfo_sig=x", "swiftinfo_expires=1"):
        pair.ask("GET", "/info?" + query, user=None)


def test_other_origins(pair, c):
    for allowed in ("", "http://a.com http://b.com", "*", "http://a.com *"):
        pair.ask("POST", c, {"X-Container-Meta-Access-Control-Allow-Origin": allowed,
                             "X-Container-Meta-Access-Control-Max-Age": "60"})
        for origin in ("http://a.com", "http://c.com", "null"):
            for method, path in (("GET", c + "/o"), ("HEAD", c + "/o"), ("GET", c), ("PUT", c),
                                 ("POST", c + "/o"), ("GET", c + "/no"), ("DELETE", c + "/no")):
                pair.ask(method, path, {"Origin": origin})
            pair.ask("GET", c + "/o", {"Origin": origin}, user=None)
            for method, names in product(("GET", "PUT", "FOO"), (None, "x-foo, X-Bar")):
                pair.ask("OPTIONS", c + "/o", {
                    "Origin": origin, "Access-Control-Request-Method": method,
                    **({"Access-Control-Request-Headers": names} if names else {})}, user=None)


# (method, path below the container, headers, body, our status, the real one's, why)
DELIBERATE = [
    ("GET", "/o", {"If-None-Match": f'W/"{ETAG}"'}, None, 304, 200,
     "RFC 9110 compares weakly: proxies on the way make tags weak"),
    ("GET", "/o", {"If-None-Match": '"x"', "If-Modified-Since": FUTURE}, None, 200, 304,
     "RFC 9110: the date does not count beside tags, and a change within its second is seen"),
    ("GET", "/o", {"If-Match": '"x"', "If-None-Match": ETAG}, None, 412, 304,
     "RFC 9110: If-Match is looked at first"),
    ("GET", "/o", {"If-Range": '"x"', "Range": "bytes=0-1"}, None, 200, 206,
     "If-Range is heeded: pieces of two versions make no object"),
    ("GET", "/o", {"Range": "bytes=" + ",".join(["0-1"] * 6)}, None, 416, 206,
     "ranges that only make disks work"),
    ("GET", "", {"Accept": "application/json;q=0"}, None, 406, 200, "q=0: not acceptable"),
    ("GET", "?limit=%D9%A3", {}, None, 200, 200, "numbers are written in ASCII digits"),
    ("PUT", "/o", {"ETag": ETAG.upper()}, BODY, 201, 422, "hexadecimal in either case"),
    ("POST", "/o", {"X-Object-Manifest": "bad"}, None, 400, 202,
     "a manifest nobody can follow: a real server's HEAD of it is a 500"),
    ("PUT", "/d", {"X-Object-Manifest": "c/%FF"}, b"", 400, 201, "names are UTF-8"),
    ("PUT", "/l", {"X-Symlink-Target": "c/%FF"}, b"", 412, 201, "names are UTF-8"),
    ("PUT", "/m?multipart-manifest=put", {}, b"[1]", 400, 500, "no input makes a 500"),
    ("COPY", "/o", {"Destination": "c/%FF"}, None, 412, 500, "no input makes a 500"),
    ("PUT", "", {"X-Versions-Location": "%FF"}, None, 412, 202, "names are UTF-8"),
    ("PUT", "/o", {"Expect": "foo"}, BODY, 417, 201, "RFC 9110: an expectation nobody knows"),
    ("PUT", "/o", {"Content-Length": "+52"}, BODY, 400, 201,
     "RFC 9112: two servers must not see two bodies"),
    ("OPTIONS", "/o", {"Origin": "http://a", "Access-Control-Request-Method": "COPY"}, None,
     200, 401, "COPY is allowed, so a script may"),
]


@pytest.mark.parametrize("row", DELIBERATE, ids=lambda row: row[-1].replace(" ", "-")[:40])
def test_differences_that_are_meant(pair, c, row):
    pair.ask("POST", c, {"X-Container-Meta-Access-Control-Allow-Origin": "*"})
    method, path, headers, body, ours, real, _ = row
    answers = pair.answers(method, c + path, headers, body)
    assert (answers["ours"][0], answers["real"][0]) == (ours, real)
