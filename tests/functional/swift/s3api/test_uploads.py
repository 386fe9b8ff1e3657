# SPDX-License-Identifier: Apache-2.0
"""Multipart uploads by boto3, on the store's own large objects."""
import hashlib
import json

import pytest
from botocore.exceptions import ClientError
from swift_expirer import expire

PARTS = [b"a" * 70_000, b"b" * 20, b"c" * 3]


def code(call, *args, **kwargs):
    """The error code a call fails with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


@pytest.fixture
def s3(acl_clients):
    return acl_clients["tester"]


@pytest.fixture
def bucket(acl_bucket):
    return acl_bucket


def upload(s3, bucket, key="k", parts=PARTS, numbers=None, **more):
    """Begin an upload and send its parts; ``(id, [{ETag, PartNumber}])``."""
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    sent = []
    for number, part in zip(numbers or range(1, 99), parts, strict=False):
        got = s3.upload_part(Bucket=bucket, Key=key, UploadId=made, PartNumber=number, Body=part)
        sent.append({"ETag": got["ETag"], "PartNumber": number})
    return made, sent


def complete(s3, bucket, made, parts, key="k", **more):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=made,
                                        MultipartUpload={"Parts": parts}, **more)


def leftovers(user, bucket):
    """Names in the container of parts."""
    listing = user("GET", f"/{bucket}+segments?format=json")[2]
    return [row["name"] for row in json.loads(listing or "[]")]


def test_from_beginning_to_end(s3, user, bucket, in_process):
    made, parts = upload(s3, bucket, Metadata={"a_b": "c"}, ContentType="text/x")
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [made]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=made)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [
        (n + 1, len(p), f'"{hashlib.md5(p).hexdigest()}"') for n, p in enumerate(PARTS)]
    etag = complete(s3, bucket, made, parts)["ETag"]
    digests = b"".join(hashlib.md5(p).digest() for p in PARTS)
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert complete(s3, bucket, made, parts)["ETag"] == etag        # again: the same
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(PARTS)
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (etag, {"a_b": "c"}, "text/x")
    row = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (row["ETag"], row["Size"]) == (etag, sum(map(len, PARTS)))
    assert s3.head_object(Bucket=bucket, Key="k", IfMatch=etag)["ContentLength"] == row["Size"]
    assert code(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag) == "304"
    part = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (part["Body"].read(), part["PartsCount"]) == (PARTS[1], 3)
    assert user("GET", f"/{bucket}/k")[2] == b"".join(PARTS)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert leftovers(user, bucket) == [f"k/{made}/{n}" for n in (1, 2, 3)]
    s3.delete_object(Bucket=bucket, Key="k")
    expire(in_process)
    assert leftovers(user, bucket) == []
    assert code(complete, s3, bucket, made, parts) == "NoSuchUpload"


def test_swift_lists_such_an_object_by_both_etags(s3, user, bucket):
    made, parts = upload(s3, bucket)
    etag = complete(s3, bucket, made, parts)["ETag"]
    row = json.loads(user("GET", f"/{bucket}?format=json")[2])[0]
    assert row["s3_etag"] == etag and "slo_etag" in row and len(row["hash"]) == 32


def test_given_up(s3, user, bucket):
    made, parts = upload(s3, bucket)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=made)
    assert leftovers(user, bucket) == []
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    for call, more in [(s3.list_parts, {}), (s3.abort_multipart_upload, {}),
                       (s3.upload_part, {"PartNumber": 1, "Body": b"x"})]:
        assert code(call, Bucket=bucket, Key="k", UploadId=made, **more) == "NoSuchUpload"
    assert code(complete, s3, bucket, made, parts) == "NoSuchUpload"


def test_many_parts_given_up(s3, user, bucket, in_process):
    """No client waits for them, but the upload is gone at once."""
    made, _ = upload(s3, bucket, parts=[b"x"] * 11)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=made)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    for call in (s3.list_parts, s3.abort_multipart_upload):
        assert code(call, Bucket=bucket, Key="k", UploadId=made) == "NoSuchUpload"
    assert leftovers(user, bucket) == sorted(f"k/{made}/{n}" for n in range(1, 12))
    expire(in_process)
    assert leftovers(user, bucket) == []


def test_what_cannot_be_completed(s3, bucket):
    made, parts = upload(s3, bucket, parts=[PARTS[0], b"small", PARTS[0]])
    assert code(complete, s3, bucket, made, parts) == "EntityTooSmall"
    assert code(complete, s3, bucket, made, parts[::-1]) == "InvalidPartOrder"
    assert code(complete, s3, bucket, made, [{**parts[0], "ETag": '"' + "0" * 32 + '"'}]) == \
        "InvalidPart"
    assert code(complete, s3, bucket, made, [{**parts[0], "PartNumber": 9}]) == "InvalidPart"
    assert code(complete, s3, bucket, made, []) == "MalformedXML"
    for number in (0, 21):
        assert code(s3.upload_part, Bucket=bucket, Key="k", UploadId=made, PartNumber=number,
                    Body=b"x") == "InvalidArgument"
    assert code(s3.head_object, Bucket=bucket, Key="k") == "404"


def test_parts_nobody_wants_go(s3, user, bucket):
    made, parts = upload(s3, bucket, parts=[PARTS[0]] * 3)
    complete(s3, bucket, made, [parts[0], parts[2]])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PARTS[0] * 2
    assert leftovers(user, bucket) == [f"k/{made}/1", f"k/{made}/3"]


@pytest.mark.parametrize("by", ["put", "copy", "upload"])
def test_what_replaces_an_upload_frees_its_parts(s3, user, bucket, by, in_process):
    complete(s3, bucket, *upload(s3, bucket))
    s3.put_object(Bucket=bucket, Key="other", Body=b"new")
    left = []
    if by == "put":
        s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    elif by == "copy":
        s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "other"})
    else:
        made, parts = upload(s3, bucket, parts=[b"new"])
        complete(s3, bucket, made, parts)
        left = [f"k/{made}/1"]
    expire(in_process)
    assert leftovers(user, bucket) == left
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


@pytest.mark.parametrize("parts", [[b""], [PARTS[0], b""]])
def test_empty_parts(s3, bucket, parts):
    made, sent = upload(s3, bucket, parts=parts)
    etag = complete(s3, bucket, made, sent)["ETag"]
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(parts) and got["ETag"] == etag
    assert etag.endswith(f'-{len(parts)}"')
    assert s3.list_objects(Bucket=bucket)["Contents"][0]["ETag"] == etag
    assert complete(s3, bucket, made, sent)["ETag"] == etag


def test_parts_from_other_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="src", Body=PARTS[0])
    made = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": made,
             "CopySource": {"Bucket": bucket, "Key": "src"}}
    parts = []
    for number, wanted in ((1, {}), (2, {"CopySourceRange": "bytes=5-14"})):
        got = s3.upload_part_copy(PartNumber=number, **where, **wanted)
        parts.append({"PartNumber": number, "ETag": got["CopyPartResult"]["ETag"]})
    for wanted in ("bytes=5-70000", "bytes=9-5", "5-9", "bytes=-5"):
        assert code(s3.upload_part_copy, PartNumber=3, CopySourceRange=wanted, **where) in (
            "InvalidArgument", "InvalidRange")
    complete(s3, bucket, made, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == PARTS[0] + b"a" * 10


def test_a_copy_is_one_piece(s3, bucket):
    made, parts = upload(s3, bucket)
    complete(s3, bucket, made, parts)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    s3.delete_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="copy")
    whole = b"".join(PARTS)
    assert got["Body"].read() == whole and got["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'


@pytest.mark.parametrize(("algorithm", "kind"), [
    ("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
    ("SHA256", "COMPOSITE")])
def test_checksums(s3, bucket, algorithm, kind):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm,
                                      ChecksumType=kind)["UploadId"]
    parts = []
    for number, part in enumerate(PARTS, 1):
        got = s3.upload_part(Bucket=bucket, Key="k", UploadId=made, PartNumber=number, Body=part,
                             ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": got["ETag"],
                      "Checksum" + algorithm: got["Checksum" + algorithm]})
    wrong = [{**parts[0], "Checksum" + algorithm: parts[1]["Checksum" + algorithm]}, *parts[1:]]
    assert code(complete, s3, bucket, made, wrong) == "InvalidPart"
    value = complete(s3, bucket, made, parts)["Checksum" + algorithm]
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["Checksum" + algorithm], head["ChecksumType"]) == (value, kind)
    if kind == "FULL_OBJECT":
        whole = s3.put_object(Bucket=bucket, Key="w", Body=b"".join(PARTS),
                              ChecksumAlgorithm=algorithm)
        assert whole["Checksum" + algorithm] == value


def test_listing_uploads_in_pages(s3, bucket):
    made = {(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
            for key in ("a", "a", "b/1", "b/2", "c")}
    seen = set()
    for page in s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": 2}):
        seen |= {(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])}
    assert seen == made
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["b/"]
    assert len(page["Uploads"]) == 3


def test_deleting_the_bucket_ends_its_uploads(s3, user, bucket, in_process):
    upload(s3, bucket)
    s3.delete_bucket(Bucket=bucket)
    expire(in_process)
    assert user("HEAD", f"/{bucket}+segments")[0] == 404
