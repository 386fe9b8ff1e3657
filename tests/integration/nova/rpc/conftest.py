# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of the test's own that can be killed and started again, and a wire that can be cut."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

START_TIMEOUT = 60


class PrivateRabbit:
    """One rabbitmq-server on ports and in a directory of its own."""

    def __init__(self, port, dist_port, epmd_port):
        self.port = port
        self.home = Path(tempfile.mkdtemp(prefix="snakestack-rabbit-"))
        (self.home / "plugins").write_text("[].")
        (self.home / "rabbitmq.conf").write_text("loopback_users = none\n")
        self.environment = {
            **os.environ, "HOME": str(self.home),
            "RABBITMQ_NODENAME": f"test{port}@localhost", "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(dist_port),
            "ERL_EPMD_PORT": str(epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.home / "db"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-kernel inet_dist_use_interface {127,0,0,1}"}
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        self.process = None
        epmd = next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
        self.epmd = subprocess.Popen(
            [str(epmd), "-port", str(epmd_port), "-address", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def start(self):
        with open(self.home / "out", "ab") as out:
            self.process = subprocess.Popen(
                ["/usr/lib/rabbitmq/bin/rabbitmq-server"], env=self.environment, stdout=out,
                stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(5)
                    probe.sendall(b"AMQP\x00\x00\x09\x01")
                    if probe.recv(8):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"RabbitMQ did not start: {(self.home / 'out').read_text()[-2000:]}")

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def close(self):
        self.kill()
        self.epmd.kill()
        self.epmd.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture
def private_rabbit(free_port):
    rabbit = PrivateRabbit(free_port(), free_port(), free_port())
    try:
        rabbit.start()
        yield rabbit
    finally:
        rabbit.close()


class Wire:
    """A TCP proxy whose connections can be cut, and held while cut."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.up = True
        self.pairs = []
        self.cut_pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """End all connections and let no new one through."""
        self.up = False
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.cut_pairs += pairs
        return len(pairs)

    def mend(self):
        self.up = True

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        time.sleep(0.2)     # the copying threads see it
        for pair in self.cut_pairs:
            for end in pair:
                end.close()


@pytest.fixture
def wire():
    """A function that puts a Wire before a port."""
    made = []

    def make(port):
        made.append(Wire(port))
        return made[-1]

    yield make
    for one in made:
        one.close()
