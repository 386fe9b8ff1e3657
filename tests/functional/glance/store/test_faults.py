# SPDX-License-Identifier: Apache-2.0
"""Network stores behind a network that drops, stalls and cuts short."""

import urllib.parse
import uuid

import pytest
from fault_proxy import FaultProxy
from glance_stores import Cloud, make_http, make_s3

from glance import exceptions

DATA = bytes(range(256)) * 9000


@pytest.fixture(params=["swift", "s3", "http"])
def behind(request):
    """(store, proxy in front of what it talks to, function that stores data around the proxy)."""
    if request.param == "http":
        server = request.getfixturevalue("web")
        with FaultProxy("127.0.0.1", server.server_port) as proxy:
            server.files["/image"] = DATA
            yield make_http(proxy.port), proxy, lambda: f"{proxy.url}/image"
    elif request.param == "s3":
        with FaultProxy(*request.getfixturevalue("s3_server")) as proxy:
            store = make_s3(proxy.url)
            yield store, proxy, lambda: store.add(str(uuid.uuid4()), iter([DATA]), len(DATA)).url
    else:
        cloud = Cloud()
        with FaultProxy("127.0.0.1", urllib.parse.urlsplit(cloud.url).port) as proxy:
            cloud.url = proxy.url
            store = cloud.store(timeout=1, put_timeout=1)
            store.check()
            yield store, proxy, lambda: store.add(str(uuid.uuid4()), iter([DATA]), len(DATA)).url
        cloud.stop()


@pytest.mark.parametrize("fault", ["cut_down", "stall_down"])
def test_an_answer_that_breaks_off_is_never_taken_for_whole(behind, fault):
    store, proxy, put = behind
    url = put()
    for at in (len(DATA) // 2, 10):
        setattr(proxy, fault, at)
        with pytest.raises((exceptions.CorruptData, exceptions.Unavailable, exceptions.NotFound)):
            b"".join(store.read(url))
        proxy.heal()
    assert b"".join(store.read(url)) == DATA


def test_a_place_that_does_not_answer(behind):
    store, proxy, put = behind
    url = put()
    proxy.refuse = True
    proxy.cut_up = 0
    for call in (store.size, store.read):
        with pytest.raises((exceptions.Unavailable, exceptions.NotFound)) as caught:
            call(url)
        assert "127.0.0.1" not in caught.value.message
    proxy.heal()
    assert store.size(url) == len(DATA)


@pytest.mark.parametrize("fault", ["cut_up", "cut_down", "stall_down"])
@pytest.mark.parametrize("size", [None, len(DATA)])
def test_an_upload_that_breaks_off_leaves_nothing_once_the_network_is_back(behind, fault, size):
    store, proxy, _ = behind
    if store.read_only:
        with pytest.raises(exceptions.Invalid):
            store.add(str(uuid.uuid4()), iter([DATA]), size)
        return
    image_id = str(uuid.uuid4())

    def chunks():
        yield DATA[:1000]
        setattr(proxy, fault, 0)
        yield DATA[1000:]

    with pytest.raises(exceptions.Unavailable):
        store.add(image_id, chunks(), size)
    proxy.heal()
    store.discard(image_id)
    assert list(store.list_ids()) == []
    assert b"".join(store.read(store.add(image_id, iter([DATA]), size).url)) == DATA
