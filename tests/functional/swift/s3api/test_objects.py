# SPDX-License-Identifier: Apache-2.0
"""Buckets and objects by boto3, as it is."""
import base64
import datetime
import hashlib
import json
import os
import zlib

import pytest
import requests
from botocore.exceptions import ClientError
from s3_client import REGION, Raw, boto

DATA = bytes(range(256)) * 1000


def code(call, *args, **kwargs):
    """The error code a call fails with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


def test_buckets(s3):
    s3.create_bucket(Bucket="lifecycle-of-a-bucket")
    assert code(s3.create_bucket, Bucket="lifecycle-of-a-bucket") == "BucketAlreadyOwnedByYou"
    answer = s3.list_buckets()
    assert "lifecycle-of-a-bucket" in [b["Name"] for b in answer["Buckets"]]
    assert answer["Owner"]["ID"] == "test:tester"
    assert s3.head_bucket(Bucket="lifecycle-of-a-bucket")["BucketRegion"] == REGION
    assert s3.get_bucket_location(Bucket="lifecycle-of-a-bucket")["LocationConstraint"] is None
    s3.put_object(Bucket="lifecycle-of-a-bucket", Key="k", Body=b"")
    assert code(s3.delete_bucket, Bucket="lifecycle-of-a-bucket") == "BucketNotEmpty"
    s3.delete_object(Bucket="lifecycle-of-a-bucket", Key="k")
    s3.delete_bucket(Bucket="lifecycle-of-a-bucket")
    assert code(s3.head_bucket, Bucket="lifecycle-of-a-bucket") == "404"
    assert code(s3.delete_bucket, Bucket="lifecycle-of-a-bucket") == "NoSuchBucket"


def test_an_object_and_what_is_known_of_it(s3, bucket):
    put = s3.put_object(
        Bucket=bucket, Key="a/é 1", Body=DATA, ContentType="text/x", CacheControl="no-cache",
        ContentDisposition="inline", ContentEncoding="x", ContentLanguage="de",
        Metadata={"foo_bar": "1", "foo-bar": "2"})
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    assert put["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="a/é 1")
    assert got["Body"].read() == DATA
    for answer in (got, s3.head_object(Bucket=bucket, Key="a/é 1")):
        assert (answer["ETag"], answer["ContentLength"]) == (etag, len(DATA))
        assert answer["Metadata"] == {"foo_bar": "1", "foo-bar": "2"}
        assert [answer[n] for n in ("ContentType", "CacheControl", "ContentDisposition",
                                    "ContentEncoding", "ContentLanguage", "AcceptRanges")] == [
            "text/x", "no-cache", "inline", "x", "de", "bytes"]
        assert answer["ResponseMetadata"]["RequestId"].startswith("tx")
        assert not [h for h in answer["ResponseMetadata"]["HTTPHeaders"] if "sysmeta" in h]
    s3.delete_object(Bucket=bucket, Key="a/é 1")
    s3.delete_object(Bucket=bucket, Key="a/é 1")
    assert code(s3.get_object, Bucket=bucket, Key="a/é 1") == "NoSuchKey"
    assert code(s3.get_object, Bucket="no-such-bucket", Key="k") == "NoSuchBucket"


def test_ranges_conditions_and_overrides(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=DATA)["ETag"]
    for wanted, piece in [("bytes=0-0", DATA[:1]), ("bytes=255990-", DATA[255990:]),
                          ("bytes=-3", DATA[-3:])]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert got["Body"].read() == piece and got["ResponseMetadata"]["HTTPStatusCode"] == 206
        head = s3.head_object(Bucket=bucket, Key="k", Range=wanted)
        assert head["ContentLength"] == len(piece)
    assert code(s3.get_object, Bucket=bucket, Key="k", Range="bytes=999999-") == "InvalidRange"
    past = datetime.datetime(2001, 1, 1)
    future = datetime.datetime(2037, 1, 1)
    for good in ({"IfMatch": etag}, {"IfNoneMatch": '"x"'}, {"IfModifiedSince": past},
                 {"IfUnmodifiedSince": future}):
        assert s3.get_object(Bucket=bucket, Key="k", **good)["Body"].read() == DATA
    for bad, status in [({"IfMatch": '"x"'}, "PreconditionFailed"), ({"IfNoneMatch": etag}, "304"),
                        ({"IfUnmodifiedSince": past}, "PreconditionFailed")]:
        assert code(s3.get_object, Bucket=bucket, Key="k", **bad) == status
    got = s3.head_object(Bucket=bucket, Key="k", ResponseContentType="text/csv",
                         ResponseContentDisposition="attachment", ResponseCacheControl="private")
    assert (got["ContentType"], got["ContentDisposition"], got["CacheControl"]) == (
        "text/csv", "attachment", "private")


def test_conditional_writes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == \
        "PreconditionFailed"
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch="x") == "NotImplemented"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"])
@pytest.mark.parametrize("size", [9, len(DATA)])
def test_checksums_are_kept_and_told(s3, bucket, algorithm, size):
    put = s3.put_object(Bucket=bucket, Key="k", Body=DATA[:size], ChecksumAlgorithm=algorithm)
    value = put["Checksum" + algorithm]
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["Checksum" + algorithm], head["ChecksumType"]) == (value, "FULL_OBJECT")
    # boto3 compares what it gets with this checksum
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == \
        DATA[:size]
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"other",
                **{"Checksum" + algorithm: value}) == "BadDigest"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")[
        "Checksum" + algorithm] == value


def test_a_checksum_in_the_trailer_is_kept(s3, raw, bucket):
    body = os.urandom(200_000)
    value = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    path, headers = raw.sign("PUT", f"/{bucket}/k", {
        "x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32"},
        trailer=True)
    assert headers["X-Amz-Content-SHA256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    for total, status in (("AAAAAA==", 400), (value, 200)):
        coded = b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % (
            len(body), body, total.encode())
        assert raw.send("PUT", path, headers, coded)[0] == status
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32"], head["ChecksumType"]) == (value, "FULL_OBJECT")


def test_boto3_before_its_checksums(cluster, bucket):
    """What boto3 before 1.36 sent: no checksum but Content-MD5 where it has to be."""
    old = boto(cluster.url, "test:tester", "testing", payload_signing_enabled=True)
    old.meta.config.request_checksum_calculation = "when_required"
    old.put_object(Bucket=bucket, Key="old", Body=DATA)
    assert "ChecksumCRC32" not in old.head_object(Bucket=bucket, Key="old", ChecksumMode="ENABLED")
    gone = old.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "old"}]})
    assert [d["Key"] for d in gone["Deleted"]] == ["old"]
    old.close()


@pytest.mark.parametrize("how", ["v2", "v4", "v2-query", "v4-query"])
def test_every_kind_of_signature(raw, bucket, how):
    assert raw("PUT", f"/{bucket}/a b", {"x-amz-meta-c": "d"} if "query" not in how else {},
               DATA, how)[0] == 200
    status, headers, body = raw("GET", f"/{bucket}/a b", how=how)
    assert (status, body) == (200, DATA)
    wrong = Raw(raw.url, raw.access_key, "wrong")
    status, headers, body = wrong("GET", f"/{bucket}/a b", how=how)
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body
    nobody = Raw(raw.url, "test:nobody", "wrong")
    status, headers, body = nobody("GET", f"/{bucket}/a b", how=how)
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body


def test_presigned_urls(s3, cluster, bucket):
    for client in (s3, boto(cluster.url, "test:tester", "testing", signature_version="s3")):
        put = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "p"})
        assert requests.put(put, data=b"by url", timeout=30).status_code == 200
        get = client.generate_presigned_url("get_object", {
            "Bucket": bucket, "Key": "p", "ResponseContentType": "text/x"})
        answer = requests.get(get, timeout=30)
        assert (answer.text, answer.headers["Content-Type"]) == ("by url", "text/x")
    client.close()


def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=DATA, Metadata={"a": "b"}, ContentType="text/x")
    source = {"Bucket": bucket, "Key": "from"}
    made = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    assert made["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(DATA).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="to")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (
        DATA, {"a": "b"}, "text/x")
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source, MetadataDirective="REPLACE",
                   Metadata={"c": "d"}, ContentType="text/y")
    got = s3.head_object(Bucket=bucket, Key="from")
    assert (got["Metadata"], got["ContentType"]) == ({"c": "d"}, "text/y")
    assert code(s3.copy_object, Bucket=bucket, Key="from", CopySource=source) == "InvalidRequest"
    assert code(s3.copy_object, Bucket=bucket, Key="x", CopySource=source,
                CopySourceIfMatch='"x"') == "PreconditionFailed"
    assert code(s3.copy_object, Bucket=bucket, Key="x",
                CopySource={"Bucket": bucket, "Key": "none"}) == "NoSuchKey"
    assert code(s3.head_object, Bucket=bucket, Key="x") == "404"


def test_security_s14_a_range_does_not_cut_a_copy(raw, bucket):
    """S14: CopyObject with Range: InvalidArgument, nothing stored."""
    raw("PUT", f"/{bucket}/from", body=DATA)
    status, _, body = raw("PUT", f"/{bucket}/to", {"x-amz-copy-source": f"/{bucket}/from",
                                                   "Range": "bytes=0-3"})
    assert status == 400 and b"<Code>InvalidArgument</Code>" in body
    assert raw("HEAD", f"/{bucket}/to")[0] == 404


@pytest.fixture(scope="module")
def tree(s3):
    """A bucket with a few keys, read only."""
    s3.create_bucket(Bucket="tree-of-keys")
    for key in ("a/1", "a/2", "b/1", "c", "d&<é>", "e e"):
        s3.put_object(Bucket="tree-of-keys", Key=key, Body=b"x")
    return "tree-of-keys"


def test_listings(s3, tree):
    for call in (s3.list_objects, s3.list_objects_v2):
        got = call(Bucket=tree)
        assert [o["Key"] for o in got["Contents"]] == ["a/1", "a/2", "b/1", "c", "d&<é>", "e e"]
        assert {(o["Size"], o["StorageClass"]) for o in got["Contents"]} == {(1, "STANDARD")}
        got = call(Bucket=tree, Delimiter="/", MaxKeys=3)
        assert [p["Prefix"] for p in got["CommonPrefixes"]] == ["a/", "b/"]
        assert [o["Key"] for o in got["Contents"]] == ["c"] and got["IsTruncated"]
        assert [o["Key"] for o in call(Bucket=tree, Prefix="a/")["Contents"]] == ["a/1", "a/2"]
        assert call(Bucket=tree, MaxKeys=0)["IsTruncated"] is False
        assert code(call, Bucket=tree, MaxKeys=-1) == "InvalidArgument"


@pytest.mark.parametrize("name", ["list_objects", "list_objects_v2", "list_object_versions"])
def test_pages(s3, tree, name):
    """boto3's paginators find the way through, with keys of any kind."""
    keys = []
    for page in s3.get_paginator(name).paginate(
            Bucket=tree, PaginationConfig={"PageSize": 2}, Delimiter="/"):
        keys += [o["Key"] for o in page.get("Contents", page.get("Versions", []))]
        keys += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
    assert sorted(keys) == ["a/", "b/", "c", "d&<é>", "e e"]


def test_many_at_once(s3, bucket):
    for key in ("1", "2", "<&é>"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    got = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "1"}, {"Key": "<&é>"}, {"Key": "none"}, {"Key": "x" * 1025}]})
    assert [d["Key"] for d in got["Deleted"]] == ["1", "<&é>", "none"]
    assert [e["Code"] for e in got["Errors"]] == ["KeyTooLongError"]
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == ["2"]


def test_what_is_not_there_is_said(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for call, want in [
            (s3.get_bucket_policy, "NoSuchBucketPolicy"), (s3.get_bucket_tagging, "NoSuchTagSet"),
            (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
            (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
            (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
            (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError")]:
        assert code(call, Bucket=bucket) == want
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    for call, arguments in [
            (s3.put_bucket_tagging, {"Tagging": tags}), (s3.put_bucket_policy, {"Policy": "{}"}),
            (s3.put_object_tagging, {"Key": "k", "Tagging": tags}),
            (s3.put_object, {"Key": "k", "Tagging": "a=b"}),
            (s3.put_object, {"Key": "k", "ServerSideEncryption": "AES256"}),
            (s3.put_object, {"Key": "k", "ACL": "public-read"})]:
        assert code(call, Bucket=bucket, **arguments) == "NotImplemented"
    assert code(s3.put_object, Bucket=bucket, Key="k", StorageClass="GLACIER") == \
        "InvalidStorageClass"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_both_apis_see_the_same(s3, user, bucket):
    """A bucket is a container of the account, an object an object."""
    s3.put_object(Bucket=bucket, Key="by-s3", Body=b"1", Metadata={"a": "b"})
    assert user("GET", f"/{bucket}/by-s3")[2] == b"1"
    assert user("HEAD", f"/{bucket}/by-s3")[1]["x-object-meta-a"] == "b"
    user("PUT", f"/{bucket}/by-swift", {"X-Object-Meta-C": "d"}, b"2")
    assert s3.head_object(Bucket=bucket, Key="by-swift")["Metadata"] == {"c": "d"}
    names = [r["name"] for r in json.loads(user("GET", f"/{bucket}?format=json")[2])]
    assert names == [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == [
        "by-s3", "by-swift"]


def test_public_buckets_are_swift_s(s3, cluster, user, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert cluster.request("GET", f"{user.base}/{bucket}/k")[0] == 200
    assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 2
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert cluster.request("GET", f"{user.base}/{bucket}/k")[0] == 401
    assert code(s3.put_bucket_acl, Bucket=bucket, ACL="authenticated-read") == "NotImplemented"


def test_bucket_in_the_host_name(acl_url, acl_bucket):
    """Virtual-hosted style: what is signed is the path without the bucket."""
    raw = Raw(acl_url, "test:tester", "testing")
    host = {"Host": f"{acl_bucket}.s3.test"}
    for how in ("v4", "v2"):
        target, headers = raw.sign("PUT", "/k", host, DATA, how) if how == "v4" else \
            raw.sign("PUT", f"/{acl_bucket}/k", None, DATA, how)
        target = "/k"
        assert raw.send("PUT", target, {**headers, **host}, DATA)[0] == 200
    assert raw("GET", f"/{acl_bucket}/k")[2] == DATA
