# SPDX-License-Identifier: Apache-2.0
"""Images in a whole object store of our own, by its own API and by S3's: the contract, and what
dies on the way."""

import importlib.util
import pathlib
import uuid

import pytest
from swift_cluster import SwiftCluster

from glance import exceptions
from glance.store import s3
from glance.store.swift import LoginV1, SwiftStore

_CONTRACT = (pathlib.Path(__file__).parents[2]
             / "functional/glance/store/test_writing_contract.py")
_spec = importlib.util.spec_from_file_location("glance_store_contract", _CONTRACT)
contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(contract)
# the very tests that the other stores pass
globals().update({name: value for name, value in vars(contract).items()
                  if name.startswith("test_")})

DATA = bytes(range(256)) * 9000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Proxy and four storage nodes, three replicas."""
    with SwiftCluster(tmp_path_factory.mktemp("swift")) as made:
        yield made


@pytest.fixture(scope="module")
def s3_client(cluster):
    return s3.make_client(cluster.url, "test:tester", "testing", style="path", connect_timeout=5,
                          timeout=30)


@pytest.fixture(params=["swift", pytest.param("s3", marks=pytest.mark.whole)])
def store(request, cluster):
    """A store in a container of its own."""
    container = f"glance-{uuid.uuid4().hex}"
    if request.param == "s3":
        made = s3.S3Store("deep", request.getfixturevalue("s3_client"), bucket=container,
                          create_bucket=True, part=5 << 20)
    else:
        made = SwiftStore("deep", LoginV1(f"{cluster.url}/auth/v1.0", "test:tester", "testing"),
                          container=container, create_container=True, connect_timeout=5,
                          timeout=30)
    made.check()
    return made


def test_the_s3_api_of_our_own(cluster, s3_client):
    """In parts, across their seam, cut short and removed; the rest of the contract on demand."""
    store = s3.S3Store("deep", s3_client, bucket=f"glance-{uuid.uuid4().hex}", create_bucket=True,
                       part=5 << 20)
    store.check()
    big, image_id, seam = DATA * 3, str(uuid.uuid4()), 5 << 20
    url = store.add(image_id, iter([big]), len(big)).url
    assert b"".join(store.read(url)) == big
    assert b"".join(store.read(url, seam - 10, 20)) == big[seam - 10:seam + 10]
    with pytest.raises(exceptions.Duplicate):
        store.add(image_id, iter([b"x"]), 1)

    def breaking():
        yield big
        raise exceptions.Gone("deleted")

    with pytest.raises(exceptions.Gone):
        store.add(str(uuid.uuid4()), breaking(), None)
    assert list(store.list_ids()) == [image_id]
    store.delete(url)
    assert list(store.list_ids()) == []


def test_one_dead_node_is_not_noticed(cluster, store):
    url = store.add(str(uuid.uuid4()), iter([DATA]), len(DATA)).url
    cluster.kill("object", 1)
    try:
        other = store.add(str(uuid.uuid4()), iter([DATA]), None).url
        for where in (url, other):
            assert b"".join(store.read(where)) == DATA
        store.delete(other)
    finally:
        cluster.start("object", 1)


def test_a_proxy_that_dies_in_mid_upload(cluster, store):
    image_id = str(uuid.uuid4())

    def chunks():
        yield DATA
        cluster.kill("proxy")
        for _ in range(64):
            yield DATA

    try:
        with pytest.raises(exceptions.Unavailable):
            store.add(image_id, chunks(), 65 * len(DATA))
    finally:
        cluster.start("proxy")
    store.discard(image_id)
    assert list(store.list_ids()) == []
    assert store.add(image_id, iter([DATA]), len(DATA)).size == len(DATA)


def test_the_container_is_closed_to_strangers(cluster, store):
    """S21: what the image service calls public is not public in the object store."""
    url = store.add(str(uuid.uuid4()), iter([DATA]), None).url
    container, name = url.split("/")[-2:]
    status, _, _ = cluster.request("GET", f"/v1/AUTH_test/{container}/{name}")
    assert status == 401
