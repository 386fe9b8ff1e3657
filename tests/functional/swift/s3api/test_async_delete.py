# SPDX-License-Identifier: Apache-2.0
"""Deleting what multipart uploads made: the client does not wait for the parts to go."""
import json

import pytest
from botocore.exceptions import ClientError
from s3_client import boto
from swift_expirer import expire, queued

from swift.common.middleware.s3api.parts import AT_ONCE

TESTER, OTHER = ("test:tester", "testing"), ("test:tester3", "testing3")


@pytest.fixture
def s3(acl_clients):
    return acl_clients["tester"]


@pytest.fixture
def bucket(acl_bucket):
    return acl_bucket


def store(s3, bucket, key, parts=3, data=b"part of ten"):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    sent = [{"PartNumber": number, "ETag": s3.upload_part(
        Bucket=bucket, Key=key, UploadId=made, PartNumber=number, Body=data)["ETag"]}
        for number in range(1, parts + 1)]
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=made,
                                 MultipartUpload={"Parts": sent})
    return s3.head_object(Bucket=bucket, Key=key).get("VersionId")


def parts_left(user, bucket):
    rows = json.loads(user("GET", f"/{bucket}+segments?format=json")[2] or "[]")
    return [row["name"].split("/")[0] for row in rows]


def keys(s3, bucket):
    return [row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_answer_comes_before_the_parts_are_gone(s3, user, bucket, in_process):
    store(s3, bucket, "gone")
    store(s3, bucket, "stays", 2)
    assert s3.delete_object(Bucket=bucket, Key="gone")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert keys(s3, bucket) == ["stays"]
    assert parts_left(user, bucket) == ["gone"] * 3 + ["stays"] * 2
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    expire(in_process)
    assert parts_left(user, bucket) == ["stays"] * 2
    assert s3.get_object(Bucket=bucket, Key="stays")["Body"].read() == b"part of ten" * 2


def test_several_at_once(s3, user, bucket, in_process):
    store(s3, bucket, "a")
    store(s3, bucket, "b", 2)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": key} for key in ("a", "b", "small", "none")]})
    assert "Errors" not in gone and len(gone["Deleted"]) == 4
    assert keys(s3, bucket) == [] and len(parts_left(user, bucket)) == 5
    store(s3, bucket, "a", 1)                     # what comes by that name later is not meant
    expire(in_process)
    assert parts_left(user, bucket) == ["a"]
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"part of ten"


def test_a_version_and_what_is_put_over_an_upload(s3, user, bucket, in_process):
    store(s3, bucket, "over")
    s3.put_object(Bucket=bucket, Key="over", Body=b"x")
    assert parts_left(user, bucket) == ["over"] * 3
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one, two = store(s3, bucket, "v"), store(s3, bucket, "v", 2)
    s3.delete_object(Bucket=bucket, Key="v")
    expire(in_process)
    assert parts_left(user, bucket) == ["v"] * 5           # a marker takes nothing away
    s3.delete_object(Bucket=bucket, Key="v", VersionId=one)
    assert parts_left(user, bucket) == ["v"] * 5
    expire(in_process)
    assert parts_left(user, bucket) == ["v"] * 2
    got = s3.get_object(Bucket=bucket, Key="v", VersionId=two)
    assert got["Body"].read() == b"part of ten" * 2


def test_manifests_of_others_go_while_the_client_waits(s3, user, bucket):
    """Their segments may be where the expirer is not sent: in several containers, or large."""
    user("PUT", f"/{bucket}x")
    user("PUT", f"/{bucket}x/1", body=b"x")
    user("PUT", f"/{bucket}/2", body=b"y")
    assert user("PUT", f"/{bucket}/slo?multipart-manifest=put", body=json.dumps(
        [{"path": f"/{bucket}x/1"}, {"path": f"/{bucket}/2"}]).encode())[0] == 201
    s3.delete_object(Bucket=bucket, Key="slo")
    assert keys(s3, bucket) == [] and user("HEAD", f"/{bucket}x/1")[0] == 404


def test_the_bucket_takes_along_what_still_waits(s3, user, bucket, in_process):
    store(s3, bucket, "k", AT_ONCE + 1)
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert parts_left(user, bucket) == ["k"] * (AT_ONCE + 1)
    expire(in_process)
    assert user("HEAD", f"/{bucket}+segments")[0] == 404


def test_few_parts_go_with_their_bucket(s3, user, bucket):
    """Who looks at the account right after it sees no container of theirs."""
    store(s3, bucket, "k", AT_ONCE - 1)
    made = s3.create_multipart_upload(Bucket=bucket, Key="ü/1")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="ü/1", UploadId=made, PartNumber=1, Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert user("HEAD", f"/{bucket}+segments")[0] == 404
    assert json.loads(user("GET", f"?format=json&prefix={bucket}")[2]) == []


def test_what_a_container_of_the_other_kind_of_versions_keeps(s3, user, bucket, in_process):
    """X-Versions-Location: what is replaced is a manifest elsewhere, which needs its parts."""
    user("PUT", f"/{bucket}-archive")
    user("POST", f"/{bucket}", {"X-Versions-Location": f"{bucket}-archive"})
    store(s3, bucket, "k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    expire(in_process)
    assert parts_left(user, bucket) == ["k"] * 3
    s3.delete_object(Bucket=bucket, Key="k")             # brings it back
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"part of ten" * 3
    s3.delete_object(Bucket=bucket, Key="k")
    assert parts_left(user, bucket) == []


def test_security_nothing_is_queued_for_who_may_not_write(cluster, user, in_process):
    """With rights on the bucket alone its objects are replaced, and their parts go with them; who
    has none fills nobody's queue."""
    s3 = boto(cluster.url, *TESTER)
    s3.create_bucket(Bucket="half-open")
    store(s3, "half-open", "k", 1)
    other = boto(cluster.url, *OTHER)
    for call, more in ((other.put_object, {"Key": "k", "Body": b"x"}),
                       (other.delete_object, {"Key": "k"}), (other.delete_bucket, {})):
        with pytest.raises(ClientError, match="AccessDenied"):
            call(Bucket="half-open", **more)
    expire(in_process)
    assert queued(in_process, "half-open+segments") == [] and parts_left(user, "half-open") == ["k"]
    user("POST", "/half-open", {"X-Container-Write": "test:tester3"})
    other.put_object(Bucket="half-open", Key="k", Body=b"theirs")
    assert queued(in_process, "half-open+segments") != []
    expire(in_process)
    assert parts_left(user, "half-open") == []
    s3.close()
    other.close()


def test_where_a_site_forbids_it_the_client_waits(cluster, user, bucket, s3):
    url = cluster.another_proxy(8, **{
        "use = egg:swift#slo\n": "use = egg:swift#slo\nallow_async_delete = no\n",
        "use = egg:swift#s3api": "use = egg:swift#s3api\ns3_acl = yes\nmin_segment_size = 10\n"})
    client = boto(url, *TESTER)
    try:
        store(s3, bucket, "k")
        client.delete_object(Bucket=bucket, Key="k")
        store(s3, bucket, "over")
        client.put_object(Bucket=bucket, Key="over", Body=b"x")
        assert parts_left(user, bucket) == []
        made = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        client.upload_part(Bucket=bucket, Key="k", UploadId=made, PartNumber=1, Body=b"x")
        client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=made)
        assert parts_left(user, bucket) == []
        client.delete_object(Bucket=bucket, Key="over")
        client.create_multipart_upload(Bucket=bucket, Key="k")
        client.delete_bucket(Bucket=bucket)
        assert user("HEAD", f"/{bucket}+segments")[0] == 404
    finally:
        client.close()
        cluster.kill("proxy", 8)
