# SPDX-License-Identifier: Apache-2.0
"""A real glance-api, or another of its daemons, on green threads and in a process of its own."""

import contextlib
import http.client
import shutil
import signal
import subprocess
import sys
import time

READY_TIMEOUT = 30.0
WAIT_TIMEOUT = 60.0
CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
state_path = {folder}/state
[database]
connection = {database}
[file]
filesystem_store_datadir = {folder}/images
[paste_deploy]
flavor = noauth
"""


def wait_for(condition, what):
    """Until `condition()` holds; `what` is said when it does not in time."""
    deadline = time.monotonic() + WAIT_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Daemon:
    """A glance-api process, or with another program and configuration that one."""

    def __init__(self, folder, database, port, program="api", config=CONFIG):
        self.port = port
        self.program = program
        self.config = folder / f"glance-{program}.conf"
        self.config.write_text(config.format(port=port, folder=folder, database=database))
        self.log = folder / f"{program}.log"
        self.process = None

    def command(self):
        return [sys.executable, "-m", f"glance.cmd.{self.program}", "--config-file",
                str(self.config)]

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/healthcheck")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        raise AssertionError(self.log.read_text())

    def end(self, signum):
        self.process.send_signal(signum)
        return self.process.wait(30)


@contextlib.contextmanager
def running(folder, registry, port, config=CONFIG):
    """A glance-api on a copy of the database `registry`, in `folder`; killed in the end."""
    shutil.copy(registry, folder / "registry.sqlite")
    daemon = Daemon(folder, f"sqlite:///{folder}/registry.sqlite", port, config=config)
    daemon.folder = folder
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.end(signal.SIGKILL)
