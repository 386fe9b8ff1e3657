# SPDX-License-Identifier: Apache-2.0
"""Objects made of multipart uploads whose X-Delete-At passes: their parts go with them, wherever
the expirer is killed, and not before them.
"""
import json
import time
from types import SimpleNamespace

import pytest
from mortal_proxy import MortalProxy
from swift_expirer import AT_EASE, deliver, expire, queued, tell_account

from swift.common import node_client
from swift.common.ring import Ring
from swift.obj.expirer import ObjectExpirer

DATA = (b"first part ", b"second part")
SOON = 4                 # seconds ahead: a POST of an end that has passed is refused


def end(user, path, seconds=SOON):
    """Have an object end in so many seconds; when that is."""
    at = int(time.time()) + seconds
    assert user("POST", path, {"X-Delete-At": str(at)})[0] == 202
    return at


class Killed(BaseException):
    """What no expirer survives."""


class Bucket:
    """One with an object that expires, and one that stays, made of two parts each."""

    def __init__(self, s3, user, name):
        self.s3, self.user, self.name = s3, user, name
        s3.create_bucket(Bucket=name)
        self.store("stays")
        self.store("goes")

    def store(self, key):
        made = self.s3.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
        parts = [{"PartNumber": number, "ETag": self.s3.upload_part(
            Bucket=self.name, Key=key, UploadId=made, PartNumber=number, Body=part)["ETag"]}
            for number, part in enumerate(DATA, 1)]
        self.s3.complete_multipart_upload(Bucket=self.name, Key=key, UploadId=made,
                                          MultipartUpload={"Parts": parts})

    def set_end(self, seconds=SOON):
        """Have it end in so many seconds; when that is."""
        return end(self.user, f"/{self.name}/goes", seconds)

    def parts_of(self, key):
        rows = json.loads(self.user("GET", f"/{self.name}+segments?format=json")[2])
        return sum(row["name"].startswith(f"{key}/") for row in rows)

    def is_whole(self, key="stays"):
        got = self.s3.get_object(Bucket=self.name, Key=key)
        return got["Body"].read() == b"".join(DATA)


def statuses(cluster, user, bucket):
    """What the nodes of the object that expires say of it, its end or not."""
    names = user.base.split("/")[2], bucket.name, "goes"
    part, nodes = Ring(str(cluster.etc), ring_name="object").get_nodes(*names)
    return [node_client.request(
        node["ip"], node["port"], "HEAD", node_client.path_of(node["device"], part, *names),
        {"X-Backend-Storage-Policy-Index": "0", "X-Backend-Open-Expired": "true"}).status
        for node in nodes]


def wait_for(moment):
    while time.time() <= moment:
        time.sleep(0.1)


def later(monkeypatch):
    """When all rows are due."""
    now = time.time
    monkeypatch.setattr("swift.obj.expirer.time",
                        SimpleNamespace(time=lambda: now() + 3 * 86400, monotonic=time.monotonic))


@pytest.fixture
def s3(acl_clients):
    return acl_clients["tester"]


def test_the_parts_go_with_the_object(s3, user, in_process, monkeypatch):
    bucket = Bucket(s3, user, "expires")
    bucket.set_end(1000)
    expire(in_process)
    assert bucket.parts_of("goes") == 2
    wait_for(bucket.set_end() + 1)
    expire(in_process)
    assert set(statuses(in_process, user, bucket)) == {404}
    assert bucket.parts_of("goes") == 0 and bucket.parts_of("stays") == 2 and bucket.is_whole()
    assert len(queued(in_process, "expires+segments")) == 1
    later(monkeypatch)
    expire(in_process)
    assert queued(in_process, "expires+segments") == [] and bucket.is_whole()


# Of each of three nodes: a row, a tombstone of the object, one of each of its parts, the row that
# was done. A part's tombstone that one node has is for replicators to spread.
WRITES = [0, 1, 2, 3, 4, 5, 6, 9, 12, 14, 99]


def test_killed_at_any_point(s3, user, in_process, monkeypatch):
    buckets = [Bucket(s3, user, f"expires-at-{writes}") for writes in WRITES]
    wait_for(max(bucket.set_end() for bucket in buckets) + 1)
    deliver(in_process)
    tell_account(in_process)
    asked, done = ObjectExpirer.request, []
    for writes, bucket in zip(WRITES, buckets, strict=True):
        done.clear()

        def request(self, node, method, path, headers, most=writes):
            if method in ("PUT", "DELETE"):
                if len(done) >= most:
                    raise Killed
                done.append(path)
            return asked(self, node, method, path, headers)

        with monkeypatch.context() as patch:
            patch.setattr(ObjectExpirer, "request", request)
            patch.setattr(ObjectExpirer, "_mine",
                          lambda self, row, name=bucket.name: f"/{name}/" in row)
            daemon = ObjectExpirer({"swift_dir": str(in_process.etc), **AT_EASE})
            patch.setattr(daemon, "brake", SimpleNamespace(spend=lambda: None))
            patch.setattr("swift.obj.expirer.GreenPool", AtOnce)
            try:
                daemon.run_once()
            except Killed:
                assert len(done) == writes
            else:
                assert writes == 99
        if 200 in statuses(in_process, user, bucket):
            assert bucket.parts_of("goes") == 2        # it may still be opened
        else:
            assert bucket.parts_of("goes") == 0 or queued(in_process, f"{bucket.name}+segments")
        assert bucket.is_whole()
    expire(in_process)
    later(monkeypatch)
    expire(in_process)
    for bucket in buckets:
        assert set(statuses(in_process, user, bucket)) == {404}
        assert bucket.parts_of("goes") == 0 and bucket.parts_of("stays") == 2, bucket.name
        assert bucket.is_whole() and queued(in_process, f"{bucket.name}+segments") == []


class AtOnce:
    """A pool that works in the thread of who asks, so that its death is the death of all."""

    def __init__(self, size):
        pass

    def spawn_n(self, function, *args):
        function(*args)

    def waitall(self):
        pass


def test_what_may_still_be_opened_keeps_its_parts(user, in_process, monkeypatch):
    """Somebody was to delete it and did not come to it; then it expired, and reaping is delayed."""
    proxy = MortalProxy(in_process, monkeypatch)
    bucket = Bucket(proxy.s3, user, "not-reaped")
    until = bucket.set_end()
    proxy.live(1)
    with proxy.death():
        proxy.s3.delete_object(Bucket=bucket.name, Key="goes")
    proxy.live()
    wait_for(until + 1)
    assert len(queued(in_process, f"{bucket.name}+segments")) == 2
    account = user.base.split("/")[2]
    ObjectExpirer({"swift_dir": str(in_process.etc), **AT_EASE,
                   f"delay_reaping_{account}": "86400"}).run_once()
    assert len(queued(in_process, f"{bucket.name}+segments")) == 1      # the first look was had
    assert bucket.parts_of("goes") == 2
    expire(in_process)
    assert bucket.parts_of("goes") == 0


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_what_expired_and_is_still_there_goes_with_its_parts(s3, user, in_process, monkeypatch,
                                                             what):
    bucket = Bucket(s3, user, f"expired-and-{what}")
    wait_for(bucket.set_end() + 1)
    if what == "deleted":
        s3.delete_object(Bucket=bucket.name, Key="goes")
    else:
        s3.put_object(Bucket=bucket.name, Key="goes", Body=b"new")
    later(monkeypatch)
    expire(in_process)
    assert bucket.parts_of("goes") == 0 and bucket.is_whole()
    assert what == "deleted" or \
        s3.get_object(Bucket=bucket.name, Key="goes")["Body"].read() == b"new"


def test_a_node_that_is_out_keeps_only_what_may_be_made_of_an_upload(s3, user, in_process,
                                                                     monkeypatch):
    """Without most of the nodes that know of its parts, an object stays; others do not wait."""
    bucket = Bucket(s3, user, "expires-later")
    user("PUT", "/plain-and-expired")
    user("PUT", "/plain-and-expired/o", body=b"x")
    wait_for(max(bucket.set_end(), end(user, "/plain-and-expired/o")) + 1)
    asked = ObjectExpirer.request

    def request(self, node, method, path, headers):
        return None if f"{bucket.name}+segments" in path.replace("%2B", "+") and \
            method == "HEAD" else asked(self, node, method, path, headers)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectExpirer, "request", request)
        expire(in_process)
    assert 200 in statuses(in_process, user, bucket) and bucket.parts_of("goes") == 2
    assert json.loads(user("GET", "/plain-and-expired?format=json")[2]) == []
    expire(in_process)
    assert set(statuses(in_process, user, bucket)) == {404} and bucket.parts_of("goes") == 0
