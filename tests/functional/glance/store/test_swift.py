# SPDX-License-Identifier: Apache-2.0
"""What only the swift store has to do: log in, bear failures, keep secrets."""

import logging
import uuid

import pytest

from glance import exceptions
from glance.store.swift import LoginV1, SwiftStore

SECRETS = ("s3cret-key", "t0ken", "images:glance", "secret backend text", "AUTH_images",
           "http://127")


def new_id():
    return str(uuid.uuid4())


def test_container_is_made_only_when_told_so(cloud):
    with pytest.raises(exceptions.ConfigurationError, match="swift_store_container"):
        cloud.store(create_container=False).check()
    assert cloud.containers == {}
    cloud.store().check()
    assert list(cloud.containers) == ["glance"]
    assert cloud.requests[-1] == ("PUT", "/v1/AUTH_images/glance")


def test_token_is_kept_and_renewed_when_refused(cloud):
    """G5: a token that expired between two calls is not noticed outside."""
    store = cloud.store()
    url = store.add(new_id(), iter([b"x"]), None).url
    assert cloud.logins == 1
    cloud.token = "another"
    assert b"".join(store.read(url)) == b"x"
    cloud.token = "third"
    store.add(new_id(), iter([b"y"]), None)
    cloud.token = "fourth"
    store.delete(url)
    assert cloud.logins == 4


@pytest.mark.parametrize("status", [400, 401, 403, 500, 503, 507])
def test_failures_keep_their_secrets(cloud, caplog, status):
    """L2, L4: client text and log at every level hold neither URL nor user, key or token."""
    caplog.set_level(logging.DEBUG, "glance")
    store = cloud.store()
    url = store.add(new_id(), iter([b"x"]), None).url
    cloud.fail_with = status
    for call in (store.check, lambda: store.read(url), lambda: store.size(url),
                 lambda: store.delete(url), lambda: store.add(new_id(), iter([b"x"]), None)):
        with pytest.raises(exceptions.GlanceError) as caught:
            call()
        assert caught.value.code in (413, 503)
        for secret in SECRETS:
            assert secret not in caught.value.message
    for secret in SECRETS:
        assert secret not in caplog.text


def test_wrong_key_and_dead_service(cloud, caplog):
    caplog.set_level(logging.DEBUG, "glance")
    wrong = SwiftStore("deep", LoginV1(f"{cloud.url}/auth/v1.0", "images:glance", "s3cret-wrong"))
    dead = SwiftStore("deep", LoginV1("http://127.0.0.1:1/auth/v1.0", "u", "s3cret-key"),
                      connect_timeout=1)
    for store in (wrong, dead):
        with pytest.raises(exceptions.Unavailable) as caught:
            store.check()
        assert "127.0.0.1" not in caught.value.message
    assert "s3cret" not in caplog.text


def test_full_service_is_413_and_nothing_stays(cloud):
    store = cloud.store()
    store.check()
    cloud.fail_with, cloud.fail_methods = 507, ("PUT",)
    with pytest.raises(exceptions.StorageFull):
        store.add(new_id(), iter([b"x"]), None)
    assert cloud.containers == {"glance": {}}


def test_damage_on_the_way_is_noticed(cloud):
    cloud.wrong_etag = "0" * 32
    with pytest.raises(exceptions.CorruptData):
        cloud.store().add(new_id(), iter([b"x"]), None)
    assert cloud.containers == {"glance": {}}


def test_a_download_that_breaks_off_is_noticed(cloud):
    store = cloud.store()
    url = store.add(new_id(), iter([b"x" * 1000]), None).url
    cloud.cut_after = 100
    with pytest.raises(exceptions.CorruptData):
        b"".join(store.read(url))


def test_large_images_lie_in_segments_that_a_manifest_names(cloud):
    store = cloud.store(large=1000, segment=400)
    image_id = new_id()
    url = store.add(image_id, iter([b"x" * 700, b"y" * 301]), 1001).url
    assert sorted(cloud.containers["glance"]) == [
        image_id, *(f"{image_id}-0000{n}" for n in (1, 2, 3))]
    assert list(store.list_ids()) == [image_id]
    with pytest.raises(exceptions.Duplicate):
        store.add(image_id, iter([b"z" * 1001]), 1001)
    store.delete(url)
    assert cloud.containers["glance"] == {}


def test_a_token_that_expires_between_segments(cloud):
    """G5: a long upload outlives its token."""
    store = cloud.store(large=10, segment=10)

    def chunks():
        yield b"x" * 10
        cloud.token = "another"
        yield b"y" * 10

    assert b"".join(store.read(store.add(new_id(), chunks(), 20).url)) == b"x" * 10 + b"y" * 10


def test_sizes_that_no_manifest_can_name_are_refused(cloud):
    with pytest.raises(exceptions.LimitExceeded, match="at most"):
        cloud.store().add(new_id(), iter([]), 6 << 40)


def test_no_container_is_ever_public(cloud):
    """S21: no access list is set, so public images are not readable without the image service."""
    import inspect

    from glance.store import swift

    assert "X-Container-Read" not in inspect.getsource(swift)
