# SPDX-License-Identifier: Apache-2.0
"""Deleting what multipart uploads made: the client does not wait for the parts to go."""
import json

import pytest
from s3_client import boto
from swift_expirer import expire

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
    store(s3, bucket, "k")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    assert user("HEAD", f"/{bucket}+segments")[0] == 404
    expire(in_process)


def test_security_nothing_is_queued_for_who_may_not_delete(cluster, user, in_process):
    """With rights on the bucket alone its objects are replaced; the parts of before are not
    theirs to delete."""
    s3 = boto(cluster.url, *TESTER)
    s3.create_bucket(Bucket="half-open")
    store(s3, "half-open", "k", 1)
    user("POST", "/half-open", {"X-Container-Write": "test:tester3",
                                "X-Container-Read": "test:tester3"})
    other = boto(cluster.url, *OTHER)
    for left in (1, 2):
        other.put_object(Bucket="half-open", Key="k", Body=b"theirs")
        expire(in_process)
        assert parts_left(user, "half-open") == ["k"] * left
        # The second time they may look at the parts.
        user("POST", "/half-open+segments", {"X-Container-Read": "test:tester3"})
        store(s3, "half-open", "k", 1)
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
    finally:
        client.close()
        cluster.kill("proxy", 8)
