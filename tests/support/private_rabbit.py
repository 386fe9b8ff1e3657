# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of a test's own that can be killed and started again."""

import os
import subprocess
from pathlib import Path

from private_server import PrivateServer


class PrivateRabbit(PrivateServer):
    """One rabbitmq-server, its ports and its epmd."""

    def __init__(self, port, dist_port, epmd_port):
        super().__init__(port, "rabbit")
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
        epmd = next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
        self.epmd = subprocess.Popen(
            [str(epmd), "-port", str(epmd_port), "-address", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def command(self):
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def greets(self, probe):
        probe.sendall(b"AMQP\x00\x00\x09\x01")
        return bool(probe.recv(8))

    def close(self):
        self.kill()
        self.epmd.kill()
        self.epmd.wait(10)
        super().close()
