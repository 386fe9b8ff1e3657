# SPDX-License-Identifier: Apache-2.0
"""Requests no SDK makes by itself, answered as OpenStack Swift's s3api or Amazon's S3 does."""
import base64
import hashlib

import pytest
from botocore.exceptions import ClientError
from s3_client import Raw

HELLO = b"hello"
ETAG = hashlib.md5(HELLO).hexdigest()
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def code(answer):
    """``(status, error code)`` of an answer; None for no error."""
    status, _, body = answer
    _, found, rest = body.decode().partition("<Code>")
    return status, rest.partition("<")[0] if found else None


@pytest.fixture
def raws(acl_url, acl_bucket):
    """Signed requests by user name where S3's own lists decide."""
    return {name: Raw(acl_url, f"test:{name}", password)
            for name, password in (("tester", "testing"), ("tester2", "testing2"),
                                   ("tester3", "testing3"))}


@pytest.mark.parametrize("method, place, status, error", [
    ("GET", "/?acl", 200, None), ("POST", "/?uploads", 405, "MethodNotAllowed"),
    ("DELETE", "/{b}?acl", 405, "MethodNotAllowed"),
    ("POST", "/{b}?versioning", 405, "MethodNotAllowed"),
    ("HEAD", "/{b}/k?uploadId=x", 405, None), ("PUT", "/{b}/k?uploads", 405, "MethodNotAllowed"),
    ("POST", "/{b}?uploads", 400, "InvalidRequest"),
    ("GET", "/{b}?uploadId=x", 400, "InvalidRequest"),
    ("GET", "/{b}/k?uploads", 400, "InvalidRequest"),
    ("PUT", "/{b}/k?partNumber=1", 400, "InvalidArgument"),
    ("GET", "/{b}?analytics", 501, "NotImplemented")])
def test_subresources_where_they_are_not(raw, bucket, method, place, status, error):
    assert code(raw(method, place.format(b=bucket))) == (status, error)


@pytest.mark.parametrize("query", [
    "max-keys=", "list-type=2&max-keys=", "versions&max-keys=", "uploads&max-uploads=",
    "list-type=2&continuation-token=%C3%A4", "list-type=2&continuation-token=!!!!",
    "list-type=2&continuation-token=_w%3D%3D"])
def test_parameters_that_are_none(raw, bucket, query):
    assert code(raw("GET", f"/{bucket}?{query}")) == (400, "InvalidArgument")


def test_what_cannot_be_shown_is_quoted(raw, bucket):
    assert b"<ArgumentValue>%FF</ArgumentValue>" in raw("GET", f"/{bucket}?prefix=%FF")[2]


def test_pages_are_as_big_as_they_can_be(raw, bucket, s3):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    assert b"<MaxUploads>1000<" in raw("GET", f"/{bucket}?uploads&max-uploads=5000")[2]
    assert b"<MaxParts>1000<" in raw("GET", f"/{bucket}/k?uploadId={upload}&max-parts=5000")[2]


def test_a_bucket_without_a_place(raw):
    body = b"<CreateBucketConfiguration><LocationConstraint/></CreateBucketConfiguration>"
    assert code(raw("PUT", "/no-place", body=body)) == (400, "InvalidLocationConstraint")
    assert raw("PUT", "/1.2.3.400")[0] == 200
    assert code(raw("PUT", "/1.2.3.40")) == (400, "InvalidBucketName")


@pytest.mark.parametrize("header, there, absent", [
    ({"If-Match": '"x"'}, 412, 204), ({"If-Match": "*"}, 204, 412),
    ({"If-Match": ETAG}, 204, 204),
    ({"If-Unmodified-Since": "Sat, 29 Oct 1994 19:43:31 GMT"}, 412, 204),
    ({"x-amz-if-match-size": "5"}, 501, 501)])
def test_a_deletion_heeds_its_conditions(raw, bucket, header, there, absent):
    assert raw("DELETE", f"/{bucket}/k", header)[0] == absent
    raw("PUT", f"/{bucket}/k", body=HELLO)
    assert raw("DELETE", f"/{bucket}/k", header)[0] == there
    assert raw("HEAD", f"/{bucket}/k")[0] == (404 if there == 204 else 200)


def test_a_copy_is_not_of_a_range(raw, bucket, s3):
    raw("PUT", f"/{bucket}/k", body=HELLO)
    source = {"x-amz-copy-source": f"/{bucket}/k"}
    for more in ({"x-amz-copy-source-range": "bytes=0-1"}, {"Range": "bytes=0-1"}):
        assert code(raw("PUT", f"/{bucket}/copy", {**source, **more})) == (400, "InvalidArgument")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    part = f"/{bucket}/copy?partNumber=1&uploadId={upload}"
    assert code(raw("PUT", part, {**source, "Range": "bytes=0-1"})) == (400, "InvalidArgument")
    assert raw("PUT", part, {**source, "x-amz-copy-source-range": "bytes=0-1"})[0] == 200


def test_metadata_of_other_alphabets_come_back_mail_safe(raw, bucket):
    """As RFC 2047 has it, whoever stored them."""
    name = f"/{bucket}/k"
    path, sent = raw.sign("PUT", name, {"x-amz-meta-a": "ä €"}, HELLO)
    raw.send("PUT", path, {key: value.encode() for key, value in sent.items()}, HELLO)
    assert raw("HEAD", name)[1]["x-amz-meta-a"] == "=?UTF-8?B?" + base64.b64encode(
        "ä €".encode()).decode() + "?="
    raw("PUT", name, {"x-amz-meta-a": "=?UTF-8?Q?=C3=A4?="}, HELLO)
    assert raw("GET", name)[1]["x-amz-meta-a"] == "=?UTF-8?Q?=C3=A4?="
    assert code(raw("PUT", name, {"x-amz-meta-": "x"}, HELLO)) == (400, "InvalidRequest")


def test_a_completion_names_its_parts_as_they_are(raw, bucket, s3):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    place = f"/{bucket}/k?uploadId={upload}"
    raw("PUT", place + "&partNumber=1", body=HELLO)
    assert code(raw("POST", place)) == (400, "InvalidRequest")
    body = ("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>"
            "</CompleteMultipartUpload>")
    assert code(raw("POST", place, body=body.format(ETAG.upper()).encode())) == (
        400, "InvalidPart")
    assert raw("POST", place, body=body.format(ETAG).encode())[0] == 200


def test_a_length_beyond_all_lengths(raw, bucket):
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
               "x-amz-decoded-content-length": "9" * 20}
    path, sent = raw.sign("PUT", f"/{bucket}/k", headers, trailer=True)
    assert code(raw.send("PUT", path, sent, b"0\r\n\r\n")) == (400, "EntityTooLarge")


@pytest.mark.parametrize("wanted, status, length", [
    ("bytes=0-" + "9" * 30, 206, 5), ("bytes=-" + "9" * 30, 206, 5),
    ("bytes=" + "9" * 30 + "-", 416, None)])
def test_ranges_beyond_all_lengths(raw, bucket, wanted, status, length):
    raw("PUT", f"/{bucket}/k", body=HELLO)
    for method in ("GET", "HEAD"):
        answer = raw(method, f"/{bucket}/k", {"Range": wanted})
        assert answer[0] == status
        assert length is None or answer[1]["content-length"] == str(length)


def test_the_end_of_nothing_and_weak_tags(raw, bucket):
    raw("PUT", f"/{bucket}/empty")
    raw("PUT", f"/{bucket}/k", body=HELLO)
    for method in ("GET", "HEAD"):
        assert raw(method, f"/{bucket}/empty", {"Range": "bytes=-1"})[0] == 200
        assert raw(method, f"/{bucket}/empty", {"Range": "bytes=0-"})[0] == 416
        assert raw(method, f"/{bucket}/k", {"If-Match": f'W/"{ETAG}"'})[0] == 412
        assert raw(method, f"/{bucket}/k", {"If-None-Match": f'W/"{ETAG}"'})[0] == 304


def test_each_key_of_a_multi_delete_says_what_it_wants(raw, bucket):
    raw("PUT", f"/{bucket}/k", body=HELLO)
    for item in ("<Key>k</Key><Key>l</Key>", "<Key>k</Key><Foo/>"):
        body = f"<Delete><Object>{item}</Object></Delete>".encode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        assert code(raw("POST", f"/{bucket}?delete", {"Content-MD5": md5}, body)) == (
            400, "MalformedXML")
    assert raw("HEAD", f"/{bucket}/k")[0] == 200


# -- versions ------------------------------------------------------------------
def put_versions(s3, bucket):
    """Three versions of a key; their ids."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return [s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % n)["VersionId"] for n in range(3)]


def test_no_page_of_versions_is_lost_after_null(s3, bucket):
    ids = put_versions(s3, bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    s3.put_object(Bucket=bucket, Key="l", Body=b"")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 1})
    found = [(v["Key"], v["VersionId"]) for page in pages for v in page["Versions"]]
    assert found == [("k", "null"), *(("k", name) for name in reversed(ids)), ("l", "null")]


def test_copies_and_completions_tell_versions(s3, bucket):
    ids = put_versions(s3, bucket)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    where = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    part = s3.upload_part_copy(**where, PartNumber=1, CopySource={
        "Bucket": bucket, "Key": "k", "VersionId": ids[0]})
    assert part["CopySourceVersionId"] == ids[0]
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [
        {"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
    assert s3.head_object(Bucket=bucket, Key="big", VersionId=done["VersionId"])[
        "ContentLength"] == 1


def test_what_is_asked_of_a_version(s3, bucket):
    ids = put_versions(s3, bucket)
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for name in ids:
        assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=name)["TagSet"] == []
        assert s3.get_object_acl(Bucket=bucket, Key="k", VersionId=name)["Grants"]
    for call in (s3.get_object_acl, s3.get_object_tagging):
        with pytest.raises(ClientError, match="MethodNotAllowed"):
            call(Bucket=bucket, Key="k", VersionId=marker)
        with pytest.raises(ClientError, match="NoSuchVersion"):
            call(Bucket=bucket, Key="k", VersionId="1111111111.11111")


# -- lists ---------------------------------------------------------------------
def test_lists_of_versions_are_their_own(acl_clients, acl_bucket):
    s3 = acl_clients["tester"]
    ids = put_versions(s3, acl_bucket)
    s3.put_object_acl(Bucket=acl_bucket, Key="k", ACL="public-read", VersionId=ids[2])
    assert len(s3.get_object_acl(Bucket=acl_bucket, Key="k")["Grants"]) == 2
    assert len(s3.get_object_acl(Bucket=acl_bucket, Key="k", VersionId=ids[0])["Grants"]) == 1
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.put_object_acl(Bucket=acl_bucket, Key="k", ACL="public-read", VersionId=ids[0])


def test_an_owner_is_never_locked_out(raws, acl_bucket):
    """Also when the list gives the owner nothing."""
    owner, bucket = raws["tester"], f"/{acl_bucket}"
    to_other = {"x-amz-grant-read": "id=test:tester3"}
    owner("PUT", bucket + "/k", to_other, HELLO)
    assert owner("PUT", bucket + "?acl", to_other)[0] == 200
    for user, status in (("tester", 200), ("tester3", 200), ("tester2", 403)):
        assert raws[user]("GET", bucket + "/k")[0] == status
        assert raws[user]("GET", bucket)[0] == status
    assert owner("PUT", bucket + "/l", body=HELLO)[0] == 200
    assert owner("DELETE", bucket + "/l")[0] == 204
    assert raws["tester3"]("PUT", bucket + "/l", body=HELLO)[0] == 403


def test_only_owners_ask_where_a_bucket_is(raws, acl_bucket):
    raws["tester"]("PUT", f"/{acl_bucket}?acl", {"x-amz-acl": "public-read"})
    assert raws["tester3"]("GET", f"/{acl_bucket}")[0] == 200
    assert raws["tester3"]("GET", f"/{acl_bucket}?location")[0] == 403


def test_what_a_list_comes_from(raws, acl_bucket):
    owner = raws["tester"]
    assert code(owner("PUT", f"/{acl_bucket}?acl")) == (400, "MissingSecurityHeader")
    policy = (f"<AccessControlPolicy {XMLNS}><Owner><ID>test:tester</ID></Owner>"
              "<AccessControlList/></AccessControlPolicy>").encode()
    assert code(owner("PUT", f"/{acl_bucket}?acl", {"x-amz-acl": "private"}, policy)) == (
        400, "UnexpectedContent")
    assert code(owner("PUT", f"/{acl_bucket}?acl", body=policy + b" " * 70000)) == (
        400, "MalformedACLError")


def test_a_multi_delete_says_of_each_key_that_it_may_not(acl_clients, acl_bucket):
    acl_clients["tester"].put_object(Bucket=acl_bucket, Key="k", Body=b"")
    answer = acl_clients["tester3"].delete_objects(Bucket=acl_bucket, Delete={
        "Objects": [{"Key": "k"}, {"Key": "l"}]})
    assert [(e["Key"], e["Code"]) for e in answer["Errors"]] == [
        ("k", "AccessDenied"), ("l", "AccessDenied")]
    assert "Deleted" not in answer
    acl_clients["tester"].head_object(Bucket=acl_bucket, Key="k")

