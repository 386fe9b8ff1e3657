# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a real glance-api: what was acknowledged is there, what was not is gone."""

import http.client
import os
import signal
import time

import pytest
from glance_daemon import CONFIG, Daemon, wait_for

from glance import client
from glance.cmd import manage

REGISTRY = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
[database]
connection = {database}
[paste_deploy]
flavor = trusted
"""


@pytest.fixture
def daemon(tmp_path, database_url, free_port):
    daemon = Daemon(tmp_path, database_url, free_port())
    daemon.start()
    yield daemon
    if daemon.process.poll() is None:
        daemon.end(signal.SIGKILL)


@pytest.fixture
def images(daemon):
    with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha") as images:
        yield images


def begin_upload(daemon, image_id, size, sent):
    """A connection on which `sent` of `size` bytes have gone out."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.putrequest("PUT", f"/v2/images/{image_id}/file")
    connection.putheader("X-Auth-Token", "alice:alpha")
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    connection.send(b"x" * sent)
    return connection


def test_acknowledged_image_survives_and_half_an_upload_does_not(daemon, images, image_files,
                                                                 monkeypatch, capsys):
    """P2: kill -9 after the answer, and in mid-upload; the restarted service puts it right."""
    data = os.urandom(3 << 20)
    done = images.create(name="done", disk_format="raw", container_format="bare")
    half = images.create(name="half", disk_format="raw", container_format="bare")
    images.upload(done["id"], iter([data]), len(data))
    connection = begin_upload(daemon, half["id"], 8 << 20, 3 << 20)
    wait_for(lambda: len(image_files()) == 2, "the upload never reached the store")
    daemon.end(signal.SIGKILL)
    connection.close()
    assert len(image_files()) == 2
    daemon.start()
    pieces, meta = images.download(done["id"])
    assert b"".join(pieces) == data
    assert meta["status"] == "active"
    assert images.get_image(half["id"])["status"] == "killed"
    assert image_files() == [done["id"]]
    images.delete(half["id"])
    assert [image["id"] for image in images.list_images()] == [done["id"]]
    monkeypatch.setattr("oslo_log.log.setup", lambda *_args: None)
    monkeypatch.setattr("logging.captureWarnings", lambda _on: None)
    assert manage.main(["--config-file", str(daemon.config), "audit"]) == 0
    assert capsys.readouterr().out == "0 finding(s)\n"


def test_sigterm_lets_an_upload_finish(daemon, images, image_files):
    image = images.create(disk_format="raw", container_format="bare")
    connection = begin_upload(daemon, image["id"], 2 << 20, 1 << 20)
    wait_for(image_files, "the upload never reached the store")
    daemon.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    connection.send(b"y" * (1 << 20))
    assert connection.getresponse().status == 204
    connection.close()
    assert daemon.process.wait(30) == 0
    daemon.start()
    assert images.get_image(image["id"])["status"] == "active"


def test_registry_killed_during_an_upload(tmp_path, database_url, free_port, image_files):
    """P5: its restart before the last byte loses nothing, its requests carry who asks."""
    registry = Daemon(tmp_path, database_url, free_port(), "registry", REGISTRY)
    daemon = Daemon(tmp_path, "sqlite:////nowhere", free_port(), config=CONFIG.replace(
        "[DEFAULT]", "[DEFAULT]\nregistry_client = rest") +
        f"[registry]\nauth = trusted\nregistry_port = {registry.port}\n")
    registry.start()
    try:
        daemon.start()
        with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha") as images:
            image = images.create(disk_format="raw", container_format="bare", a="b")
            connection = begin_upload(daemon, image["id"], 2 << 20, 1 << 20)
            wait_for(image_files, "the upload never reached the store")
            registry.end(signal.SIGKILL)
            with pytest.raises(client.Unavailable):
                images.get_image(image["id"])
            connection.send(b"y" * (1 << 20))
            registry.start()
            assert connection.getresponse().status == 204
            connection.close()
            shown = images.get_image(image["id"])
            assert (shown["status"], shown["owner"], shown["a"]) == ("active", "alpha", "b")
            with client.Client(f"http://127.0.0.1:{daemon.port}", "bob:beta") as bob, \
                    pytest.raises(client.NotFound):
                bob.get_image(image["id"])
    finally:
        for running in (daemon, registry):
            if running.process is not None and running.process.poll() is None:
                running.end(signal.SIGKILL)
