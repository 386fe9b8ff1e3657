# SPDX-License-Identifier: Apache-2.0
"""Signatures: botocore's are right, Amazon's documented ones are, changed requests are not."""
import time
from urllib.parse import quote, unquote_to_bytes

import pytest
from s3_client import SIGNERS, signed
from wsgi_call import environ

from swift.common.middleware.s3api import signature
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.request import S3Request

KEY, SECRET = "test:tester", "test+ing/="
URL = "http://127.0.0.1:8080"
DOC_KEY, DOC_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def request_of(method, target, headers, domains=()):
    """An S3Request of what a client sends."""
    env = environ(method, target)
    path, _, query = target.partition("?")
    env.update(PATH_INFO=unquote_to_bytes(path).decode("latin-1"), RAW_PATH_INFO=path,
               QUERY_STRING=query, headers_raw=[(n, v) for n, v in headers.items()])
    return S3Request(env, domains)


def read(method, target, headers, now=None, **more):
    return signature.read_signature(request_of(method, target, headers, **more), "us-east-1", now)


def sign(method, path, headers=None, how="v4", body=b"", **more):
    target, sent = signed(method, URL + path, KEY, SECRET, headers, body, how, **more)
    sent.setdefault("Host", "127.0.0.1:8080")
    return target, sent


@pytest.mark.parametrize("how", SIGNERS)
@pytest.mark.parametrize(("method", "path", "headers"), [
    ("GET", "/", {}),
    ("GET", "/bucket?prefix=a%20b&max-keys=5&delimiter=%2F", {}),
    ("PUT", "/bucket/" + quote("kéy /with~everything+%(1)'!*"), {"x-amz-meta-a_b": " c   d "}),
    ("POST", "/bucket/key?uploads", {"Content-Type": "text/plain"}),
    ("GET", "/bucket/key?response-content-type=text%2Fcsv&versionId=null", {}),
    ("PUT", "/bucket/key?partNumber=1&uploadId=abc%3D",
     {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
])
def test_botocore_is_understood(how, method, path, headers):
    target, sent = sign(method, path, headers, how)
    got = read(method, target, sent)
    assert got.access_key == KEY and got.presigned == how.endswith("query")
    assert got.made_with(SECRET)
    assert not got.made_with(SECRET + "x")


def test_documented_examples_of_version_2():
    """"Signing and authenticating REST requests (AWS signature version 2)": GET, PUT, list, ACL."""
    for method, target, headers, want in [
            ("GET", "/photos/puppy.jpg", {"Date": "Tue, 27 Mar 2007 19:36:42 +0000"},
             "qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
            ("PUT", "/photos/puppy.jpg", {"Content-Type": "image/jpeg", "Content-Length": "94328",
                                          "Date": "Tue, 27 Mar 2007 21:15:45 +0000"},
             "iqRzw+ileNPu1fhspnRs8nOjjIA="),
            ("GET", "/?prefix=photos&max-keys=50&marker=puppy",
             {"Date": "Tue, 27 Mar 2007 19:42:41 +0000"}, "m0WP8eCtspQl5Ahe6L1SozdX9YA="),
            ("GET", "/?acl", {"Date": "Tue, 27 Mar 2007 19:44:46 +0000"},
             "82ZHiFIjc+WbcwFKGUVEQspPn+0=")]:
        headers = {"Host": "awsexamplebucket1.us-west-1.s3.amazonaws.com", **headers,
                   "Authorization": f"AWS {DOC_KEY}:{want}"}
        now = signature.parse_http_date(headers["Date"])
        got = read(method, target, headers, now, domains=("us-west-1.s3.amazonaws.com",))
        assert got.made_with(DOC_SECRET), got.string_to_sign


def test_documented_example_of_version_4_in_the_query():
    """"Authenticating requests: using query parameters", the example."""
    target = ("/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F"
              "20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires="
              "86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f99"
              "5330da4c265957d157751f604d404")
    got = read("GET", target, {"Host": "examplebucket.s3.amazonaws.com"}, 1369353600)
    assert got.made_with(DOC_SECRET)


@pytest.mark.parametrize("how", SIGNERS)
def test_security_e17_what_is_changed_after_signing_is_refused(how):
    """E17: method, path, host (v4), a signed header or parameter changed: another signature."""
    target, sent = sign("PUT", "/bucket/key?partNumber=1&uploadId=a",
                        {"x-amz-meta-a": "b", "Content-Type": "text/x"}, how)
    changes = [("GET", target, sent), ("PUT", target.replace("/key", "/kez"), sent),
               ("PUT", target.replace("partNumber=1", "partNumber=2"), sent),
               ("PUT", target + "&acl=", sent)]
    if not how.endswith("query"):        # a presigned URL of botocore's signs host alone
        changes += [("PUT", target, {**sent, "x-amz-meta-a": "c"})]
    if how.startswith("v4"):
        changes.append(("PUT", target, {**sent, "Host": "127.0.0.1:8081"}))
    assert read("PUT", target, sent).made_with(SECRET)
    for method, other, headers in changes:
        try:
            assert not read(method, other, headers).made_with(SECRET), (method, other)
        except S3Error as e:
            assert e.status in (400, 403)


def test_security_e17_duplicates_and_two_signatures_are_refused():
    """E17: a parameter twice, a header and a query signature together: 400."""
    target, sent = sign("GET", "/bucket?prefix=a")
    with pytest.raises(S3Error) as caught:
        read("GET", target + "&prefix=b", sent)
    assert caught.value.code == "InvalidArgument"
    query, _ = sign("GET", "/bucket?prefix=a", how="v2-query")
    with pytest.raises(S3Error) as caught:
        read("GET", query, sent)
    assert caught.value.code == "InvalidArgument"


@pytest.mark.parametrize("how", ["v2", "v4"])
def test_security_e5_age(how):
    """E5: a signature older or newer than 15 minutes: RequestTimeTooSkewed."""
    target, sent = sign("GET", "/", how=how)
    now = time.time()
    assert read("GET", target, sent, now + 880).made_with(SECRET)
    for moment in (now + 920, now - 920):
        with pytest.raises(S3Error) as caught:
            read("GET", target, sent, moment)
        assert caught.value.code == "RequestTimeTooSkewed"


@pytest.mark.parametrize("how", ["v2-query", "v4-query"])
def test_security_e5_presigned_ends(how):
    """E5: a presigned URL is good until its end, not after, nor (version 4) long before."""
    target, sent = sign("GET", "/b/k", how=how, expires=60)
    assert read("GET", target, sent, time.time() + 50).made_with(SECRET)
    with pytest.raises(S3Error) as caught:
        read("GET", target, sent, time.time() + 70)
    assert caught.value.code == "AccessDenied"
    if how == "v4-query":
        with pytest.raises(S3Error):
            read("GET", target, sent, time.time() - 1000)
        with pytest.raises(S3Error) as caught:       # header and query clash
            read("GET", target, {**sent, "X-Amz-Date": "20260101T000000Z"})
        assert caught.value.code == "AccessDenied"


@pytest.mark.parametrize("how", ["v2", "v4"])
@pytest.mark.parametrize("date", [None, "", "yesterday", "20261340T000000Z"])
def test_security_e13_no_date(how, date):
    """E13: no Date and no x-amz-date, or ones that are none: AccessDenied."""
    target, sent = sign("GET", "/", how=how)
    sent = {n: v for n, v in sent.items() if n.lower() not in ("date", "x-amz-date")}
    if date is not None:
        sent["X-Amz-Date"] = date
    with pytest.raises(S3Error) as caught:
        read("GET", target, sent)
    assert (caught.value.code, caught.value.status) == ("AccessDenied", 403)


@pytest.mark.parametrize("how", ["v4", "v4-query"])
@pytest.mark.parametrize("name", ["x-amz-copy-source", "x-amz-acl", "x-amz-grant-read",
                                  "x-amz-meta-x", "x-amz-meta_y", "x-amz-tagging", "X-Amz-New"])
def test_security_e14_unsigned_headers(how, name):
    """E14: any x-amz-* header that is not signed: AccessDenied."""
    target, sent = sign("PUT", "/b/k", how=how)
    with pytest.raises(S3Error) as caught:
        read("PUT", target, {**sent, name: "x"})
    assert caught.value.code == "AccessDenied"
    assert caught.value.facts == {"HeadersNotSigned": name.lower()}


@pytest.mark.parametrize(("change", "code"), [
    (("us-east-1", "eu-west-1"), "AuthorizationHeaderMalformed"),
    (("/s3/", "/ec2/"), "AuthorizationHeaderMalformed"),
    (("aws4_request", "aws5_request"), "AuthorizationHeaderMalformed"),
    (("SignedHeaders=", "Headers="), "AuthorizationHeaderMalformed"),
    (("Signature=", "Signature=x,Signature="), "AuthorizationHeaderMalformed"),
    (("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "AuthorizationHeaderMalformed"),
    (("host;", ""), "AccessDenied"),
])
def test_malformed_headers(change, code):
    target, sent = sign("GET", "/")
    sent["Authorization"] = sent["Authorization"].replace(*change)
    with pytest.raises(S3Error) as caught:
        read("GET", target, sent)
    assert caught.value.code == code


def test_what_is_no_business_of_s3():
    for headers, query in [({}, ""), ({"Authorization": "Basic YWJj"}, ""), ({}, "?acl"),
                           ({"Authorization": "Bearer AWS"}, "?temp_url_sig=abc")]:
        assert not signature.is_signed(environ("GET", "/b/k" + query, headers))
    for how in SIGNERS:
        target, sent = sign("GET", "/b/k", how=how)
        auth = {n: v for n, v in sent.items() if n == "Authorization"}
        assert signature.is_signed(environ("GET", target, auth))
