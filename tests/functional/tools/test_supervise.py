# SPDX-License-Identifier: Apache-2.0
"""supervisord of a stack: started, killed, started again, with a daemon that really listens."""
import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest
from stacklib import packages, probe
from stacklib.layout import Cloud
from stacklib.progress import StackError
from stacklib.supervise import Daemon, Supervisor, running

SERVER = ("import http.server, sys; http.server.ThreadingHTTPServer(('127.0.0.1', "
          "int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    # the daemons below run under this test's own interpreter
    monkeypatch.setattr(packages, "PRODUCT_VENV", Path(sys.executable).parents[1])
    cloud = Cloud(data=tmp_path, services=["swift"])
    yield cloud
    Supervisor(cloud).down()


@pytest.fixture
def daemon(free_port):
    port = free_port()
    return Daemon("web", "swift", [sys.executable, "-c", SERVER, str(port)],
                  answers=lambda: probe.http_status("127.0.0.1", port, "/") == 200, timeout=30)


def test_up_and_down(cloud, daemon):
    supervisor = Supervisor(cloud)
    supervisor.up([daemon])
    supervisor.bring_up(daemon)
    pid = supervisor.processes()["web"]["pid"]
    assert daemon.answers()
    supervisor.down()
    assert not running(pid) and not supervisor.alive()
    assert supervisor.processes() == {}


def test_a_second_up_touches_nothing(cloud, daemon):
    supervisor = Supervisor(cloud)
    for _ in range(2):
        supervisor.up([daemon])
        supervisor.bring_up(daemon)
    first = supervisor.processes()
    supervisor.up([daemon])
    assert supervisor.processes()["web"]["pid"] == first["web"]["pid"]


def test_a_killed_daemon_comes_back(cloud, daemon):
    supervisor = Supervisor(cloud)
    supervisor.up([daemon])
    supervisor.bring_up(daemon)
    pid = supervisor.processes()["web"]["pid"]
    os.kill(pid, signal.SIGKILL)
    probe.wait("another web", lambda: supervisor.processes()["web"]["pid"] not in (0, pid), 60)
    probe.wait("its answer", daemon.answers, 60)


def test_up_after_kill_9_of_the_supervisor_ends_its_orphans(cloud, daemon):
    supervisor = Supervisor(cloud)
    supervisor.up([daemon])
    supervisor.bring_up(daemon)
    found = supervisor.processes()
    os.kill(found["supervisord"]["pid"], signal.SIGKILL)
    probe.wait("its end", lambda: not supervisor.alive(), 60)
    assert running(found["web"]["pid"])
    supervisor.up([daemon])
    assert not running(found["web"]["pid"])
    supervisor.bring_up(daemon)
    assert daemon.answers()


def test_a_daemon_that_dies_is_reported_with_its_log(cloud):
    broken = Daemon("broken", "swift", [sys.executable, "-c", "raise SystemExit('out of cheese')"],
                    answers=lambda: False, timeout=3600)
    supervisor = Supervisor(cloud)
    supervisor.up([broken])
    with pytest.raises(StackError, match="out of cheese"):
        supervisor.bring_up(broken)


def test_a_changed_definition_restarts_that_daemon(cloud, daemon, free_port):
    supervisor = Supervisor(cloud)
    other = Daemon("other", "swift", [sys.executable, "-c", SERVER, str(free_port())], None)
    supervisor.up([daemon, other])
    for one in (daemon, other):
        supervisor.bring_up(one)
    before = supervisor.processes()
    changed = Daemon("other", "swift", [sys.executable, "-c", SERVER, str(free_port())], None)
    supervisor.up([daemon, changed])
    supervisor.bring_up(changed)
    after = supervisor.processes()
    assert after["web"]["pid"] == before["web"]["pid"]
    assert after["other"]["pid"] != before["other"]["pid"]


def test_bug_a_daemon_went_on_with_the_configuration_it_had(cloud, daemon):
    """`up swift`, then `up keystone`: the proxy did not hear of Keystone until it was restarted."""
    file = cloud.etc / "web.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("one")
    daemon = dataclasses.replace(daemon, command=[*daemon.command, str(file)])
    supervisor = Supervisor(cloud)
    supervisor.up([daemon])
    supervisor.bring_up(daemon)
    first = supervisor.processes()["web"]["pid"]
    supervisor.up([daemon])
    assert supervisor.processes()["web"]["pid"] == first
    file.write_text("two")
    supervisor.up([daemon])
    supervisor.bring_up(daemon)
    assert supervisor.processes()["web"]["pid"] != first
