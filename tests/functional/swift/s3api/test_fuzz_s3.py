# SPDX-License-Identifier: Apache-2.0
"""Whatever a signed request holds, the answer is well-formed XML or data, and no 500."""
import base64
import hashlib
import hmac
import socket
from email.utils import formatdate
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.request import SUBRESOURCES, S3Request
from swift.common.middleware.s3api.signature import _v2_string
from swift.common.wsgi import BadRequest, parse_head

BASE = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http"}
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "FROB"])
KEYS = st.one_of(st.sampled_from(["", "k", "k/", "..", "%00", "%ff", "a" * 1100, "%2e%2e/x"]),
                 st.binary(max_size=30).map(quote_from_bytes))
PARAMS = st.sampled_from(sorted(SUBRESOURCES) + [
    "partNumber", "versionId", "prefix", "delimiter", "marker", "max-keys", "list-type",
    "continuation-token", "start-after", "encoding-type", "key-marker", "version-id-marker",
    "max-uploads", "upload-id-marker", "max-parts", "part-number-marker", "max-buckets",
    "response-content-type", "response-expires", "fetch-owner"])
VALUES = ["", "0", "-1", "1", "2", "+5", "9" * 30, "null", "url", "true", "%00", "%ff", "%0d%0a",
          "a%2fb", "/", "é", "0000000001.00000", "ZWM", "%F0%9F%98%80", "."]
QUERY = st.lists(st.tuples(PARAMS, st.one_of(st.sampled_from(VALUES), st.binary(
    max_size=12).map(quote_from_bytes))), max_size=3)
HEADERS = st.sampled_from([
    "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
    "Content-Type", "Content-MD5", "Content-Encoding", "Expires", "x-amz-acl", "x-amz-grant-read",
    "x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since", "x-amz-metadata-directive", "x-amz-content-sha256",
    "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-checksum-crc32", "x-amz-checksum-x",
    "x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm", "x-amz-checksum-type",
    "x-amz-checksum-mode", "x-amz-meta-a", "x-amz-meta-a_b", "x-amz-meta-", "x-amz-tagging",
    "x-amz-storage-class", "x-amz-date", "X-Delete-At", "X-Delete-After", "Origin",
    "x-amz-bucket-object-lock-enabled", "x-amz-meta-(", "Transfer-Encoding", "X-Robots-Tag"])
TEXTS = st.one_of(
    st.sampled_from(["", "0", "-1", "*", '"', "bytes=0-", "bytes=5-2", "bytes=0-0,2-3", "x/k",
                     "/fuzz-bucket/k", "fuzz-bucket/k?versionId=null", "fuzz-bucket/k?x", "%ff/%00",
                     "private", "public-read", "id=x", 'uri="x"', "CRC32", "crc32,,", "AAAAAA==",
                     "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD", "COPY", "REPLACE",
                     "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "9" * 30, "chunked", "ENABLED",
                     "x-amz-checksum-crc32", "aws-chunked", "Thu, 01 Jan 1970 00:00:00 GMT",
                     "FULL_OBJECT", "STANDARD", "GLACIER", "99999999999999"]),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40))
TAGS = st.sampled_from([
    "Delete", "Object", "Key", "VersionId", "Quiet", "CompleteMultipartUpload", "Part",
    "PartNumber", "ETag", "AccessControlPolicy", "Owner", "ID", "AccessControlList", "Grant",
    "Grantee", "Permission", "VersioningConfiguration", "Status", "CreateBucketConfiguration",
    "LocationConstraint", "ChecksumCRC32"])
TREES = st.recursive(
    st.one_of(st.just(""), st.sampled_from(["1", "READ", "Enabled", "k", "<!-- c -->", "&amp;",
                                            "<?pi?>", "&x;", "<![CDATA[<]]>", "0" * 32])),
    lambda inner: st.lists(st.tuples(TAGS, inner), max_size=3).map(
        lambda items: "".join(f"<{t}>{i}</{t}>" for t, i in items)), max_leaves=8)
BODIES = st.one_of(st.just(b""), st.binary(max_size=40), st.tuples(TAGS, TREES).map(
    lambda t: f"<{t[0]}>{t[1]}</{t[0]}>".encode()))
LIMITS = settings(max_examples=120, deadline=None,
                  suppress_health_check=[HealthCheck.function_scoped_fixture])


def sign(head):
    """The head with an Authorization of version 2, when it is a request at all."""
    try:
        env = parse_head(head, BASE)
        req = S3Request(env)
    except (BadRequest, S3Error):
        return head
    date = "" if "x-amz-date" in req.headers else req.headers.get("date", "")
    made = hmac.new(b"testing", _v2_string(req, date), "sha1").digest()
    return head + b"\r\nAuthorization: AWS test:tester:" + base64.b64encode(made)


def exchange(cluster, data):
    """``(status, headers as text, body)``, None when the connection was just closed."""
    with socket.create_connection(("127.0.0.1", cluster.proxy_port), timeout=30) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while piece := sock.recv(65536):
            got += piece
    if not got:
        return None
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head[9:12]), head.decode("latin-1").lower(), body


def check(cluster, method, path, query, headers, body, length=True):
    if query:
        path += "?" + "&".join(f"{k}={v}" for k, v in query)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close",
             *(f"{n}: {v}" for n, v in headers)]
    if "Date" not in dict(headers):
        lines.append("Date: " + formatdate(usegmt=True))
    if length:
        lines.append(f"Content-Length: {len(body)}")
    head = sign("\r\n".join(lines).encode("utf-8"))
    answer = exchange(cluster, head + b"\r\n\r\n" + body)
    if answer is None:
        return None
    status, head, content = answer
    assert status not in (500, 502, 504), (lines, content)
    if "application/xml" in head and content and "chunked" not in head:
        etree.fromstring(content)
    return status


@pytest.fixture
def fuzz(s3):
    try:
        s3.create_bucket(Bucket="fuzz-bucket")
    except s3.exceptions.ClientError:
        pass
    s3.put_object(Bucket="fuzz-bucket", Key="k", Body=b"0123456789")
    return s3


@LIMITS
@given(METHODS, st.sampled_from(["", "fuzz-bucket", "fuzz-bucket/", "x", "fuzz-bucket/k"]), KEYS,
       QUERY, st.lists(st.tuples(HEADERS, TEXTS), max_size=4), st.binary(max_size=20),
       st.booleans())
def test_no_request_is_a_500(cluster, fuzz, method, where, key, query, headers, body, length):
    if (method, where, query) == ("DELETE", "fuzz-bucket", []):
        method = "GET"
    path = f"/{where}/{key}" if key and where else f"/{where}"
    check(cluster, method, path, query, headers, body, length)
    assert check(cluster, "GET", "/", [], [], b"") == 200


@LIMITS
@given(st.sampled_from([("POST", "?delete"), ("PUT", "?acl"), ("PUT", "?versioning"), ("PUT", ""),
                        ("POST", "/k?uploadId=x"), ("PUT", "/k?acl")]), BODIES)
def test_no_document_is_a_500(cluster, fuzz, what, body):
    method, query = what
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    bucket = "/fuzz-made" if what == ("PUT", "") else "/fuzz-bucket"
    assert check(cluster, method, bucket + query, [], [("Content-MD5", md5)], body)


@LIMITS
@given(st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(
    [b"5\r\n", b"12345\r\n", b"0\r\n", b"\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"5;a=b\r\n",
     b"x-amz-checksum-crc32: AAAAAA==\r\n", b"\n", b" "]), max_size=6).map(b"".join)))
def test_no_chunk_is_a_500(cluster, raw, fuzz, body):
    path, headers = raw.sign("PUT", "/fuzz-bucket/c", {
        "x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"},
        trailer=True)
    assert raw.send("PUT", path, headers, body)[0] in (200, 400, 403)
