# SPDX-License-Identifier: Apache-2.0
"""A MariaDB of a test's own that can be killed and started again."""

import subprocess

from private_server import PrivateServer

INSTALL_TIMEOUT = 120
USER, PASSWORD = "nova", "nova"


class PrivateMariadb(PrivateServer):
    """One mariadbd with one empty database ``nova``."""

    def __init__(self, port):
        super().__init__(port, "mariadb")
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

    def command(self):
        return ["mariadbd", "--no-defaults", "--user=root", f"--datadir={self.home}/data",
                f"--socket={self.home}/socket", f"--port={self.port}",
                "--bind-address=127.0.0.1", f"--pid-file={self.home}/pid",
                f"--init-file={self._first}", "--innodb-buffer-pool-size=64M",
                "--max-connections=500"]

    def greets(self, probe):
        return bool(probe.recv(5))
