# SPDX-License-Identifier: Apache-2.0
"""An iSCSI target daemon of a test's own, in a pretend host."""

import os
import subprocess
import time

START_TIMEOUT = 30


class Tgt:
    """tgtd on a port of its own; ends with the host it runs in, or by :meth:`close`."""

    control = "1"

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.environment = {**os.environ, "TGT_IPC_SOCKET": str(host.work / "tgt")}
        self.socket = f"{host.work / 'tgt'}.{self.control}"
        self.process = host.popen(
            ["tgtd", "-f", "--iscsi", f"portal=127.0.0.1:{port}", "--control-port", self.control],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment)
        until = time.monotonic() + START_TIMEOUT
        while host.run(self._command("show", "sys"), env=self.environment).returncode:
            if time.monotonic() > until:
                self.close()
                raise AssertionError("tgtd does not answer")
            time.sleep(0.1)

    def _command(self, op, mode, *more):
        return ["tgtadm", "--control-port", self.control, "--lld", "iscsi", "--op", op,
                "--mode", mode, *more]

    def tell(self, op, mode, *more):
        return self.host.run(self._command(op, mode, *more), check=True,
                             env=self.environment).stdout

    def export(self, number, iqn, path, user, secret):
        """Offer a file to whoever knows the password."""
        tid = ("--tid", str(number))
        self.tell("new", "target", *tid, "-T", iqn)
        self.tell("new", "logicalunit", *tid, "--lun", "1", "-b", str(path))
        self.tell("new", "account", "--user", user, "--password", secret)
        self.tell("bind", "account", *tid, "--user", user)
        self.tell("bind", "target", *tid, "-I", "ALL")

    def close(self):
        self.process.kill()
        self.process.wait(10)
