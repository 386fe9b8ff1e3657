# SPDX-License-Identifier: Apache-2.0
"""Stores to test, each with what it talks to."""

import socket
import subprocess
import sys
import time
import uuid

# by name: importing eventlet makes the attribute http.server a green copy of the module
import pytest
from glance_stores import Cloud, make_http, make_s3

from glance.store.filesystem import FilesystemStore


@pytest.fixture
def cloud():
    """An object storage service of our own."""
    cloud = Cloud()
    yield cloud
    cloud.stop()


@pytest.fixture(scope="session")
def s3_server():
    """Somebody else's implementation of S3, in a process of its own; (host, port)."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield "127.0.0.1", port
    process.terminate()
    process.wait(10)


@pytest.fixture
def make_store(request, tmp_path):
    """A function that makes an empty store of a kind."""
    clouds = []

    def make(kind):
        if kind == "filesystem":
            made = FilesystemStore("deep", tmp_path / "images")
        elif kind == "directories":
            made = FilesystemStore("deep", (tmp_path / "slow", 1), (tmp_path / "fast", 200))
        elif kind == "s3":
            made = make_s3("http://{}:{}".format(*request.getfixturevalue("s3_server")))
        else:
            clouds.append(Cloud())
            made = clouds[-1].store(large=6 << 20, segment=5 << 20)
        made.check()
        # what the process of the test itself keeps of the data, on the other side of the wire
        made.held_by_test = 160 << 20 if kind == "swift" else 0
        return made

    yield make
    for cloud in clouds:
        cloud.stop()


@pytest.fixture(params=["filesystem", "directories", "swift", "s3"])
def store(request, make_store):
    """A store of each kind that can be written to, empty and checked."""
    return make_store(request.param)


@pytest.fixture(params=["filesystem", "directories", "swift", "s3", "http"])
def stocked(request, make_store):
    """A function that puts data into a store of each kind: (store, address)."""

    def put(data):
        if request.param == "http":
            server = request.getfixturevalue("web")
            server.files["/image"] = data
            return make_http(server.server_port), \
                f"http://127.0.0.1:{server.server_port}/image"
        store = make_store(request.param)
        return store, store.add(str(uuid.uuid4()), iter([data]), len(data)).url

    return put
