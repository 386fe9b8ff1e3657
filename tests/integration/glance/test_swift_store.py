# SPDX-License-Identifier: Apache-2.0
"""Images in a whole object store of our own: the contract, and what dies on the way."""

import importlib.util
import pathlib
import uuid

import pytest
from swift_cluster import SwiftCluster

from glance import exceptions
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


@pytest.fixture
def store(cluster):
    """A store in a container of its own."""
    made = SwiftStore("deep", LoginV1(f"{cluster.url}/auth/v1.0", "test:tester", "testing"),
                      container=f"glance-{uuid.uuid4().hex}", create_container=True,
                      connect_timeout=5, timeout=30)
    made.check()
    return made


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
