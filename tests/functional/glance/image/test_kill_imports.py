# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a real glance-api in staging, import, copy and delete, and of a scrubber: when it is
up again every row matches its bytes, and the audit finds nothing."""

import importlib.util
import pathlib
import signal
import subprocess
import sys

import pytest
from web_server import web_server

from glance import client
from glance.cmd import manage

_spec = importlib.util.spec_from_file_location(
    "glance_kill", pathlib.Path(__file__).with_name("test_kill.py"))
kill = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kill)

DATA = b"bytes of an image " * 100000
CONFIG = kill.CONFIG.replace("[database]", """\
enabled_backends = file:filesystem, deep:filesystem
delayed_delete = DELAYED
[glance_store]
default_backend = file
[deep]
filesystem_store_datadir = {folder}/deep
[import_filtering_opts]
allowed_networks = 127.0.0.0/8
allowed_ports = WEB
[database]""")
GATED = """\
import os, sys, time
sys.argv[1:] = {arguments}
from glance.cmd import {program} as program
from glance.store import filesystem
real = filesystem._sync_directory
def gate(directory):
    real(directory)
    if os.path.exists({flag!r}) and {place!r} in str(directory):
        open({flag!r} + ".reached", "w").close()
        time.sleep(600)
filesystem._sync_directory = gate
sys.exit(program.main(sys.argv[1:]))
"""


@pytest.fixture
def web():
    with web_server() as server:
        server.files["/image"] = DATA
        yield server


class Gated(kill.Daemon):
    """A daemon that stands still where the directory of a store was just synced, when told to."""

    place = "deep"

    def command(self):
        self.flag = str(self.config.parent / "gate")
        script = self.config.parent / f"gated-{self.program}.py"
        script.write_text(GATED.format(program=self.program, flag=self.flag, place=self.place,
                                       arguments=["--config-file", str(self.config)]))
        return [sys.executable, str(script)]

    def close_gate(self):
        pathlib.Path(self.flag).touch()

    def wait_at_gate(self):
        reached = pathlib.Path(self.flag + ".reached")
        kill.wait_for(reached.exists, "the daemon never came to the gate")

    def kill_and_restart(self):
        self.end(signal.SIGKILL)
        for path in (self.flag, self.flag + ".reached"):
            pathlib.Path(path).unlink(missing_ok=True)
        self.start()


@pytest.fixture
def daemon(tmp_path, database_url, free_port, web, request):
    config = CONFIG.replace("DELAYED", getattr(request, "param", "false")).replace(
        "WEB", str(web.server_port))
    daemon = Gated(tmp_path, database_url, free_port(), config=config)
    daemon.start()
    yield daemon
    if daemon.process.poll() is None:
        daemon.end(signal.SIGKILL)


@pytest.fixture
def images(daemon):
    with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha:admin,member") as images:
        yield images


def audit(daemon, monkeypatch, capsys):
    monkeypatch.setattr("oslo_log.log.setup", lambda *_args: None)
    monkeypatch.setattr("logging.captureWarnings", lambda _on: None)
    status = manage.main(["--config-file", str(daemon.config), "audit"])
    assert (capsys.readouterr().out, status) == ("0 finding(s)\n", 0)


def new(images):
    return images.create(disk_format="raw", container_format="bare")["id"]


@pytest.mark.parametrize("method", ["glance-direct", "web-download", "copy-image"])
def test_in_the_middle_of_an_import(daemon, images, web, tmp_path, monkeypatch, capsys, method):
    """Bytes are in one store, the verdict is not out."""
    image_id = new(images)
    if method == "copy-image":
        images.upload(image_id, iter([DATA]), len(DATA))
    elif method == "glance-direct":
        images.stage(image_id, iter([DATA]), len(DATA))
    daemon.close_gate()
    images.import_image(image_id, method, stores=["deep"], uri=(
        f"{web.url}/image" if method == "web-download" else None))
    daemon.wait_at_gate()
    assert (tmp_path / "deep" / image_id).exists()
    daemon.kill_and_restart()
    status = {"glance-direct": "uploading", "web-download": "queued", "copy-image": "active"}
    assert images.get_image(image_id)["status"] == status[method]
    assert not (tmp_path / "deep" / image_id).exists()
    assert [task["status"] for task in images.image_tasks(image_id)] == ["failure"]
    images.import_image(image_id, method, stores=["deep"], uri=(
        f"{web.url}/image" if method == "web-download" else None))
    kill.wait_for(lambda: "deep" in images.get_image(image_id).get("stores", ""), "no import")
    assert b"".join(images.download(image_id)[0]) == DATA
    kill.wait_for(lambda: images.image_tasks(image_id)[0]["status"] == "success", "no verdict")
    audit(daemon, monkeypatch, capsys)


def test_in_the_middle_of_a_delete(daemon, images, tmp_path, monkeypatch, capsys):
    """One copy is gone, the other is not."""
    image_id = new(images)
    images.upload(image_id, iter([DATA]), len(DATA), store="deep")
    images.import_image(image_id, "copy-image", stores=["file"])
    kill.wait_for(lambda: "file" in images.get_image(image_id)["stores"], "no copy")
    kill.wait_for(lambda: images.image_tasks(image_id)[0]["status"] == "success", "no verdict")
    daemon.close_gate()
    with client.Client(f"http://127.0.0.1:{daemon.port}", "alice:alpha",
                       read_timeout=1) as impatient, pytest.raises(client.Unavailable):
        impatient.delete(image_id)
    daemon.wait_at_gate()
    daemon.kill_and_restart()
    with pytest.raises(client.NotFound):
        images.get_image(image_id)
    assert not [path for place in ("images", "deep") for path in (tmp_path / place).glob("*-*")]
    audit(daemon, monkeypatch, capsys)


@pytest.mark.parametrize("daemon", ["true"], indirect=True)
def test_in_the_middle_of_a_scrub(daemon, images, tmp_path, monkeypatch, capsys):
    image_id = new(images)
    images.upload(image_id, iter([DATA]), len(DATA), store="deep")
    images.delete(image_id)
    assert (tmp_path / "deep" / image_id).exists()
    daemon.close_gate()
    script = tmp_path / "gated-scrubber.py"
    script.write_text(GATED.format(program="scrubber", flag=daemon.flag, place="deep",
                                   arguments=["--config-file", str(daemon.config)]))
    scrubber = subprocess.Popen([sys.executable, str(script)])
    daemon.wait_at_gate()
    scrubber.kill()
    scrubber.wait(30)
    pathlib.Path(daemon.flag).unlink()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True,
                          timeout=60, check=True)
    assert "1 image(s) scrubbed" in done.stdout
    audit(daemon, monkeypatch, capsys)
