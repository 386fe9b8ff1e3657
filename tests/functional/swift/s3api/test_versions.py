# SPDX-License-Identifier: Apache-2.0
"""Versioning of buckets, on the store's own object versioning."""
import json

import pytest
from botocore.exceptions import ClientError
from swift_expirer import expire


def code(call, *args, **kwargs):
    """The error code a call fails with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response["Error"]["Code"]


def switch(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


def test_versions_come_and_go(s3, bucket):
    where = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**where, Body=b"null")
    switch(s3, bucket, "Enabled")
    one = s3.put_object(**where, Body=b"one")["VersionId"]
    two = s3.put_object(**where, Body=b"two")["VersionId"]
    marker = s3.delete_object(**where)
    assert marker["DeleteMarker"] and code(s3.get_object, **where) == "NoSuchKey"
    listed = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in listed["Versions"][:2]] == [two, one]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [
        (marker["VersionId"], True)]
    got = s3.get_object(**where, VersionId=one)
    assert (got["Body"].read(), got["VersionId"]) == (b"one", one)
    s3.delete_object(**where, VersionId=marker["VersionId"])
    assert s3.get_object(**where)["Body"].read() == b"two"      # what was before is there again
    s3.delete_object(**where, VersionId=two)
    assert s3.get_object(**where)["Body"].read() == b"one"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={**where, "VersionId": one})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"one"
    for version in ("nonsense", "1", ""):
        assert code(s3.head_object, **where, VersionId=version) in ("400", "404")
    assert code(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    switch(s3, bucket, "Suspended")
    listed = s3.list_object_versions(Bucket=bucket)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": v["Key"], "VersionId": v["VersionId"]} for v in listed["Versions"]]})
    assert "Errors" not in gone
    s3.delete_bucket(Bucket=bucket)


def test_parts_live_as_long_as_a_version_needs_them(acl_clients, user, acl_bucket, in_process):
    """A large version keeps its parts through markers; they go with it, and only theirs."""
    s3 = acl_clients["tester"]
    where = {"Bucket": acl_bucket, "Key": "k"}

    def store(data):
        made = s3.create_multipart_upload(**where)["UploadId"]
        etag = s3.upload_part(**where, UploadId=made, PartNumber=1, Body=data)["ETag"]
        s3.complete_multipart_upload(**where, UploadId=made, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": etag}]})
        return s3.head_object(**where)["VersionId"]

    def parts():
        expire(in_process)
        rows = json.loads(user("GET", f"/{acl_bucket}+segments?format=json")[2] or "[]")
        return len(rows)

    switch(s3, acl_bucket, "Enabled")
    one, two = store(b"one"), store(b"two")
    assert parts() == 2
    s3.delete_object(**where)
    assert parts() == 2
    s3.delete_object(**where, VersionId=one)
    assert parts() == 1
    assert s3.get_object(**where, VersionId=two)["Body"].read() == b"two"
    switch(s3, acl_bucket, "Suspended")
    s3.delete_object(**where)
    assert parts() == 1 and s3.get_object(**where, VersionId=two)["Body"].read() == b"two"
    s3.delete_object(**where, VersionId=two)
    assert parts() == 0
