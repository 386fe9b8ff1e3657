# SPDX-License-Identifier: Apache-2.0
"""What hurt S3 APIs before cannot hurt here: one test for each row of the checklist."""
import base64
import hashlib
import itertools
import os
import re
from pathlib import Path

import pytest
import requests
from botocore.exceptions import ClientError
from s3_client import Raw

XXE = "<!DOCTYPE foo [<!ENTITY xxe SYSTEM \"file:///etc/hostname\">]>"
NATIVE = {"X-Copy-From": "/{bucket}/secret", "X-Copy-From-Account": "AUTH_test2",
          "X-Symlink-Target": "{bucket}/secret", "X-Object-Manifest": "{bucket}/s",
          "X-Static-Large-Object": "true", "X-Object-Sysmeta-S3api-Acl": "{{}}",
          "X-Backend-Storage-Policy-Index": "1", "X-Timestamp": "1", "Destination": "x/y",
          "X-Object-Meta-Sneaked": "1", "X-Container-Read": ".r:*", "X-Fresh-Metadata": "true"}


def md5(body):
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@pytest.mark.parametrize("name", ["x-amz-copy-source", "x-amz-acl", "x-amz-grant-read",
                                  "x-amz-meta-a", "x-amz-tagging", "x-amz-anything"])
def test_security_e14_a_presigned_put_stays_what_it_is(raw, bucket, name):
    """E14: a presigned PUT with an unsigned x-amz-* header: AccessDenied, nothing stored."""
    raw("PUT", f"/{bucket}/secret", body=b"secret")
    path, headers = raw.sign("PUT", f"/{bucket}/dropbox", how="v4-query")
    status, _, body = raw.send("PUT", path, {**headers, name: f"/{bucket}/secret"}, b"")
    assert status == 403 and b"<Code>AccessDenied</Code>" in body
    assert raw("HEAD", f"/{bucket}/dropbox")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "GET", "HEAD", "DELETE"])
def test_security_e8_a_signature_is_for_one_request(raw, bucket, method):
    """E8: a presigned URL opens that one request: no other method, key, account or service."""
    raw("PUT", f"/{bucket}/k", body=b"x")
    path, headers = raw.sign("GET", f"/{bucket}/k", how="v4-query")
    if method != "GET":
        assert raw.send(method, path, headers, b"")[0] == 403
    for other in (f"/{bucket}/l", f"/v1/AUTH_test/{bucket}/k", "/auth/v1.0", "/info"):
        status, got, _ = raw.send(method, path.replace(f"/{bucket}/k", other, 1), headers, b"")
        assert status == 403 and "x-auth-token" not in got


def test_security_e12_no_credentials_by_signature(raw, cluster):
    """E12: whoever signs for S3 gets no token of tempauth's by it."""
    for path in ("/auth/v1.0", "/auth/v1/test/auth", "/v1/AUTH_test"):
        for how in ("v2", "v4", "v2-query", "v4-query"):
            status, headers, body = raw("GET", path, how=how)
            assert status in (400, 403, 404) and "x-auth-token" not in headers, (path, how)


@pytest.mark.parametrize("how", ["v2", "v4"])
def test_security_e13_requests_without_a_date(raw, how):
    """E13: neither Date nor x-amz-date: AccessDenied."""
    path, headers = raw.sign("GET", "/", how=how)
    headers = {n: v for n, v in headers.items() if n.lower() not in ("date", "x-amz-date")}
    status, _, body = raw.send("GET", path, headers)
    assert status == 403 and b"<Code>AccessDenied</Code>" in body


@pytest.mark.parametrize("headers", [
    {"x-amz-content-sha256": hashlib.sha256(b"another").hexdigest()},
    {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"another").digest()).decode()},
    {"Content-MD5": md5(b"another")}])
@pytest.mark.parametrize("size", [10, 200_000])
def test_security_e15_the_body_is_the_one_that_was_meant(raw, bucket, headers, size):
    """E15: another body than was signed or summed: 400, and the old object stays."""
    raw("PUT", f"/{bucket}/k", body=b"old")
    status, _, body = raw("PUT", f"/{bucket}/k", headers, b"x" * size, "v2")
    assert status == 400, body
    assert raw("GET", f"/{bucket}/k")[2] == b"old"
    path, sent = raw.sign("PUT", f"/{bucket}/k", body=b"x" * size)
    assert raw.send("PUT", path, sent, b"y" * size)[0] == 400
    assert raw("GET", f"/{bucket}/k")[2] == b"old"


@pytest.mark.parametrize("name", NATIVE)
def test_security_s12_native_headers_do_nothing(raw, user, bucket, name):
    """S12: headers of the store's own API, sent through S3, are dropped on every verb."""
    raw("PUT", f"/{bucket}/secret", body=b"secret")
    also = {name: NATIVE[name].format(bucket=bucket)}
    for how in ("v4", "v2"):
        assert raw("PUT", f"/{bucket}/k", body=b"mine", how=how, also=also)[0] == 200
        status, headers, body = raw("GET", f"/{bucket}/k", how=how, also=also)
        assert (status, body) == (200, b"mine") and "x-amz-meta-sneaked" not in headers
        assert raw("HEAD", f"/{bucket}", how=how, also=also)[0] == 200
        assert raw("DELETE", f"/{bucket}/k", how=how, also=also)[0] == 204
    assert user("HEAD", f"/{bucket}")[1].get("x-container-read", "") == ""
    assert raw("GET", f"/{bucket}/secret")[2] == b"secret"


@pytest.mark.parametrize("suffix", ["host", "x-backend-storage-policy-index", "authorization",
                                    "x-object-sysmeta-a", "x-newest"])
def test_security_s13_suffixes_of_copy_source(raw, bucket, suffix):
    """S13: x-amz-copy-source-<anything> is no header of a backend's."""
    raw("PUT", f"/{bucket}/src", body=b"0123456789")
    status, _, body = raw("PUT", f"/{bucket}/dst", {
        "x-amz-copy-source": f"/{bucket}/src", f"x-amz-copy-source-{suffix}": "bytes=0-1"})
    assert status == 200, body
    assert raw("GET", f"/{bucket}/dst")[2] == b"0123456789"


BODIES = {
    "create": ("PUT", "", "CreateBucketConfiguration", "<LocationConstraint>&xxe;"
               "</LocationConstraint>"),
    "acl": ("PUT", "?acl", "AccessControlPolicy", "<Owner><ID>&xxe;</ID></Owner>"
            "<AccessControlList/>"),
    "delete": ("POST", "?delete", "Delete", "<Object><Key>&xxe;</Key></Object>"),
    "versioning": ("PUT", "?versioning", "VersioningConfiguration", "<Status>&xxe;</Status>"),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("kind", ["external", "laughs", "utf-16"])
def test_security_x1_x3_entities_in_every_body(raw, bucket, name, kind):
    """X1, X3: entities in any XML body: 400, nothing of the file, no time spent."""
    method, query, tag, inner = BODIES[name]
    dtd = XXE if kind != "laughs" else \
        f"<!DOCTYPE x [<!ENTITY a '{'a' * 1000}'><!ENTITY xxe '{'&a;' * 1000}'>]>"
    body = f"{dtd}<{tag}>{inner}</{tag}>".encode("utf-16" if kind == "utf-16" else "utf-8")
    where = f"/new-{bucket}" if name == "create" else f"/{bucket}"
    status, _, answer = raw(method, where + query, {"Content-MD5": md5(body)}, body)
    host = os.uname().nodename.encode()
    assert status == 400 and b"xxe" not in answer and host not in answer


def test_security_x1_an_external_entity_in_an_access_list_is_nothing(acl_url, acl_clients,
                                                                         acl_bucket):
    """X1: a list is read as if the reference were not there, as by OpenStack Swift."""
    s3 = acl_clients["tester"]
    raw = Raw(acl_url, "test:tester", "testing")
    owner = s3.get_bucket_acl(Bucket=acl_bucket)["Owner"]["ID"]
    body = (f"{XXE}<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList><Grant>"
            f"<Grantee xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' "
            f"xsi:type='CanonicalUser'><ID>some&xxe;one</ID></Grantee><Permission>READ"
            f"</Permission></Grant></AccessControlList></AccessControlPolicy>").encode()
    assert raw("PUT", f"/{acl_bucket}?acl", body=body)[0] == 200
    (grant,) = s3.get_bucket_acl(Bucket=acl_bucket)["Grants"]
    assert grant["Grantee"]["ID"] == "someone"


def test_security_x3_completing_an_upload(raw, s3, bucket):
    """X3: the same in the list of parts."""
    made = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    body = (f"{XXE}<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&xxe;</ETag>"
            "</Part></CompleteMultipartUpload>").encode()
    status, _, answer = raw("POST", f"/{bucket}/k?uploadId={made}", body=body)
    assert status == 400 and b"<Code>MalformedXML</Code>" in answer


def test_security_x2_one_parser():
    """X2: only xmlio knows a parser of XML."""
    import swift.common.middleware.s3api as package
    for path in Path(package.__file__).parent.glob("*.py"):
        words = set(re.findall(r"\w+", path.read_text()))
        assert path.name == "xmlio.py" or not words & {"etree", "lxml", "minidom", "expat", "sax"}


def test_security_x7_a_document_that_is_too_long(raw, bucket):
    """X7: a list of keys over the limit deletes none of them."""
    raw("PUT", f"/{bucket}/k", body=b"x")
    item = b"<Object><Key>k</Key></Object>"
    body = b"<Delete>" + item * (3_000_000 // len(item) + 1) + b"</Delete>"
    status, _, answer = raw("POST", f"/{bucket}?delete", {"Content-MD5": md5(body)}, body)
    assert status == 400 and b"<Code>MalformedXML</Code>" in answer
    assert raw("HEAD", f"/{bucket}/k")[0] == 200


def test_security_s6_metadata_limits_hold(s3, bucket):
    """S6: more metadata than the store takes, through S3: 400, the old object stays."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"old", Metadata={"a": "b"})
    for metadata in ({f"n{i}": "v" for i in range(91)}, {"a": "x" * 257}, {"x" * 129: "v"},
                     {f"n{i}": "v" * 200 for i in range(30)}):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=bucket, Key="k", Body=b"new", Metadata=metadata)
        assert caught.value.response["Error"]["Code"] == "MetadataTooLarge"
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a": "b"}


def test_security_l13_signatures_are_not_logged(raw, cluster, bucket):
    """L13: the access log holds no presigned URL's whole signature, of either version."""
    signatures = []
    for how, name in (("v2-query", "Signature="), ("v4-query", "X-Amz-Signature=")):
        path, headers = raw.sign("GET", f"/{bucket}/logged-{how}", how=how)
        signatures.append(path.split(name)[1].split("&")[0])
        assert raw.send("GET", path, headers)[0] == 404
        path, headers = raw.sign("GET", f"/{bucket}/logged-{how}", how=how.partition("-")[0])
        signatures.append(headers["Authorization"][-20:])
        raw.send("GET", path, headers)
    log = cluster.log("proxy")
    assert "logged-v2-query" in log and "logged-v4-query" in log
    assert not any(s in log for s in signatures) and "testing" not in log.replace("tester", "")


def test_security_s11_aborted_reads_leave_no_sockets(raw, cluster, acl_clients, acl_url,
                                                     acl_bucket):
    """S11: clients that go away in the middle of an upload's parts leave nothing open."""
    import socket
    import time

    client = acl_clients["tester"]
    made = client.create_multipart_upload(Bucket=acl_bucket, Key="big")["UploadId"]
    parts = []
    for number in (1, 2):
        got = client.upload_part(Bucket=acl_bucket, Key="big", UploadId=made, PartNumber=number,
                                 Body=bytes(3 << 20))
        parts.append({"PartNumber": number, "ETag": got["ETag"]})
    client.complete_multipart_upload(Bucket=acl_bucket, Key="big", UploadId=made,
                                     MultipartUpload={"Parts": parts})
    raw = Raw(acl_url, "test:tester", "testing")
    pid = cluster.processes["proxy", 1].pid

    def files():
        return len(os.listdir(f"/proc/{pid}/fd"))

    host, _, port = raw.host.partition(":")

    def go_away():
        path, headers = raw.sign("GET", f"/{acl_bucket}/big")
        with socket.create_connection((host, int(port)), 30) as sock:
            lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {raw.host}\r\n{lines}\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"

    for _ in range(5):                # connections that are kept for later are there now
        go_away()
    before = files()
    for _ in range(60):
        go_away()
    deadline = time.monotonic() + 60
    while files() > before + 8:
        assert time.monotonic() < deadline, (before, files())
        time.sleep(0.1)


def test_security_s9_s10_temporary_urls_do_not_become_more(user, cluster, bucket):
    """S9, S10: a PUT tempurl takes no header that copies, links or names a manifest."""
    import hmac
    import time
    from urllib.parse import quote

    user("POST", "", {"X-Account-Meta-Temp-URL-Key": "key"})
    user("PUT", f"/{bucket}/secret", body=b"secret")
    path = f"{user.base}/{bucket}/dropbox"
    expires = int(time.time()) + 600
    made = hmac.new(b"key", f"PUT\n{expires}\n{path}".encode(), "sha256").hexdigest()
    target = f"{quote(path)}?temp_url_sig={made}&temp_url_expires={expires}"
    for headers in ({"X-Copy-From": f"/{bucket}/secret"}, {"X-Object-Manifest": f"{bucket}/s"},
                    {"X-Symlink-Target": f"{bucket}/secret"}):
        status = cluster.request("PUT", target, {**headers, "Content-Length": "0"}, b"")[0]
        assert status == 400
    status = cluster.request("PUT", target + "&multipart-manifest=put", {}, b"[]")[0]
    assert status in (400, 401, 403)
    assert user("HEAD", f"/{bucket}/dropbox")[0] == 404


def test_every_verb_answers_unsigned_with_no_s3(cluster, bucket):
    """Nothing of a bucket is told to who does not sign: such requests are not S3's."""
    for method, path in itertools.product(("GET", "HEAD", "PUT", "DELETE", "POST"),
                                          (f"/{bucket}", f"/{bucket}/k")):
        assert cluster.request(method, path, {"Content-Length": "0"})[0] in (400, 404, 405, 412)


def test_security_s23_preflights_are_for_origins_the_operator_lists(cluster, acl_url):
    """S23: a browser's preflight of a signed request says nothing of buckets, there or not."""
    asked = {"Access-Control-Request-Headers": "authorization, x-amz-date, authorization",
             "Access-Control-Request-Method": "PUT"}

    def preflight(url, origin, path="/bucket/key", **headers):
        return requests.options(url + path, headers={"Origin": origin, **asked, **headers},
                                timeout=30)

    assert preflight(cluster.url, "https://a.example").status_code >= 400     # off by default
    good = preflight(acl_url, "https://a.example")
    assert good.status_code == 200 and not good.content
    assert good.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert good.headers["Access-Control-Allow-Headers"] == "authorization, x-amz-date"
    assert "Origin" in good.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in good.headers
    for origin in ("https://b.example", "https://a.example.evil", "null", "*"):
        bad = preflight(acl_url, origin)
        assert bad.status_code == 401
        assert not [name for name in bad.headers if name.lower().startswith("access-control")]
    presigned = requests.options(
        f"{acl_url}/bucket/key?X-Amz-Credential=x", timeout=30,
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"})
    assert presigned.headers["Access-Control-Allow-Origin"] == "https://a.example"
    # The native API's stay with the container's own list.
    assert preflight(acl_url, "https://a.example", "/v1/AUTH_test/c").status_code == 401
