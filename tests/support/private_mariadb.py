# SPDX-License-Identifier: Apache-2.0
"""A MariaDB of a test's own that can be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT = 240
INSTALL_TIMEOUT = 120
USER, PASSWORD = "nova", "nova"


class PrivateMariadb:
    """One mariadbd on a port and in a directory of its own, with one empty database ``nova``."""

    def __init__(self, port):
        self.port = port
        self.home = Path(tempfile.mkdtemp(prefix="snakestack-mariadb-"))
        self.process = None
        self.url = f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{port}/nova?charset=utf8mb4"
        self._first = self.home / "first.sql"
        self._first.write_text(
            "CREATE DATABASE IF NOT EXISTS nova CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS {USER}@localhost IDENTIFIED BY '{PASSWORD}';\n"
            f"CREATE USER IF NOT EXISTS {USER}@127.0.0.1 IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON nova.* TO {USER}@localhost;\n"
            f"GRANT ALL ON nova.* TO {USER}@127.0.0.1;\n")
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={self.home}/data",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True, timeout=INSTALL_TIMEOUT)

    def start(self):
        with open(self.home / "out", "ab") as out:
            self.process = subprocess.Popen(
                ["mariadbd", "--no-defaults", "--user=root", f"--datadir={self.home}/data",
                 f"--socket={self.home}/socket", f"--port={self.port}",
                 "--bind-address=127.0.0.1", f"--pid-file={self.home}/pid",
                 f"--init-file={self._first}", "--innodb-buffer-pool-size=64M",
                 "--max-connections=500"],
                stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(5)
                    if probe.recv(5):       # its greeting
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"MariaDB did not start: {(self.home / 'out').read_text()[-2000:]}")

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def close(self):
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
