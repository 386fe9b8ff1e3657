# SPDX-License-Identifier: Apache-2.0
"""glance-control with real daemons: it starts them, knows them, and never takes another for one."""

import os
import pathlib
import signal
import sys
import time

import pytest
import requests

from glance.cmd import control

CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
debug = false
[database]
connection = {database}
[paste_deploy]
flavor = trusted
"""
PATIENCE = 60.0


@pytest.fixture
def place(tmp_path, database_url, free_port, monkeypatch):
    """A configuration of glance-registry, and the programs on the path."""
    monkeypatch.setattr(control, "START_TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    port = free_port()
    (tmp_path / "r.conf").write_text(CONFIG.format(port=port, database=database_url))
    yield tmp_path, f"http://127.0.0.1:{port}"
    pid = control.Daemon("registry", tmp_path / "run").pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def until(condition, complaint):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)


def is_served(url):
    try:
        return requests.get(f"{url}/healthcheck", timeout=5).status_code < 500
    except requests.ConnectionError:
        return False


def test_a_daemon_from_its_start_to_its_end(place, capsys):
    folder, url = place
    log = folder / "log"

    def run(action, *more):
        status = control.main(["registry", action, "--pid-dir", str(folder / "run"),
                               "--log", str(log), *more])
        return status, " ".join(capsys.readouterr())

    config = ("--config-file", str(folder / "r.conf"))
    for action in ("status", "stop", "reload"):
        status, said = run(action)
        assert (status, "does not run" in said) == (1, True)
    assert run("start", *config)[0] == 0
    until(lambda: is_served(url), log.read_text)
    pid = control.Daemon("registry", folder / "run").pid()
    assert run("status") == (0, f"glance-registry runs, pid {pid}\n ")
    status, said = run("start", *config)
    assert (status, "runs already" in said) == (1, True)

    (folder / "r.conf").write_text((folder / "r.conf").read_text().replace("false", "true"))
    assert run("reload")[0] == 0
    until(lambda: "has read its configuration again" in log.read_text(), "no reload")
    (folder / "r.conf").write_text("[DEFAULT]\nbind_port = x\n[")
    assert run("reload")[0] == 0
    until(lambda: "goes on with the configuration it has" in log.read_text(), log.read_text)
    assert is_served(url)

    # what comes after a stop is started with what is said now, and says so when it fails
    control.START_TIMEOUT = PATIENCE
    status, said = run("restart", *config)
    assert (status, "ended at once" in said, "stopped" in said) == (1, True, True)
    assert run("status")[0] == 1
    assert not is_served(url)


def test_a_pid_that_is_somebody_elses_is_left_alone(place, capsys):
    """The file of a daemon that was killed names a process that has nothing to do with it."""
    folder, _ = place
    (folder / "run").mkdir()
    (folder / "run/glance-registry.pid").write_text(str(os.getpid()))
    for action in ("status", "stop", "reload"):
        assert control.main(["registry", action, "--pid-dir", str(folder / "run")]) == 1
    assert "does not run" in capsys.readouterr().err


def test_all_of_them_and_a_program_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "glance-control")])
    assert control.main(["all", "start", "--pid-dir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert all(f"glance-{name}: [Errno 2]" in said for name in control.SERVERS)
    assert [control.Daemon(name, tmp_path / "run").pid() for name in control.SERVERS] == [None] * 3
