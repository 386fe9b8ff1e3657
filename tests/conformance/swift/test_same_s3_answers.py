# SPDX-License-Identifier: Apache-2.0
"""The same S3 requests to a cluster of ours and to a real one: the same answers.

Compared are the status, the error's code, the document (without dates, ids and what only ours says
beside an error's code and message) and each header of the real answer: ours may say more. What is
answered in another way on purpose is in DELIBERATE, with the reason.
"""
import base64
import hashlib
import http.client
import re
import zlib
from itertools import product
from urllib.parse import quote

import pytest
from lxml import etree
from real_swift import MixedCluster
from s3_client import signed
from swift_cluster import TYPES

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]    # a fixture starts 16 processes
USERS = {"t": ("test:tester", "testing"), "t3": ("test:tester3", "testing3"),
         "o": ("test2:tester2", "testing2"), "bad": ("test:tester", "wrong")}
UNLIKE = re.compile("date|x-trans-id|x-openstack-request-id|x-amz-id-2|x-amz-request-id|connection|"
                    "last-modified|transfer-encoding|accept-ranges|access-control-allow-headers")
CHANGING = re.compile(r"[0-9-]{10}T[0-9:.]{8,}Z|[0-9]{10}\.[0-9]{5}|[A-Za-z0-9_=-]{48}")
HELLO = b"hello"
ETAG = hashlib.md5(HELLO).hexdigest()
PAST, FUTURE = "Sat, 29 Oct 1994 19:43:31 GMT", "Sat, 28 Nov 2037 17:29:47 GMT"
NO_BODY = ("policy", "cors", "lifecycle", "tagging", "logging", "notification", "object-lock",
           "encryption", "accelerate", "requestPayment", "replication", "website", "policyStatus",
           "ownershipControls", "publicAccessBlock", "versions", "torrent", "restore", "select",
           "analytics", "inventory", "metrics", "legal-hold", "retention")
# What is called METHOD path headers, as regular expressions, and why it is not the same.
DELIBERATE = {
    rf"(GET|HEAD|PUT|POST|DELETE) .*\?({'|'.join(NO_BODY)})\b":
        "what is not there is so by name; real Swift takes some for the bucket or object itself",
    r"\w+ /\?acl|GET .*acl&versions": "two subresources at once are a conflict at Amazon's",
    r".*versionId=(foo|x|)($| )": "Amazon's: InvalidArgument",
    r".*key\?versionId=null": "Amazon's: NoSuchVersion",
    r".*versionId=1111111111": "Amazon's: NoSuchVersion",
    r".*prefix=a&prefix=b": "a parameter given twice is no wrong signature",
    r".*max-keys=(%205|1_0)": "whole numbers are of digits",
    r".*(marker|start-after|continuation-token)=%FF": "no parameter may be other than UTF-8",
    r".*list-type=3": "no such version of the call",
    r"HEAD .*(%00|1025)|.*/k{1025}": "Amazon's: KeyTooLongError whatever is done",
    r".*If-Match: W/|.*If-None-Match: W/": "RFC 9110: If-None-Match compares weakly",
    r".*If-None-Match: x, If-Modified": "RFC 9110: If-None-Match decides alone",
    r".*If-Match: x, If-None-Match": "RFC 9110: If-Match comes first",
    r".*If-Range: \"x\"|.*If-Range: \"5d": "RFC 9110: another version's range is of no use",
    r"HEAD .*(Range: bytes=-1|If-None-Match.*Range)": "HEAD tells what GET would",
    r".*Range: bytes=(\+0-1|1_0-)": "RFC 9110: what is not understood is ignored",
    r"PUT /copying/k .*copying/k, x-amz-copy-source-if": "a copy onto itself is none, first of all",
    r".*copy-source-range: bytes=(0-10|10-11)": "Amazon's: a range is within its source",
    r".*copy-source-range: bytes=(5-|-5)$": "Amazon's: both ends are given",
    r".*x-amz-meta-u\W+ä": "real Swift encodes UTF-8 twice",
    r".*x-amz-grant-read: (foo|id=$|$)": "Amazon's: InvalidArgument",
    r".*Content-Type: a/b; swift_": "parameters of ours are left out",
}


class Case:
    """A request; ``save`` names what is kept of each side's answer: a header or element."""

    def __init__(self, request, headers=None, body=b"", who="t", how="v4", save=None, also=None):
        self.method, _, self.path = request.partition(" ")
        self.headers, self.body, self.who, self.how = headers or {}, body, who, how
        self.save, self.also = save or {}, also or {}

    @property
    def name(self):
        """What DELIBERATE calls it."""
        items = ", ".join(f"{n}: {v}" for n, v in [*self.headers.items(), *self.also.items()])
        return f"{self.method} {self.path} {items}".rstrip(" ")


class Side:
    """One of the clusters, and what was kept of its answers."""

    def __init__(self, port):
        self.host, self.kept = f"127.0.0.1:{port}", {}

    def fill(self, text):
        for name, value in self.kept.items():
            text = text.replace("{" + name + "}", value)
        return text

    def ask(self, case):
        """``(status, headers, document or body)``."""
        path = self.fill(case.path)
        headers = {n: self.fill(v) for n, v in case.headers.items()}
        body = self.fill(case.body.decode("latin-1")).encode("latin-1")
        if case.how:
            path, headers = signed(case.method, f"http://{self.host}{path}", *USERS[case.who],
                                   headers, body, case.how)
        headers.update(case.also)
        conn = http.client.HTTPConnection(self.host, timeout=60)
        try:
            conn.request(case.method, path, body or None, {
                **({"Content-Length": str(len(body))} if case.method in ("PUT", "POST") else {}),
                **{n: v.encode() for n, v in headers.items()}})
            reply = conn.getresponse()
            found, data = {n.lower(): v for n, v in reply.getheaders()}, reply.read()
        finally:
            conn.close()
        for name, where in case.save.items():
            inside = re.search(f"<{where}>([^<]*)<".encode(), data)
            self.kept[name] = found.get(where) or (inside[1].decode() if inside else "none")
        return reply.status, found, data


def shape(data):
    """What is compared of a body: an error's code, or a tree of tags and texts."""
    if not data.lstrip().startswith(b"<?xml"):
        return data
    root = etree.fromstring(data)
    if root.tag == "Error":
        return root.findtext("Code")

    def tree(node):
        inner = [tree(child) for child in node]
        text = CHANGING.sub("*", (node.text or "").strip())
        if node.tag.endswith("}Message") or node.tag == "Message":
            text = "*"
        return node.tag, inner or text

    return tree(root)


def differences(real, ours):
    """What is another in ours, by name."""
    found = {}
    if real[0] != ours[0]:
        found["status"] = real[0], ours[0]
    first, second = (shape(answer[2]) for answer in (real, ours))
    if first != second and b"--" not in real[2][:2]:
        found["body"] = first, second
    document = real[2].lstrip().startswith(b"<?xml") or not real[2] and real[0] >= 400
    for name, value in real[1].items():
        if UNLIKE.fullmatch(name) or name in ("content-type", "content-length") and (
                document or not real[2]) or value.startswith("multipart/byteranges"):
            continue
        if CHANGING.sub("*", value) != CHANGING.sub("*", ours[1].get(name, "")):
            found[name] = value, ours[1].get(name)
    return found


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """The real cluster and ours."""
    options = dict(nodes=2, s3_options="s3_acl = yes\ncheck_bucket_owner = yes\n"
                   "cors_preflight_allow_origin = *")
    everything = {("proxy", 0), *product(TYPES, range(2))}
    with MixedCluster(tmp_path_factory.mktemp("real"), everything, **options) as real, \
            MixedCluster(tmp_path_factory.mktemp("ours"), **options) as ours:
        yield Side(real.proxy_port), Side(ours.proxy_port)


@pytest.fixture(scope="module")
def seen():
    """The entries of DELIBERATE that something was seen of."""
    return set()


def md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def subresources():
    yield Case("PUT /sub/k", body=HELLO)
    names = [*NO_BODY, "acl", "versioning", "location", "uploads", "uploadId=x", "partNumber=1",
             "delete", "versionId=null", "versionId=", "versionId=x", "foo", "acl&versions"]
    for name, method, place in product(names, ("GET", "HEAD", "PUT", "POST", "DELETE"),
                                       ("/", "/sub", "/sub/key", "/no-sub")):
        if (method, place, name) not in SUBRESOURCES_ELSEWHERE:
            yield Case(f"{method} {place}?{name}")


SUBRESOURCES_ELSEWHERE = {
    # Real Swift heeds neither the method nor the place here; ours is as at Amazon's.
    *product(("GET", "POST", "PUT", "HEAD"), ("/sub", "/no-sub"), ("partNumber=1", "uploadId=x")),
    *product(("PUT", "DELETE"), ("/sub", "/no-sub", "/sub/key"), ("foo", "versionId=null")),
    *product(("GET", "HEAD", "PUT", "POST", "DELETE"), ("/sub/key",), (
        "location", "versioning", "delete", "uploads", "uploadId=x", "acl")),
    *product(("PUT", "POST", "DELETE", "HEAD"), ("/sub", "/no-sub"), (
        "versionId=null", "versionId=x", "versionId=", "acl&versions", "acl", "versioning",
        "delete", "uploads", "uploadId=x", "partNumber=1", "foo")),
    *product(("HEAD", "PUT", "POST", "DELETE", "GET"), ("/", "/sub/key"), ("acl&versions",)),
    *product(("GET",), ("/sub", "/no-sub"), ("delete", "uploadId=x")),
    *product(("POST",), ("/", "/sub/key"), ("foo", "partNumber=1", "versionId=null"))}


def listings():
    yield Case("GET /")
    for key in ("a", "a/b", "a/c", "b", "d/e/f", "%C3%A4", "x%20y", "%22%3C%26%3E", "n%0A", "~"):
        yield Case(f"PUT /listings/{key}", body=HELLO)
    queries = ["", "encoding-type=url", "encoding-type=x", "delimiter=/", "delimiter=/&max-keys=2",
               "prefix=a", "prefix=%C3%A4&encoding-type=url", "prefix=%FF", "prefix=%00",
               "prefix=" + "p" * 1025, "marker=b", "marker=%FF", "start-after=b", "marker=zz",
               "start-after=%FF", "fetch-owner=true", "fetch-owner=x", "continuation-token=",
               "continuation-token=abc", "continuation-token=YQ%3D%3D", "continuation-token=!!!!",
               "key-marker=b", "key-marker=b&version-id-marker=null", "version-id-marker=null",
               "version-id-marker=x", "prefix=a&prefix=b", "list-type=3", "x-id=ListObjects",
               *(f"max-keys={n}" for n in ("", "0", "1", "1001", "-1", "x", "1.5", "2147483648",
                                           "%205", "1_0", "9" * 30, "+5"))]
    for kind, query in product(("", "list-type=2&", "versions&"), queries):
        if not (kind and query.startswith("list-type")):
            yield Case(f"GET /listings?{kind}{query}".rstrip("&"))


def buckets():
    for name in ("ab", "A-B", "a_b", "a..b", ".abc", "abc-", "a.-b", "1.2.3.4", "1.2.3.400",
                 "x" * 63, "x" * 64, "a%20b", "a%0Ab", "192.168.5", "a-valid-name"):
        for method in ("PUT", "HEAD", "GET", "DELETE"):
            yield Case(f"{method} /{name}")
    for who, method in product(("t", "t3", "o"), ("PUT", "HEAD", "GET", "DELETE")):
        yield Case(f"{method} /buckets", who=who)
        yield Case("GET /buckets?location", who=who)
    yield Case("PUT /new", body=b"<CreateBucketConfiguration><LocationConstraint/>"
               b"</CreateBucketConfiguration>")
    for body in (b"x", b"<x/>", b"<CreateBucketConfiguration>", b"<CreateBucketConfiguration>"
                 b"<LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>"):
        yield Case("PUT /new", body=body)


def keys():
    for key in ("k" * 1024, "k" * 1025, ".", "..", "a/../b", "/", "//", "a//b", "%0A", "%0D%0Aa",
                "%20a%20", "%2B", "a%252Fb", "%00", "%FF", "%7F", "%22%3C%3E", "%E2%80%8B"):
        for method in ("PUT", "HEAD", "GET", "DELETE"):
            yield Case(f"{method} /keys/{key}", body=HELLO if method == "PUT" else b"")


def reading():
    yield Case("PUT /reading/k", {"Content-Type": "text/plain", "x-amz-meta-a": "b"}, HELLO)
    yield Case("PUT /reading/empty")
    conditions = [
        *({"If-Match": tag} for tag in (ETAG, f'"{ETAG}"', "*", "x", f'"x", "{ETAG}"', "")),
        *({"If-None-Match": tag} for tag in (ETAG, "*", "x", f'W/"{ETAG}"', "")),
        *({f"If-{name}-Since": date} for name in ("Modified", "Unmodified")
          for date in (PAST, FUTURE, "x")),
        {"If-Match": f'W/"{ETAG}"'}, {"If-Match": ETAG, "If-Unmodified-Since": PAST},
        {"If-None-Match": "x", "If-Modified-Since": FUTURE},
        {"If-Match": "x", "If-None-Match": ETAG}, {"If-Range": '"x"', "Range": "bytes=0-1"},
        *({"Range": spec} for spec in (
            "bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-", "bytes=4-99", "bytes=2-1",
            "bytes=0-1,3-4", "bytes=x", "0-1", "bytes=0-" + "9" * 30, "bytes=+0-1", "bytes=1_0-",
            "bytes=" + "9" * 30 + "-"))]
    for headers, key, method in product(conditions, ("k", "empty", "none"), ("GET", "HEAD")):
        yield Case(f"{method} /reading/{key}", headers)
    for number, key in product(("1", "2", "0", "-1", "x", "", "1000"), ("k", "none")):
        yield Case(f"GET /reading/{key}?partNumber={number}")
    for name, value in product(("content-type", "expires", "cache-control", "content-language",
                                "content-encoding", "content-disposition", "etag"), ("x%2Fy", "")):
        yield Case(f"GET /reading/k?response-{name}={value}")
    for headers in ({"If-Match": "x"}, {"If-Unmodified-Since": PAST}, {"If-Match": ETAG}):
        yield Case("DELETE /reading/k", headers)


def writing():
    for headers in (
            {"x-amz-meta-a": "b"}, {"x-amz-meta-a_b": "1", "x-amz-meta-a-b": "2"},
            {"x-amz-meta-": "x"}, {"x-amz-meta-e": ""}, {"x-amz-meta-u": "ä"},
            {"x-amz-meta-u": "=?UTF-8?Q?=C3=A4?="}, {"Content-Type": ""}, {"Content-Type": "x"},
            {"Content-Type": "a/b; swift_bytes=5"}, {"Content-Encoding": "aws-chunked,gzip"},
            {"Cache-Control": "x", "Expires": "x", "Content-Language": "de"},
            {"x-amz-storage-class": "GLACIER"}, {"x-amz-storage-class": "STANDARD"},
            {"x-amz-tagging": "a=b"}, {"x-amz-website-redirect-location": "/x"},
            {"x-amz-acl": "public-read"}, {"x-amz-acl": "x"}, {"x-amz-grant-read": "id=test:t3"},
            {"x-amz-grant-read": "foo"}, {"x-amz-grant-read": "uri=x"},
            {"x-amz-grant-read": "id=a", "x-amz-acl": "private"}, {"Content-MD5": md5(HELLO)},
            {"Content-MD5": md5(b"x")}, {"Content-MD5": "foo"}, {"If-None-Match": "*"},
            {"If-Match": ETAG}, {"x-amz-checksum-sha1": "AAAA"}, {"x-amz-checksum-foo": "x"},
            {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(HELLO).to_bytes(4)).decode()},
            {"x-amz-checksum-crc32": "AAAAAA=="}, {"x-amz-sdk-checksum-algorithm": "CRC32"},
            {"x-amz-trailer": "x-amz-checksum-crc32"}, {"x-amz-content-sha256": "0" * 64},
            {"x-amz-content-sha256": "foo"}):
        yield Case("PUT /writing/k", headers, HELLO)
        yield Case("HEAD /writing/k", also={"x-after": str(headers)})
    yield Case("PUT /writing/k?partNumber=1", body=HELLO)


def copying():
    yield Case("PUT /copying/k", {"x-amz-meta-a": "1", "Content-Type": "text/plain"}, HELLO)
    for source in ("/copying/k", "copying/k", "%2Fcopying%2Fk", "/copying", "/", "", "x",
                   "copying/none", "no-bucket/k", "/copying/k?versionId=null",
                   "/copying/k?versionId=x", "/copying/k?x=y", "/copying//k"):
        yield Case("PUT /copying/copy", {"x-amz-copy-source": source})
    for more in ({"x-amz-metadata-directive": "x"}, {"x-amz-metadata-directive": "REPLACE"},
                 {"x-amz-copy-source-range": "bytes=0-1"}, {"x-amz-tagging-directive": "COPY"},
                 *({f"x-amz-copy-source-if-{name}": value} for name, value in (
                     ("match", "x"), ("match", ETAG), ("none-match", ETAG), ("none-match", "x"),
                     ("modified-since", FUTURE), ("unmodified-since", PAST)))):
        for key in ("copy", "k"):
            yield Case(f"PUT /copying/{key}", {"x-amz-copy-source": "/copying/k", **more})
            yield Case(f"HEAD /copying/{key}", also={"x-after": str(more)})


def uploads():
    def parts(*items):
        return b"<CompleteMultipartUpload>" + b"".join(
            b"<Part><PartNumber>%s</PartNumber><ETag>%s</ETag></Part>" % (
                str(number).encode(), etag.encode()) for number, etag in items) \
            + b"</CompleteMultipartUpload>"

    yield Case("POST /uploads/k?uploads", save={"up": "UploadId"})
    upload = "/uploads/k?uploadId={up}"
    for number in ("1", "2", "0", "-1", "1001", "x", "", "1.0"):
        yield Case(f"PUT {upload}&partNumber={number}", body=HELLO)
    for query in ("max-parts=1", "max-parts=0", "max-parts=-1", "max-parts=", "max-parts=1001",
                  "part-number-marker=1", "part-number-marker=x", "encoding-type=x"):
        yield Case(f"GET {upload}&{query}")
    for query in ("", "prefix=k", "prefix=z", "max-uploads=0", "max-uploads=", "max-uploads=1001",
                  "max-uploads=x", "key-marker=j", "key-marker=k", "encoding-type=x"):
        yield Case(f"GET /uploads?uploads&{query}".rstrip("&"))
    yield Case("PUT /uploads/src", body=b"0123456789")
    for spec in ("bytes=0-4", "bytes=5-4", "0-4", "bytes=0-1,2-3", "bytes=0-10", "bytes=5-"):
        yield Case(f"PUT {upload}&partNumber=3", {"x-amz-copy-source": "/uploads/src",
                                                  "x-amz-copy-source-range": spec})
    for body in (b"", b"x", b"<x/>", parts(), parts(("x", ETAG)), parts((0, ETAG)),
                 parts((1, "x")), parts((1, ETAG.upper())), parts((2, ETAG), (1, ETAG)),
                 parts((7, ETAG)), parts((1, ETAG), (2, ETAG)), parts((1, ETAG), (1, ETAG))):
        yield Case(f"POST {upload}&", body=body)
    yield Case(f"POST {upload}&", body=parts((1, ETAG)), who="t3")
    for _ in range(2):
        yield Case(f"POST {upload}&", body=parts((1, ETAG)))
    for query in ("", "?partNumber=1", "?partNumber=2", "?acl"):
        yield Case(f"GET /uploads/k{query}", also={"Range": "bytes=0-1"} if not query else {})
    yield Case("POST /uploads/l?uploads", save={"up": "UploadId"})
    for _ in range(2):
        yield Case("DELETE /uploads/l?uploadId={up}&")
    yield Case("GET /uploads?uploads")


def multi_deletes():
    objects = ["<Object><Key>a</Key></Object>", "<Object><Key>a</Key><Key>b</Key></Object>",
               "<Object><Key>a</Key><Foo/></Object>", "<Object/>", "", "<Foo/>",
               "<Object><Key/></Object>", "<Quiet>true</Quiet><Object><Key>a</Key></Object>",
               "".join(f"<Object><Key>{n}</Key></Object>" for n in range(1001))]
    for body in [b"x", b"<x/>", *(f"<Delete>{o}</Delete>".encode() for o in objects)]:
        for who in ("t", "t3"):
            yield Case("PUT /deletes/a", body=HELLO)
            yield Case("POST /deletes?delete=", {"Content-MD5": md5(body)}, body, who=who)
            yield Case("HEAD /deletes/a")
    yield Case("POST /deletes?delete=", {"Content-MD5": md5(b"")}, b"<Delete/>")


def lists():
    def policy(*grants, owner="test:tester"):
        return (f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>"
                + "".join(
            '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="{}">{}'
            "</Grantee><Permission>{}</Permission></Grant>".format(*grant) for grant in grants)
            + "</AccessControlList></AccessControlPolicy>").encode()

    yield Case("PUT /lists/k", body=HELLO)
    changes = [({"x-amz-acl": name}, b"") for name in (
        "private", "public-read", "public-read-write", "authenticated-read", "x", "")]
    changes += [({f"x-amz-grant-{name}": "id=test:tester3"}, b"") for name in (
        "read", "write", "full-control", "read-acp", "write-acp")]
    changes += [({}, body) for body in (
        b"", b"x", b"<x/>", policy(), policy(owner="x"),
        policy(("CanonicalUser", "<ID>test:tester3</ID>", "READ")),
        policy(("CanonicalUser", "<ID>x</ID>", "x")),
        policy(("Group", "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>", "READ")),
        policy(("Group", "<URI>x</URI>", "READ")), policy(("x", "<ID>x</ID>", "READ")))]
    changes.append(({"x-amz-acl": "private"}, policy()))
    for place, (headers, body) in product(("/lists", "/lists/k"), changes):
        yield Case(f"PUT {place}?acl", headers, body)
        for who in ("t", "t3", "o"):
            yield Case(f"GET {place}", who=who)
            yield Case(f"GET {place}?acl", who=who)
            yield Case("PUT /lists/w", body=b"x", who=who)
    yield Case("PUT /lists/none?acl", {"x-amz-acl": "private"})


def versions():
    def state(status):
        return Case("PUT /versions?versioning", body=(
            f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
        ).encode())

    key, ask = "/versions/k", "GET /versions?versions"
    yield Case("GET /versions?versioning")
    yield Case(f"PUT {key}", body=b"null")
    for status in ("x", "", "enabled", "Suspended", "Enabled"):
        yield state(status)
        yield Case("GET /versions?versioning")
    for number in range(3):
        yield Case(f"PUT {key}", body=b"%d" % number, save={f"v{number}": "x-amz-version-id"})
    for version in ("{v0}", "{v2}", "1111111111.11111", "foo"):
        for method in ("GET", "HEAD"):
            yield Case(f"{method} {key}?versionId={version}")
        yield Case("PUT /versions/copy", {"x-amz-copy-source": f"{key}?versionId={version}"}) \
            if version.startswith("{") else Case(f"GET {key}")
    yield Case(f"GET {key}?acl&versionId={{v0}}")
    for query in ("", "prefix=k", "max-keys=1", "key-marker=k&version-id-marker={v1}",
                  "key-marker=copy", "key-marker=k&version-id-marker=foo"):
        yield Case(f"{ask}&{query}".rstrip("&"))
    yield Case(f"DELETE {key}?versionId={{v1}}")
    yield Case(ask)
    yield state("Suspended")
    yield Case(f"PUT {key}", body=b"null again")
    yield Case(f"{ask}&max-keys=1&prefix=k")
    yield Case(f"{ask}&prefix=k&key-marker=k&version-id-marker=null")
    yield Case(f"DELETE {key}")
    yield Case(f"GET {key}")
    yield Case("GET /versions")
    yield Case("DELETE /versions")


def signatures():
    yield Case("PUT /signatures/k", body=HELLO)
    for how, who, place in product(("v2", "v4", "v2-query", "v4-query"), ("t", "bad", "t3", "o"),
                                   ("/", "/signatures", "/signatures/k", "/no-bucket")):
        yield Case(f"GET {place}", how=how, who=who)
    for how in ("v2", "v4", "v2-query", "v4-query"):
        yield Case("GET /signatures/k", how=how, also={"x-amz-meta-a": "b"})
        yield Case("GET /signatures/k", how=how, also={"Host": "x"})
    for origin in ("http://a.example", "x"):
        yield Case("OPTIONS /signatures/k", {
            "Origin": origin, "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization"}, how=None)


GROUPS = (subresources, listings, buckets, keys, reading, writing, copying, uploads, multi_deletes,
          lists, versions, signatures)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_same_answers(sides, seen, group):
    bucket = {"subresources": "sub", "multi_deletes": "deletes"}.get(group.__name__,
                                                                     group.__name__)
    if group is not buckets:
        for side in sides:
            assert side.ask(Case(f"PUT /{quote(bucket)}"))[0] == 200
    found = []
    for case in group():
        real, ours = (side.ask(case) for side in sides)
        if ours[0] >= 500 and ours[0] != 501:
            found.append((case.name, "ours", ours))
            continue
        other = differences(real, ours)
        meant = [name for name in DELIBERATE if re.match(name, case.name)]
        if other:
            seen.update(meant)
        if other and not meant:
            found.append((case.name, case.body[:200], case.who, other))
    assert not found, "\n".join(str(item)[:600] for item in found)


def test_what_is_deliberate_is_there(seen, request):
    """Runs last: no entry of DELIBERATE outlives what it is about."""
    if len([item for item in request.session.items if item.path == request.path]) > len(GROUPS):
        idle = [name for name in DELIBERATE if name not in seen]
        assert not idle, "\n".join(idle)
