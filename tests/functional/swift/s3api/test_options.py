# SPDX-License-Identifier: Apache-2.0
"""What a site may have otherwise than Amazon."""
import base64
import hmac
import json
import time

import pytest
from botocore.exceptions import ClientError
from s3_client import Raw, boto

TESTER = ("test:tester", "testing")
OPTIONS = ("use = egg:swift#s3api\nmax_parts_listing = 2\nallowable_clock_skew = 100\n"
           "ratelimit_as_client_error = yes\nmin_segment_size = 1\n")


def code(call, **kwargs):
    """The error code a call fails with, None for a success."""
    try:
        call(**kwargs)
    except ClientError as exc:
        return exc.response["Error"]["Code"]
    return None


@pytest.fixture(scope="module")
def other_url(cluster):
    """A proxy with other options, where who writes twice in a second is too fast."""
    yield cluster.another_proxy(10, **{
        "use = egg:swift#s3api": OPTIONS,
        "ratelimit crossdomain formpost s3api tempauth":
            "crossdomain formpost s3api tempauth ratelimit",
        "use = egg:swift#ratelimit": "use = egg:swift#ratelimit\ncontainer_ratelimit_0 = 0.1\n"
                                     "max_sleep_time_seconds = 0.1\nrate_buffer_seconds = 0"})
    cluster.kill("proxy", 10)


@pytest.fixture
def other(other_url):
    client = boto(other_url, *TESTER)
    yield client
    client.close()


@pytest.mark.parametrize("allowed", ["true", "false"])
def test_who_has_what_nobody_owns(cluster, user, allowed):
    """Buckets and objects of other APIs have no lists; all buckets are listed by default."""
    url = cluster.another_proxy(16, **{"use = egg:swift#s3api": (
        f"use = egg:swift#s3api\ns3_acl = yes\nallow_no_owner = {allowed}")})
    clients = [boto(url, f"test:{name}", key) for name, key in
               (("tester", "testing"), ("tester3", "testing3"))]
    owner, guest = clients
    for name in ("/no-owner", "/no-owner/k"):
        user("PUT", name, body=b"x")
    assert code(owner.create_bucket, Bucket="owned") is None
    user("PUT", "/owned/k", body=b"x")
    wanted = None if allowed == "true" else "AccessDenied"
    for client in clients:
        assert code(client.get_object, Bucket="no-owner", Key="k") == wanted
        assert code(client.list_objects_v2, Bucket="no-owner") == wanted
        assert code(client.put_object, Bucket="no-owner", Key="new", Body=b"y") == wanted
        assert code(client.get_object, Bucket="owned", Key="k") == wanted
        assert code(client.put_bucket_acl, Bucket="no-owner", ACL="private") == "AccessDenied"
        listed = {found["Name"] for found in client.list_buckets()["Buckets"]}
        assert {"owned", "no-owner"} <= listed
        client.close()
    assert code(guest.list_objects_v2, Bucket="owned") == "AccessDenied"
    owner.delete_object(Bucket="owned", Key="k")
    owner.delete_bucket(Bucket="owned")
    cluster.kill("proxy", 16)


def test_pages_of_parts(s3, other, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for number in (1, 2, 3):
        s3.upload_part(Bucket=bucket, Key="k", UploadId=made, PartNumber=number, Body=b"x")
    where = {"Bucket": bucket, "Key": "k", "UploadId": made}
    page = other.list_parts(**where, MaxParts=50)
    assert page["IsTruncated"] and [p["PartNumber"] for p in page["Parts"]] == [1, 2]
    page = other.list_parts(**where, PartNumberMarker=2)
    assert not page["IsTruncated"] and [p["PartNumber"] for p in page["Parts"]] == [3]


def test_a_narrower_clock(cluster, other_url, bucket):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 200))
    text = f"GET\n\n\n\nx-amz-date:{date}\n/{bucket}"
    mac = hmac.new(TESTER[1].encode(), text.encode(), "sha1").digest()
    headers = {"x-amz-date": date,
               "Authorization": f"AWS {TESTER[0]}:{base64.b64encode(mac).decode()}"}
    assert Raw(cluster.url, *TESTER).send("GET", f"/{bucket}", headers, b"")[0] == 200
    status, _, body = Raw(other_url, *TESTER).send("GET", f"/{bucket}", headers, b"")
    assert status == 403 and b"<Code>RequestTimeTooSkewed</Code>" in body
    assert b"<MaxAllowedSkewMilliseconds>100000</MaxAllowedSkewMilliseconds>" in body


def test_who_is_too_fast(other, bucket):
    """The code is S3's; the status says whose fault it is."""
    with pytest.raises(ClientError) as caught:
        for number in range(3):
            other.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
    answer = caught.value.response
    assert answer["Error"]["Code"] == "SlowDown"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_without_multipart_uploads(cluster, s3, bucket):
    url = cluster.another_proxy(11, **{
        "use = egg:swift#s3api": "use = egg:swift#s3api\nallow_multipart_uploads = no"})
    client = boto(url, *TESTER)
    try:
        made = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": made}
        for call in (lambda: client.create_multipart_upload(Bucket=bucket, Key="k"),
                     lambda: client.list_multipart_uploads(Bucket=bucket),
                     lambda: client.upload_part(**where, PartNumber=1, Body=b"x"),
                     lambda: client.abort_multipart_upload(**where)):
            with pytest.raises(ClientError) as caught:
                call()
            assert caught.value.response["Error"]["Code"] == "NotImplemented"
        client.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
        port, cluster.proxy_port = cluster.proxy_port, int(url.rpartition(":")[2])
        told = json.loads(cluster.request("GET", "/info")[2])["s3api"]
        cluster.proxy_port = port
        assert told["allow_multipart_uploads"] is False
    finally:
        client.close()
        cluster.kill("proxy", 11)
