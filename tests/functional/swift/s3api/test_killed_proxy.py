# SPDX-License-Identifier: Apache-2.0
"""A proxy that is killed at any point of what makes parts of multipart uploads superfluous: no part
is left that nobody will delete, and none is missing that an object is made of.
"""
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from mortal_proxy import S3_OPTIONS, MortalProxy
from s3_client import boto
from swift_expirer import expire, queued

from swift.common import node_client
from swift.common.internal_client import InternalClient
from swift.common.middleware.s3api import acl
from swift.common.middleware.versioned_containers import hidden_name, version_name
from swift.common.ring import Ring
from swift.common.timestamp import Timestamp
from swift.obj.expirer import ObjectExpirer

DATA = (b"first part ", b"second part")


@pytest.fixture
def proxy(in_process, monkeypatch):
    return MortalProxy(in_process, monkeypatch)


class Bucket:
    """A bucket and what happens to it."""

    def __init__(self, proxy, user, name, made=False):
        self.s3, self.user, self.name = proxy.s3, user, name
        if not made:
            self.s3.create_bucket(Bucket=name)

    def call(self, name, **more):
        return getattr(self.s3, name)(Bucket=self.name, **more)

    def begin(self, key="k", data=DATA):
        made = self.call("create_multipart_upload", Key=key)["UploadId"]
        return {"Key": key, "UploadId": made}, [{"PartNumber": number, "ETag": self.call(
            "upload_part", Key=key, UploadId=made, PartNumber=number, Body=part)["ETag"]}
            for number, part in enumerate(data, 1)]

    def complete(self, upload, parts):
        return self.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})

    def store(self, key="k", data=DATA):
        """The version of what was made of an upload."""
        self.complete(*self.begin(key, data))
        return self.call("head_object", Key=key).get("VersionId")

    def versions(self, status):
        self.call("put_bucket_versioning", VersioningConfiguration={"Status": status})

    # -- how it looks ----------------------------------------------------
    def listing(self):
        status, _, body = self.user("GET", f"/{self.name}+segments?format=json")
        return [row["name"] for row in json.loads(body)] if status == 200 else None

    def exists(self):
        return self.user("HEAD", f"/{self.name}")[0] == 204

    def check_content(self):
        """All of what objects and their versions are made of is there."""
        for row in self._rows():
            got = self.call("get_object", Key=row["Key"], **self._version(row))
            assert len(got["Body"].read()) == row["Size"]

    def check_parts(self):
        """Nothing else is."""
        if not self.exists():
            assert self.listing() is None
            return
        self.check_content()
        assert sorted(self.listing() or ()) == sorted({*self._named(), *self._going_on()})

    def _rows(self):
        return self.call("list_object_versions").get("Versions", ()) if self.exists() else ()

    @staticmethod
    def _version(row):
        return {} if row["VersionId"] == "null" else {"VersionId": row["VersionId"]}

    def _named(self):
        """The parts that objects and their versions name."""
        for row in self._rows():
            if "-" in row["ETag"]:
                query = "".join(f"&version-id={id_}" for id_ in self._version(row).values())
                manifest = json.loads(self.user(
                    "GET", f"/{self.name}/{quote(row['Key'])}?multipart-manifest=get{query}")[2])
                yield from (part["name"].split("/", 2)[2] for part in manifest)

    def _going_on(self):
        """What belongs to uploads that have not ended."""
        ids = [f"{row['Key']}/{row['UploadId']}" for row in
               self.call("list_multipart_uploads").get("Uploads", ())]
        return [name for name in self.listing() or () if name in ids
                or name.rpartition("/")[0] in ids]


def deleted(bucket):
    bucket.store()
    return lambda: bucket.call("delete_object", Key="k")


def replaced(bucket):
    bucket.store("ü/1")
    return lambda: bucket.call("put_object", Key="ü/1", Body=b"x")


def replaced_by_a_copy(bucket):
    bucket.store()
    bucket.call("put_object", Key="source", Body=b"x")
    return lambda: bucket.call("copy_object", Key="k",
                               CopySource={"Bucket": bucket.name, "Key": "source"})


def replaced_by_an_upload(bucket):
    bucket.store()
    upload, parts = bucket.begin()
    return lambda: bucket.complete(upload, parts[:1])


def version_deleted(bucket):
    bucket.versions("Enabled")
    first = bucket.store("ü/1")
    bucket.store("ü/1")
    return lambda: bucket.call("delete_object", Key="ü/1", VersionId=first)


def current_version_deleted(bucket):
    bucket.versions("Enabled")
    bucket.store()
    second = bucket.store()
    return lambda: bucket.call("delete_object", Key="k", VersionId=second)


def null_deleted(bucket):
    bucket.store()
    bucket.versions("Suspended")
    return lambda: bucket.call("delete_object", Key="k", VersionId="null")


def null_replaced(bucket):
    bucket.versions("Enabled")
    bucket.store()
    bucket.versions("Suspended")
    bucket.store()
    return lambda: bucket.call("put_object", Key="k", Body=b"x")


def link_replaced(bucket):
    """What is replaced is a version that stays."""
    bucket.versions("Enabled")
    bucket.store()
    bucket.versions("Suspended")
    return lambda: bucket.call("put_object", Key="k", Body=b"x")


def null_kept(bucket):
    """What is replaced becomes a version."""
    bucket.store()
    bucket.versions("Enabled")
    return lambda: bucket.call("put_object", Key="k", Body=b"x")


def several_deleted(bucket):
    bucket.versions("Enabled")
    first = bucket.store()
    bucket.store("k", DATA[:1])
    last = bucket.store("other")
    return lambda: bucket.call("delete_objects", Delete={"Objects": [
        {"Key": "k", "VersionId": first}, {"Key": "other", "VersionId": last}, {"Key": "none"}]})


def given_up(bucket):
    bucket.store()
    upload, _ = bucket.begin()
    return lambda: bucket.call("abort_multipart_upload", **upload)


def completed(bucket):
    bucket.versions("Enabled")
    bucket.store()
    upload, parts = bucket.begin()
    return lambda: bucket.complete(upload, parts[1:])


def bucket_deleted(bucket):
    bucket.store()
    bucket.call("delete_object", Key="k")
    bucket.begin("other")
    bucket.begin("another")
    return lambda: bucket.s3.delete_bucket(Bucket=bucket.name)


# How many writes each of them is; some suffice to be run each time.
CASES = [pytest.param(case, writes, id=case.__name__, marks=pytest.mark.whole if slow else ())
         for case, writes, slow in (
    (deleted, 2, 1), (replaced, 2, 1), (replaced_by_a_copy, 2, 1), (replaced_by_an_upload, 4, 1),
    (version_deleted, 2, 0), (current_version_deleted, 4, 1), (null_deleted, 2, 1),
    (null_replaced, 2, 1), (link_replaced, 1, 1), (null_kept, 3, 1), (several_deleted, 7, 1),
    (given_up, 4, 1), (completed, 4, 1), (bucket_deleted, 11, 1))]


@pytest.mark.parametrize("prepare, most", CASES)
def test_killed_at_any_point(proxy, user, in_process, prepare, most):
    buckets = []
    for writes in range(most + 1):
        bucket = Bucket(proxy, user, f"{prepare.__name__.replace('_', '-')}-{writes}")
        act = prepare(bucket)
        proxy.live(writes)
        with proxy.death():
            act()
        assert proxy.dead == (writes < most), proxy.made
        proxy.live()
        bucket.check_content()                         # all of it is there, the rows or not
        buckets.append(bucket)
    expire(in_process)
    for bucket in buckets:
        bucket.check_parts()


@pytest.mark.whole
@pytest.mark.parametrize("seed", range(2))
def test_killed_for_real(cluster, user, in_process, seed):
    """Wherever SIGKILL strikes, in the midst of a write, too."""
    chance = random.Random(seed)
    url = cluster.another_proxy(9, **{"use = egg:swift#s3api": S3_OPTIONS})
    buckets = []
    try:
        for case in CASES:
            prepare = case.values[0]
            s3 = boto(url, "test:tester", "testing")
            bucket = Bucket(SimpleNamespace(s3=s3), user,
                            f"real-{prepare.__name__.replace('_', '-')}-{seed}")
            with ThreadPoolExecutor(1) as threads:
                answer = threads.submit(prepare(bucket))
                time.sleep(chance.uniform(0.002, 0.08))
                cluster.kill("proxy", 9)
            if answer.exception() is not None:
                assert isinstance(answer.exception(), HTTPClientError | ClientError)
            cluster.start("proxy", 9)
            buckets.append(bucket)
        for bucket in buckets:
            bucket.check_content()
        expire(in_process)
        for bucket in buckets:
            bucket.check_parts()
            bucket.s3.close()
    finally:
        cluster.kill("proxy", 9)


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.whole), 100_000])
def test_killed_when_all_of_a_body_was_read(proxy, user, in_process, size):
    """That is when the row is there and the new object is not."""
    bucket = Bucket(proxy, user, f"read-{size}")
    bucket.store()
    proxy.live(1, done=True)
    with proxy.death():
        bucket.call("put_object", Key="k", Body=b"x" * size)
    assert proxy.dead and any(write.startswith("UPDATE") for write in proxy.made)
    proxy.live()
    assert queued(in_process, f"{bucket.name}+segments")
    expire(in_process)
    bucket.check_content()
    bucket.check_parts()
    assert len(bucket.listing()) == 2


def later(monkeypatch, seconds=86500):
    now = time.time
    monkeypatch.setattr("swift.obj.expirer.time", SimpleNamespace(
        time=lambda: now() + seconds, monotonic=time.monotonic))


def test_what_came_too_late_or_too_early_for_the_first_look(proxy, user, in_process, monkeypatch):
    bucket = Bucket(proxy, user, "second-look")
    bucket.store("slow")
    upload, _ = bucket.begin()
    bucket.call("abort_multipart_upload", **upload)
    proxy.live(1)
    with proxy.death():
        bucket.call("delete_object", Key="slow")
    proxy.live()
    expire(in_process)
    bucket.check_content()
    # A part that was on its way when its upload was aborted, and the rest of the deletion.
    user("PUT", f"/{bucket.name}+segments/k/{upload['UploadId']}/3", body=b"late")
    user("DELETE", f"/{bucket.name}/slow")
    expire(in_process)
    assert len(bucket.listing()) == 3
    later(monkeypatch)
    expire(in_process)
    assert bucket.listing() == []


def test_giving_up_what_was_completed(proxy, user, in_process):
    """A completion that was cut off after the object was made: the upload is still there."""
    bucket = Bucket(proxy, user, "given-up-after-all")
    upload, parts = bucket.begin()
    proxy.live(1)
    with proxy.death():
        bucket.complete(upload, parts)
    proxy.live()
    bucket.call("abort_multipart_upload", **upload)
    assert "Uploads" not in bucket.call("list_multipart_uploads")
    expire(in_process)
    bucket.check_content()
    bucket.check_parts()
    bucket.call("delete_object", Key="k")
    expire(in_process)
    assert bucket.listing() == []


@pytest.mark.whole
def test_completing_again_what_was_completed(proxy, user, in_process):
    """The same parts: that ends it. Others: it is too late for them, the version stays whole."""
    bucket = Bucket(proxy, user, "completed-again")
    bucket.versions("Enabled")
    uploads = {key: bucket.begin(key) for key in ("same", "other")}
    for key, (upload, parts) in uploads.items():
        proxy.live(2)
        with proxy.death():
            bucket.complete(upload, parts)
        proxy.live()
        if key == "same":
            bucket.complete(upload, parts)
        else:
            with pytest.raises(ClientError, match="NoSuchUpload"):
                bucket.complete(upload, parts[1:])
    assert [row["Key"] for row in bucket.call("list_object_versions")["Versions"]] == [
        "other", "same"]
    assert [row["Key"] for row in bucket.call("list_multipart_uploads")["Uploads"]] == ["other"]
    bucket.check_content()
    bucket.check_parts()


def container_servers_delete(in_process, count, *names, policy=0):
    """Have so many servers of a container, or all, forget it or one of its rows; their statuses."""
    part, nodes = Ring(str(in_process.etc), ring_name="container").get_nodes(*names[:2])
    return [node_client.request(node["ip"], node["port"], "DELETE", node_client.path_of(
        node["device"], part, *names), {"X-Timestamp": Timestamp.now().internal,
                                        "X-Backend-Storage-Policy-Index": str(policy)}).status
        for node in nodes[:count]]


@pytest.mark.whole
def test_a_version_that_is_not_listed_yet(proxy, user, in_process):
    """What was to be replaced became a version after all, and container servers were slow."""
    bucket = Bucket(proxy, user, "not-listed-yet")
    bucket.store()
    proxy.live(1)
    with proxy.death():
        bucket.call("put_object", Key="k", Body=b"x")
    proxy.live()
    bucket.versions("Enabled")
    bucket.call("put_object", Key="k", Body=b"x")
    version = bucket.call("list_object_versions")["Versions"][1]["VersionId"]
    hidden = user.base.split("/")[2], hidden_name(bucket.name)
    name = version_name("k", Timestamp(version))
    container_servers_delete(in_process, None, *hidden, name)
    assert len(bucket.call("list_object_versions")["Versions"]) == 1
    expire(in_process)
    got = bucket.call("get_object", Key="k", VersionId=version)
    assert got["Body"].read() == b"".join(DATA)


@pytest.mark.parametrize("policy", [0, 1])
def test_an_object_that_was_not_listed_when_its_bucket_was_deleted(proxy, user, in_process, policy):
    """It is there yet, and whoever makes the bucket again has all of it."""
    place = user.base.split("/")[2], f"not-listed-in-{policy}"

    def make_bucket():
        assert InternalClient.of({"swift_dir": str(in_process.etc)}).ask(
            "PUT", "/".join(("/v1", *place)), {
                "X-Storage-Policy": f"policy{policy}",
                acl.CONTAINER_SYSMETA: acl.canned("private", "test:tester").stored()})[0] == 201
        return Bucket(proxy, user, place[1], made=True)

    bucket = make_bucket()
    bucket.store()
    container_servers_delete(in_process, None, *place, "k", policy=policy)
    bucket.s3.delete_bucket(Bucket=bucket.name)
    assert len(bucket.listing()) == 2
    expire(in_process)
    bucket = make_bucket()
    assert bucket.call("get_object", Key="k")["Body"].read() == b"".join(DATA)


@pytest.mark.parametrize("kind", ["object", pytest.param("container", marks=pytest.mark.whole)])
def test_who_cannot_be_asked_may_know_of_an_object(proxy, user, in_process, monkeypatch, kind):
    bucket = Bucket(proxy, user, f"no-answer-of-{kind}")
    bucket.store()
    bucket.call("delete_object", Key="k")
    asked = ObjectExpirer.request

    def request(self, node, method, path, headers):
        silent = node["port"] == in_process.ports[kind, 0] and bucket.name in path
        return None if silent and method != "DELETE" else asked(self, node, method, path, headers)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectExpirer, "request", request)
        patch.setattr(Ring, "get_nodes", lambda ring, *names: (
            ring.get_part(*names), list(ring.devs)))
        expire(in_process)
    assert len(bucket.listing()) == 2
    expire(in_process)
    assert bucket.listing() == []


@pytest.mark.whole
def test_a_deletion_that_one_server_alone_took_for_right(proxy, user, in_process):
    """It may have missed what makes the bucket one that is not empty: uploads go on."""
    bucket = Bucket(proxy, user, "half-deleted")
    bucket.begin()
    proxy.live(1)
    with proxy.death():
        bucket.s3.delete_bucket(Bucket=bucket.name)
    proxy.live()
    place = user.base.split("/")[2], bucket.name
    assert container_servers_delete(in_process, 1, *place) == [204]
    expire(in_process)
    assert len(bucket.listing()) == 3


@pytest.mark.whole
def test_a_new_bucket_has_none_of_the_old_one_s_uploads(proxy, user, in_process):
    bucket = Bucket(proxy, user, "again-and-again")
    bucket.begin()
    bucket.s3.delete_bucket(Bucket=bucket.name)
    bucket = Bucket(proxy, user, bucket.name)
    assert "Uploads" not in bucket.call("list_multipart_uploads")
    upload, parts = bucket.begin("new")
    expire(in_process)
    bucket.complete(upload, parts)
    bucket.check_content()
    bucket.check_parts()


def test_a_bucket_is_made_again_after_its_parts_went(proxy, user, in_process):
    bucket = Bucket(proxy, user, "gone-and-back")
    bucket.begin()
    bucket.s3.delete_bucket(Bucket=bucket.name)
    expire(in_process)
    assert bucket.listing() is None
    bucket = Bucket(proxy, user, bucket.name)
    upload, parts = bucket.begin()
    listed = json.loads(user("GET", f"?format=json&prefix={bucket.name}")[2])
    assert [row["name"] for row in listed] == [bucket.name, f"{bucket.name}+segments"]
    bucket.complete(upload, parts)
    bucket.check_content()
    bucket.check_parts()
