# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of a test's own that can be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT = 240


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
