# SPDX-License-Identifier: Apache-2.0
"""nova's daemons as processes of their own, on free ports and the fake drivers.

    with Cloud(tmp_path, port) as cloud:            # everything in one process
        cloud.start("all")
        cloud.wait_ready()
        server = cloud.boot()

Images come from a real glance-api.  Callers are believed (noauth).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0

NOVA = """
[DEFAULT]
host = {host}
state_path = {directory}/{host}
compute_driver = fake
network_driver = fake
transport_url = {transport}
report_interval = 2
graceful_shutdown_timeout = 3600
{extra}
[database]
connection = {database}
[api]
auth_strategy = noauth
enabled_apis = {apis}
compute_listen = 127.0.0.1
compute_port = {port}
network_listen = 127.0.0.1
network_port = {network_port}
metadata_listen = 127.0.0.1
metadata_port = {metadata_port}
ec2_listen = 127.0.0.1
ec2_port = {ec2_port}
volume_listen = 127.0.0.1
volume_port = {volume_port}
reuse_port = true
[monitoring]
port = {monitor_port}
[glance]
auth_type = none
endpoint_override = http://127.0.0.1:{glance_port}
[fake]
spawn_seconds = {spawn_seconds}
"""
GLANCE = """
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {glance_port}
[paste_deploy]
flavor = noauth
[database]
connection = sqlite:///{directory}/glance.db
[file]
filesystem_store_datadir = {directory}/images
[glance_store]
filesystem_store_datadir = {directory}/images
"""


_PREPARED = {}      # name of an SQLite file: what is in a fresh one


def in_parallel(function, arguments):
    """Call a function with each argument at the same time; return what it returned, in order."""
    results, errors = [None] * len(arguments), []

    def one(position, argument):
        try:
            results[position] = function(argument)
        except Exception as error:      # raised again below, where the test sees it
            errors.append(error)

    threads = [threading.Thread(target=one, args=item) for item in enumerate(arguments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class Cloud:
    """A glance-api and whichever of nova's daemons are started."""

    def __init__(self, directory, free_port, *, transport="memory://", database=None,
                 spawn_seconds=0.0, apis="compute,network", extra=""):
        self.directory = Path(directory)
        self.values = {
            "directory": directory, "transport": transport, "spawn_seconds": spawn_seconds,
            "database": database or f"sqlite:///{directory}/nova.db", "apis": apis,
            "extra": extra, "port": free_port(), "network_port": free_port(),
            "glance_port": free_port(), "metadata_port": free_port(), "ec2_port": free_port(),
            "volume_port": free_port(), "monitor_port": 0}
        self.processes = {}
        self.image = None

    def __enter__(self):
        try:
            self._fill("nova.db", self._fill_nova)
            self._start_glance()
        except BaseException:   # whatever it was, nothing is left running
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(STOP_TIMEOUT)

    def _fill(self, name, make):
        """Make an SQLite database, or copy the one that was made for an earlier cloud."""
        if name not in self.values["database"] and name == "nova.db":
            make()
            return
        path = self.directory / name
        if name in _PREPARED:
            path.write_bytes(_PREPARED[name])
            path.chmod(0o600)
            return
        make()
        assert not path.with_name(name + "-wal").exists()
        _PREPARED[name] = path.read_bytes()

    def _fill_nova(self):
        self.manage("db", "sync")
        self.manage("flavor", "create", "m1.tiny", "--id", "1", "--vcpus", "1",
                    "--memory", "512", "--disk", "1")
        self.manage("network", "create", "flat", "10.99.0.0/22")

    def _start_glance(self):
        path = self.directory / "glance-api.conf"
        path.write_text(GLANCE.format(**self.values))
        (self.directory / "images").mkdir()
        self._fill("glance.db", lambda: subprocess.run(
            [sys.executable, "-m", "glance.cmd.manage", "--config-file", str(path), "db_sync"],
            cwd=CHECKOUT, check=True, capture_output=True, timeout=60))
        self.processes["glance"] = self._spawn("glance", "glance.cmd.api", path)
        url = f"http://127.0.0.1:{self.values['glance_port']}/v2/images"
        self._wait_port(self.values["glance_port"], "glance")
        record = self.ask("POST", url, {"name": "i", "disk_format": "raw", "visibility": "public",
                                        "container_format": "bare"})[1]
        self.image = record["id"]
        request = urllib.request.Request(
            f"{url}/{self.image}/file", method="PUT", data=os.urandom(4096),
            headers={"X-Auth-Token": "admin:p", "Content-Type": "application/octet-stream"})
        urllib.request.urlopen(request, timeout=30).close()

    def config(self, host, name=None, **other):
        """Write the configuration of one host, or of one daemon there, and return its path."""
        path = self.directory / f"nova-{name or host}.conf"
        path.write_text(NOVA.format(**{"host": host, **self.values, **other}))
        path.chmod(0o600)
        return path

    def _spawn(self, name, module, config):
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, "--config-file", str(config)], cwd=CHECKOUT,
                stdout=log, stderr=log, start_new_session=True, env=self.environment(name))

    def environment(self, name):
        """Return the environment of a daemon; None is this process's own."""

    def log(self, name):
        """Return what a daemon has said so far."""
        return (self.directory / f"{name}.log").read_text()

    def start(self, what, host="host1", name=None, **other):
        """Start ``nova-WHAT`` on a pretend host; its name is ``WHAT-HOST`` or the given one.

        ``other`` are values of its configuration that differ from the cloud's.
        """
        config = self.config(host, name, **other)
        name = name or f"{what}-{host}"
        self.processes[name] = self._spawn(name, f"nova.cmd.{what}", config)
        return name

    def kill(self, name):
        """kill -9."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(STOP_TIMEOUT)

    def stop(self, name):
        """SIGTERM; return the exit status."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{name} does not stop: {self.log(name)[-2000:]}") from None

    def manage(self, *arguments):
        """Run nova-manage and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "nova.cmd.manage.main", "--config-file",
             str(self.config("host1")), *arguments],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _wait_port(self, port, name):
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            assert self.processes[name].poll() is None, self.log(name)[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{name} does not listen: {self.log(name)[-3000:]}")

    def wait_ready(self, api="all-host1", workers=3):
        """Wait until the API answers and this many workers are up."""
        self._wait_port(self.values["port"], api)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            _status, answer = self.ask("GET", "/os-services")
            if sum(row["state"] == "up" for row in answer["services"]) >= workers:
                return
            time.sleep(0.1)
        raise AssertionError(f"workers do not come up: {answer}")

    def ask(self, method, path, body=None, token="admin:p", timeout=60):
        """Return (status, document) of a request to the Compute API, or to a whole URL."""
        url = path if path.startswith("http") else \
            f"http://127.0.0.1:{self.values['port']}/v2.1{path}"
        request = urllib.request.Request(
            url, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"X-Auth-Token": token, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                data = answer.read()
                return answer.status, json.loads(data) if data else None
        except urllib.error.HTTPError as error:
            with error:
                data = error.read()
                return error.code, json.loads(data) if data else None

    def boot(self, name="server"):
        """Ask for a server and return its id."""
        status, answer = self.ask("POST", "/servers", {"server": {
            "name": str(name), "imageRef": self.image, "flavorRef": "1"}})
        assert status == 202, answer
        return answer["server"]["id"]

    def statuses(self, token="admin:p"):
        """Return the status of every server of a project by its id."""
        _status, answer = self.ask("GET", "/servers/detail?limit=1000", token=token)
        return {row["id"]: row["status"] for row in answer["servers"]}

    def settle(self, wanted, seconds=60, token="admin:p"):
        """Wait until ``wanted(statuses)``; return the statuses."""
        deadline = time.monotonic() + seconds
        while not wanted(found := self.statuses(token)):
            assert time.monotonic() < deadline, self._faults(found, token)
            time.sleep(0.1)
        return found

    def _faults(self, found, token):
        """Say of every server that is not ACTIVE what is the matter with it."""
        return {one: (status, self.ask("GET", f"/servers/{one}", token=token)[1]["server"].get(
            "fault")) for one, status in found.items() if status != "ACTIVE"}
