# SPDX-License-Identifier: Apache-2.0
"""Downloads that go past the server of a real glance-api, in threads of their own."""

import http.client
import os
import pathlib
import random
import re

import pytest
from glance_daemon import running, wait_for

from glance import client

SIZE = (24 << 20) + 4097
DATA = random.Random(SIZE).randbytes(SIZE)
#: more than there are native threads for what would block
CROWD = 30


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, empty_registry, free_port):
    with running(tmp_path_factory.mktemp("daemon"), empty_registry, free_port()) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def images(daemon):
    with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha") as images:
        yield images


@pytest.fixture
def image(images):
    made = images.create(name="large", disk_format="raw", container_format="bare")
    images.upload(made["id"], iter([DATA]), SIZE)
    return made["id"]


def begin(daemon, image, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.request("GET", f"/v2/images/{image}/file",
                       headers={"X-Auth-Token": "alice:alpha", **headers})
    return connection, connection.getresponse()


def open_files(daemon, image):
    """How often the daemon has an image's file open."""
    count = 0
    for path in pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        try:
            count += os.readlink(path).endswith(image)
        except FileNotFoundError:
            continue
    return count


def test_whole_and_in_part_on_one_connection(daemon, image):
    connection, answer = begin(daemon, image)
    assert answer.read() == DATA
    for offset in (4096, 12345):
        connection.request("GET", f"/v2/images/{image}/file", headers={
            "X-Auth-Token": "alice:alpha", "Range": f"bytes={offset}-"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (206, DATA[offset:])
    connection.close()
    wait_for(lambda: len(re.findall(rf"{image}/file.*status: 20. len: \d{{8}} ",
                                    daemon.log.read_text())) == 3, "not logged")
    assert f"{image}/file\" status: 200 len: {SIZE} " in daemon.log.read_text()
    assert open_files(daemon, image) == 0


@pytest.mark.parametrize("place", [100, SIZE // 2, SIZE - 1])
def test_the_end_of_bad_data_is_never_sent(daemon, image, place):
    with (daemon.folder / "images" / image).open("r+b") as target:
        target.seek(place)
        target.write(bytes([DATA[place] ^ 1]))
    connection, answer = begin(daemon, image)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    assert f"image {image} in store file is corrupt: crc32" in daemon.log.read_text()
    assert open_files(daemon, image) == 0


def test_readers_who_take_nothing_are_in_nobodys_way(daemon, images, image):
    """Nor does one who goes away leave anything behind."""
    idle = [begin(daemon, image) for _ in range(CROWD)]
    assert open_files(daemon, image) >= CROWD
    other = images.create(name="other", disk_format="raw", container_format="bare")
    images.upload(other["id"], iter([b"data"]), 4)
    assert b"".join(images.download(other["id"])[0]) == b"data"
    assert idle[0][1].read() == DATA
    for connection, answer in idle:
        answer.close()
        connection.close()
    wait_for(lambda: open_files(daemon, image) == 0, "files stay open")
