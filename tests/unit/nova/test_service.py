# SPDX-License-Identifier: Apache-2.0
"""Workers and their periodic tasks, over the broker in memory."""

import socket
import threading
import time

import pytest

from nova import rpc, service
from nova.context import admin_context
from nova.db import services
from nova.exception import InstanceNotFound
from nova.rpc import broker as broker_module

TABLE = rpc.MethodTable("unit", [rpc.Method("echo", ("text",))])


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    made = rpc.configure("memory://")
    yield
    made.close()
    monkeypatch.setattr(broker_module, "_broker", None)


class Manager:
    def __init__(self):
        self.said = []
        self.up = True
        self.ticked = threading.Event()

    def start(self):
        self.said.append("start")

    def stop(self):
        self.said.append("stop")

    def hypervisor_up(self):
        return self.up

    def periodic_tasks(self):
        return [("tick", 0.01, self.ticked.set)]

    def echo(self, context, text):
        return text


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_worker_registers_serves_beats_and_stops(nova_db):
    manager = Manager()
    worker = service.Worker("nova-unit", TABLE, manager, host="h")
    worker.start()
    [row] = services.get_all()
    assert (row.binary, row.host, row.topic) == ("nova-unit", "h", "unit")
    assert rpc.call(admin_context(), TABLE, "echo", host="h", text="x") == "x"
    assert manager.ticked.wait(60)
    eventually(lambda: services.is_up(services.get(row.id), 60))
    worker.stop(5)
    assert manager.said == ["start", "stop"]
    manager.ticked.clear()
    assert not manager.ticked.wait(0.1)


def test_heartbeat_moves_only_when_the_own_ping_came_back(nova_db, monkeypatch):
    """Liveness is what went through the broker, not that the process runs."""
    manager = Manager()
    worker = service.Worker("nova-unit", TABLE, manager, host="h")
    manager.up = False
    worker.start()
    [row] = services.get_all()
    assert not worker.heartbeat()
    assert services.get(row.id).last_seen_up is None
    manager.up = True
    monkeypatch.setattr(worker.server, "ping", lambda timeout: False)
    assert not worker.heartbeat()
    assert services.get(row.id).last_seen_up is None
    monkeypatch.undo()
    assert worker.heartbeat()
    assert services.get(row.id).last_seen_up is not None
    worker.stop(1)


def test_worker_whose_row_was_removed_registers_again(nova_db):
    worker = service.Worker("nova-unit", TABLE, Manager(), host="h")
    worker.start()
    services.remove(services.get_all()[0].id)
    worker.heartbeat()
    assert services.get_all()[0].host == "h"
    worker.stop(1)


@pytest.mark.parametrize("error", [InstanceNotFound(instance_id="x"), OSError("disk"),
                                   KeyError("bug")])
def test_periodic_goes_on_after_an_error(error):
    calls = []

    def failing():
        calls.append(1)
        raise error

    task = service.Periodic("t", 0.01, failing, at_once=True)
    task.start()
    eventually(lambda: len(calls) >= 3)
    task.stop(1)


def test_periodic_never_runs_twice_at_a_time_and_stop_waits():
    running, most, finished = 0, 0, []

    def slow():
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.1)
        running -= 1
        finished.append(1)

    task = service.Periodic("t", 0.001, slow, at_once=True)
    task.start()
    eventually(lambda: len(finished) == 2)
    time.sleep(0.02)
    task.stop(5)
    assert running == 0 and most == 1


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_systemd_is_told_when_we_answer(tmp_path, monkeypatch, kind):
    """What Type=notify of the units in etc/systemd waits for."""
    name = str(tmp_path / "notify") if kind == "file" else f"\0test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(name)
        hears.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        service.notify_ready()
        assert hears.recv(64) == b"READY=1"
