# SPDX-License-Identifier: Apache-2.0
"""Uploads that a real glance-api receives past its green threads, in threads of their own."""

import http.client
import itertools
import json
import os
import random
import time

import pytest
from glance_daemon import CONFIG, running, wait_for

from glance import client

SIZE = (9 << 20) + 4097
DATA = random.Random(SIZE).randbytes(SIZE)
#: more than there are native threads for what would block
CROWD = 30
#: seconds for which a client may be silent
SILENCE = 1


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, empty_registry, free_port):
    config = CONFIG.replace("[database]", f"client_socket_timeout = {SILENCE}\n[database]")
    with running(tmp_path_factory.mktemp("daemon"), empty_registry, free_port(), config) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def images(daemon):
    with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha") as images:
        yield images


@pytest.fixture
def image(images):
    return images.create(name="large", disk_format="raw", container_format="bare")["id"]


def begin(daemon, image, data=b"", **headers):
    """A connection whose header, and `data` with it, have gone out."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.putrequest("PUT", f"/v2/images/{image}/file")
    for name, value in {"X-Auth-Token": "alice:alpha", "Content-Length": str(SIZE),
                        "Content-Type": "application/octet-stream", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(data or None)
    return connection


def stored(daemon, image):
    return (daemon.folder / "images" / image).read_bytes()


def leftovers(daemon):
    return os.listdir(daemon.folder / "images" / ".partial")


def threads(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/task"))


@pytest.mark.parametrize("first", [0, 1, 5000, 100_000, SIZE - 1, SIZE])
def test_however_much_comes_with_the_header(daemon, images, image, first):
    connection = begin(daemon, image, DATA[:first])
    connection.send(DATA[first:])
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 204
    assert stored(daemon, image) == DATA
    assert images.get_image(image)["os_hash_value"]
    connection.request("GET", f"/v2/images/{image}", headers={"X-Auth-Token": "alice:alpha"})
    assert json.load(connection.getresponse())["size"] == SIZE  # the server lost no count
    connection.close()


def test_a_client_that_waits_to_be_asked(daemon, image):
    connection = begin(daemon, image, Expect="100-continue")
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
    connection.send(DATA)
    assert connection.getresponse().status == 204
    connection.close()
    assert stored(daemon, image) == DATA


def test_a_client_that_does_not_say_how_much(daemon, image):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    pieces = (DATA[start:start + 700_001] for start in range(0, SIZE, 700_001))
    connection.request("PUT", f"/v2/images/{image}/file", pieces, encode_chunked=True, headers={
        "X-Auth-Token": "alice:alpha", "Content-Type": "application/octet-stream",
        "Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 204
    connection.close()
    assert stored(daemon, image) == DATA


def test_a_client_that_is_slow_now_and_then(daemon, image):
    """Less than a thread that receives would like to sleep for is taken, too."""
    connection = begin(daemon, image)
    ends = (1 << 20, (1 << 20) + 10, 2 << 20, SIZE - 1, SIZE)
    for start, end in itertools.pairwise((0, *ends)):
        connection.send(DATA[start:end])
        time.sleep(0.3)
    assert connection.getresponse().status == 204
    connection.close()
    assert stored(daemon, image) == DATA


def test_a_client_that_goes_away_leaves_nothing(daemon, images, image):
    connection = begin(daemon, image, DATA[:5 << 20])
    wait_for(lambda: leftovers(daemon), "the upload never reached the store")
    connection.close()
    wait_for(lambda: images.get_image(image)["status"] == "killed", "not given up")
    assert leftovers(daemon) == []


def test_a_silent_client_is_given_up(daemon, images, image):
    connection = begin(daemon, image, DATA[:5 << 20])
    wait_for(lambda: images.get_image(image)["status"] == "killed", "not given up")
    assert leftovers(daemon) == []
    connection.close()


def test_many_silent_clients_are_in_nobodys_way(daemon, images, image):
    """Nor do their threads stay when they are gone."""
    before = threads(daemon)
    names = [images.create(disk_format="raw", container_format="bare")["id"]
             for _ in range(CROWD)]
    silent = [begin(daemon, name, DATA[:200_000]) for name in names]
    wait_for(lambda: len(leftovers(daemon)) == CROWD, "the uploads never reached the store")
    connection = begin(daemon, image, DATA)
    assert connection.getresponse().status == 204
    for each in (connection, *silent):
        each.close()
    wait_for(lambda: leftovers(daemon) == [], "not given up")
    wait_for(lambda: threads(daemon) <= before, "threads stay")
