# SPDX-License-Identifier: Apache-2.0
"""A server of a test's own, in a directory of its own, that can be killed and started again."""

import abc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT = 240


class PrivateServer(abc.ABC):
    """One server on a loopback port; a kind says its command and how it shows that it is up."""

    environment = None

    def __init__(self, port, name):
        self.port, self.name = port, name
        self.home = Path(tempfile.mkdtemp(prefix=f"snakestack-{name}-"))
        self.process = None

    @abc.abstractmethod
    def command(self):
        """Return what starts it."""

    @abc.abstractmethod
    def greets(self, probe):
        """Return whether it says something over a fresh connection."""

    def start(self):
        """Start it and wait until it answers."""
        with open(self.home / "out", "ab") as out:
            self.process = subprocess.Popen(self.command(), env=self.environment, stdout=out,
                                            stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(5)
                    if self.greets(probe):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(
            f"{self.name} did not start: {(self.home / 'out').read_text()[-2000:]}")

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def close(self):
        """End it and remove its directory."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
