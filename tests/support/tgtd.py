# SPDX-License-Identifier: Apache-2.0
"""An iSCSI target daemon of a test's own, and QEMU's initiator to try it with."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT = 30
TRY_TIMEOUT = 60


class Tgtd:
    """tgtd on a port and a management socket of its own; both stay the same when it restarts."""

    def __init__(self, port):
        self.port, self.portal = port, f"127.0.0.1:{port}"
        self.folder = Path(tempfile.mkdtemp(prefix="tgtd-"))
        self.socket = self.folder / "s.1"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["tgtd", "-f", "--iscsi", f"portal={self.portal}", "--control-port", "1"],
            env={**os.environ, "TGT_IPC_SOCKET": str(self.folder / "s")},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, "no tgtd"
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        self.kill()
        shutil.rmtree(self.folder)


def initiator(connection, command, *, secret="", user=None, name="iqn.2010-10.test:here",
              folder=None):
    """Run a command of qemu-io over iSCSI as QEMU would; returns (status, output).

    ``user`` None uses the connection's user and secret, "" no CHAP at all.
    """
    user = connection.auth_user if user is None else user
    file = {"driver": "iscsi", "transport": "tcp", "portal": connection.portal,
            "target": connection.target, "lun": connection.lun, "initiator-name": name}
    words = []
    if user:
        path = Path(folder) / "secret"
        path.write_text(secret or connection.auth_secret)
        file.update({"user": user, "password-secret": "s"})
        words = ["--object", f"secret,id=s,file={path}"]
    done = subprocess.run(
        ["qemu-io", *words, "-c", command, "json:" + json.dumps({"driver": "raw", "file": file})],
        capture_output=True, text=True, timeout=TRY_TIMEOUT, check=False)
    return done.returncode, done.stdout + done.stderr
