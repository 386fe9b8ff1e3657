# SPDX-License-Identifier: Apache-2.0
"""Access lists of S3's own (s3_acl): users of one account and what they let each other do."""
import pytest
from botocore.exceptions import ClientError


def code(call, *args, **kwargs):
    """The error code a call fails with, None for a success."""
    try:
        answer = call(*args, **kwargs)
        if "Body" in answer:
            answer["Body"].read()
        return None
    except ClientError as e:
        return e.response["Error"]["Code"]


@pytest.fixture
def owner(acl_clients):
    return acl_clients["tester"]


@pytest.fixture
def guest(acl_clients):
    """An ordinary user of the same account."""
    return acl_clients["tester3"]


def test_the_owner_needs_no_grant(owner, acl_bucket):
    """As in OpenStack Swift: who gives all rights away still has them, and gets rid of the rest."""
    where = {"Bucket": acl_bucket, "Key": "k"}
    owner.put_object(**where, Body=b"x")
    given = {"Owner": {"ID": "test:tester"}, "Grants": [
        {"Grantee": {"Type": "CanonicalUser", "ID": "somebody"}, "Permission": "READ"}]}
    owner.put_object_acl(**where, AccessControlPolicy=given)
    owner.put_bucket_acl(Bucket=acl_bucket, AccessControlPolicy=given)
    assert owner.get_object(**where)["Body"].read() == b"x"
    assert [o["Key"] for o in owner.list_objects_v2(Bucket=acl_bucket)["Contents"]] == ["k"]
    assert "Uploads" not in owner.list_multipart_uploads(Bucket=acl_bucket)
    owner.delete_object(**where)
    owner.delete_bucket(Bucket=acl_bucket)


def test_private_is_private(owner, guest, acl_clients, acl_bucket):
    owner.put_object(Bucket=acl_bucket, Key="k", Body=b"x")
    where = {"Bucket": acl_bucket, "Key": "k"}
    for client in (guest, acl_clients["tester2"]):       # the account's admin neither
        assert code(client.get_object, **where) == "AccessDenied"
        assert code(client.head_object, **where) == "403"
        assert code(client.put_object, **where, Body=b"y") == "AccessDenied"
        assert code(client.delete_object, **where) == "AccessDenied"
        assert code(client.copy_object, **where, CopySource={"Bucket": acl_bucket, "Key": "k"},
                    MetadataDirective="REPLACE") == "AccessDenied"
        assert code(client.get_object_acl, **where) == "AccessDenied"
        assert code(client.put_object_acl, **where, ACL="public-read") == "AccessDenied"
        for call in (client.list_objects_v2, client.delete_bucket, client.get_bucket_acl,
                     client.list_multipart_uploads, client.get_bucket_versioning):
            assert code(call, Bucket=acl_bucket) == "AccessDenied"
        assert code(client.put_bucket_acl, Bucket=acl_bucket, ACL="private") == "AccessDenied"
        assert code(client.create_multipart_upload, **where) == "AccessDenied"
        assert client.delete_objects(Bucket=acl_bucket, Delete={"Objects": [{"Key": "k"}]})[
            "Errors"][0]["Code"] == "AccessDenied"
        assert acl_bucket not in [b["Name"] for b in client.list_buckets()["Buckets"]]
    assert code(owner.get_object, **where) is None


def test_only_one_s_own_buckets_are_listed(owner, guest, acl_bucket, user):
    """Whatever else one may read: check_bucket_owner."""
    owner.put_bucket_acl(Bucket=acl_bucket, ACL="public-read")
    user("PUT", "/of-no-owner", {"X-Container-Read": "test:tester3"})
    assert code(guest.list_objects_v2, Bucket=acl_bucket) is None
    assert code(guest.list_objects_v2, Bucket="of-no-owner") is None
    assert not {"of-no-owner", acl_bucket} & {
        bucket["Name"] for bucket in guest.list_buckets()["Buckets"]}
    listed = {bucket["Name"] for bucket in owner.list_buckets()["Buckets"]}
    assert acl_bucket in listed and "of-no-owner" not in listed


def test_other_accounts_have_other_buckets(acl_clients, acl_bucket):
    assert code(acl_clients["other"].list_objects, Bucket=acl_bucket) == "NoSuchBucket"


def test_who_may_make_buckets(acl_clients, acl_bucket):
    assert code(acl_clients["tester2"].create_bucket, Bucket=acl_bucket) == "BucketAlreadyExists"
    assert code(acl_clients["tester3"].create_bucket, Bucket=acl_bucket) == "AccessDenied"
    assert code(acl_clients["tester3"].create_bucket, Bucket="of-tester3") == "AccessDenied"


def test_reading_and_writing_by_grant(owner, guest, acl_bucket):
    owner.put_bucket_acl(Bucket=acl_bucket, GrantRead='id="test:tester3"',
                         GrantFullControl='id="test:tester"')
    owner.put_object(Bucket=acl_bucket, Key="k", Body=b"x")
    assert code(guest.list_objects, Bucket=acl_bucket) is None
    assert code(guest.get_object, Bucket=acl_bucket, Key="k") == "AccessDenied"
    owner.put_object_acl(Bucket=acl_bucket, Key="k", ACL="authenticated-read")
    assert code(guest.get_object, Bucket=acl_bucket, Key="k") is None
    assert code(guest.put_object, Bucket=acl_bucket, Key="g", Body=b"y") == "AccessDenied"
    owner.put_bucket_acl(Bucket=acl_bucket, ACL="public-read-write")
    guest.put_object(Bucket=acl_bucket, Key="g", Body=b"y", ACL="bucket-owner-full-control")
    assert guest.get_object_acl(Bucket=acl_bucket, Key="g")["Owner"]["ID"] == "test:tester3"
    assert code(owner.get_object, Bucket=acl_bucket, Key="g") is None


def test_a_list_by_xml_keeps_all_else(owner, guest, acl_bucket):
    made = owner.create_multipart_upload(Bucket=acl_bucket, Key="k", Metadata={"a": "b"})
    part = owner.upload_part(Bucket=acl_bucket, Key="k", UploadId=made["UploadId"], PartNumber=1,
                             Body=b"content")
    etag = owner.complete_multipart_upload(
        Bucket=acl_bucket, Key="k", UploadId=made["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})["ETag"]
    policy = owner.get_object_acl(Bucket=acl_bucket, Key="k")
    assert policy["Owner"]["ID"] == "test:tester" and len(policy["Grants"]) == 1
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "test:tester3"}, "Permission": "READ"}
    owner.put_object_acl(Bucket=acl_bucket, Key="k", AccessControlPolicy={
        "Owner": policy["Owner"], "Grants": [*policy["Grants"], grant]})
    got = guest.get_object(Bucket=acl_bucket, Key="k")
    assert got["Body"].read() == b"content"
    assert (got["ETag"], got["Metadata"]) == (etag, {"a": "b"})
    assert owner.list_objects(Bucket=acl_bucket)["Contents"][0]["ETag"] == etag
    other = {"Owner": {"ID": "test:tester3"}, "Grants": [grant]}
    assert code(owner.put_object_acl, Bucket=acl_bucket, Key="k",
                AccessControlPolicy=other) == "AccessDenied"


def test_copies_need_the_right_to_read(owner, guest, acl_bucket):
    owner.put_bucket_acl(Bucket=acl_bucket, ACL="public-read-write")
    owner.put_object(Bucket=acl_bucket, Key="secret", Body=b"x")
    source = {"Bucket": acl_bucket, "Key": "secret"}
    assert code(guest.copy_object, Bucket=acl_bucket, Key="mine", CopySource=source) == \
        "AccessDenied"
    made = guest.create_multipart_upload(Bucket=acl_bucket, Key="mine")["UploadId"]
    assert code(guest.upload_part_copy, Bucket=acl_bucket, Key="mine", UploadId=made,
                PartNumber=1, CopySource=source) == "AccessDenied"
    assert code(owner.head_object, Bucket=acl_bucket, Key="mine") == "404"


def test_buckets_of_other_apis_keep_the_store_s_rights(acl_clients, user):
    user("PUT", "/made-by-swift")
    user("PUT", "/made-by-swift/k", body=b"x")
    assert code(acl_clients["tester"].get_object, Bucket="made-by-swift", Key="k") is None
    assert code(acl_clients["tester3"].get_object, Bucket="made-by-swift", Key="k") == \
        "AccessDenied"
    user("PUT", "/open-by-swift", {"X-Container-Read": "test:tester3"})
    user("PUT", "/open-by-swift/k", body=b"x")
    assert code(acl_clients["tester3"].get_object, Bucket="open-by-swift", Key="k") is None
