# SPDX-License-Identifier: Apache-2.0
"""All of nova and a glance-api in a pretend host: real guests on a real network.

Everything is asked over HTTP inside the host, as its users would ask.
"""

import json
import sys
import time

from nova_daemons import CHECKOUT, GLANCE, START_TIMEOUT, Cloud

BOOT_TIMEOUT = 150
EXTRA = """
compute_driver = libvirt
network_driver = linux
reconcile_interval = 5
shutdown_timeout = 30
resource_report_interval = 5
[scheduler]
housekeeping_interval = 5
"""


class RealCloud(Cloud):
    """The daemons of a pretend host; see there for what they see of the world."""

    def __init__(self, host, free_port, image):
        self.pretend, self.files = host, image
        super().__init__(host.workdir, free_port, extra=EXTRA)

    def _spawn(self, name, module, config):
        with open(self.directory / f"{name}.log", "ab") as log:
            return self.pretend.popen(
                [sys.executable, "-W", "ignore", "-m", module, "--config-file", str(config)],
                cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True)

    def manage(self, *arguments):
        done = self.pretend.run(
            [sys.executable, "-W", "ignore", "-m", "nova.cmd.manage.main", "--config-file",
             str(self.config("host1")), *arguments], cwd=CHECKOUT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _wait_port(self, port, name):
        deadline = time.monotonic() + START_TIMEOUT
        while self.pretend.run(["curl", "-s", f"http://127.0.0.1:{port}/"]).returncode:
            assert self.processes[name].poll() is None, self.log(name)[-3000:]
            assert time.monotonic() < deadline, self.log(name)[-3000:]
            time.sleep(0.2)

    def ask(self, method, path, body=None, token="admin:p", timeout=60):
        url = path if path.startswith("http") else \
            f"http://127.0.0.1:{self.values['port']}/v2.1{path}"
        command = ["curl", "-s", "-m", str(timeout), "-X", method, "-w", "\n%{http_code}",
                   "-H", f"X-Auth-Token: {token}", "-H", "Content-Type: application/json", url]
        if body is not None:
            command += ["-d", json.dumps(body)]
        text, _, code = self.pretend.run(command, check=True).stdout.rpartition("\n")
        return int(code), json.loads(text) if text.strip() else None

    def _start_glance(self):
        path = self.directory / "glance-api.conf"
        path.write_text(GLANCE.format(**self.values))
        (self.directory / "images").mkdir()
        self.pretend.run([sys.executable, "-W", "ignore", "-m", "glance.cmd.manage",
                          "--config-file", str(path), "db_sync"], cwd=CHECKOUT, check=True)
        self.processes["glance"] = self._spawn("glance", "glance.cmd.api", path)
        self._wait_port(self.values["glance_port"], "glance")
        kernel, ramdisk = self.upload("vmlinuz", "aki"), self.upload("initrd.gz", "ari")
        self.image = self.upload("root.ext4", "ami", kernel_id=kernel, ramdisk_id=ramdisk)
        self.disk_image = self.upload("disk.qcow2", "qcow2")

    def upload(self, file, disk_format, **properties):
        url = f"http://127.0.0.1:{self.values['glance_port']}/v2/images"
        container = disk_format if disk_format in ("ami", "aki", "ari") else "bare"
        status, record = self.ask("POST", url, {
            "name": file, "disk_format": disk_format, "container_format": container,
            "visibility": "public", **properties})
        assert status == 201, record
        done = self.pretend.run(
            ["curl", "-s", "-f", "-T", str(self.files / file), "-H", "X-Auth-Token: admin:p",
             "-H", "Content-Type: application/octet-stream", f"{url}/{record['id']}/file"])
        assert done.returncode == 0, done.stdout + done.stderr
        return record["id"]

    def console(self, server):
        status, answer = self.ask("POST", f"/servers/{server}/action",
                                  {"os-getConsoleOutput": {}})
        return answer["output"] if status == 200 else ""

    def wait_console(self, server, text, times=1):
        deadline = time.monotonic() + BOOT_TIMEOUT
        while (shown := self.console(server)).count(text) < times:
            assert time.monotonic() < deadline, shown[-2000:]
            time.sleep(1)
        return shown

    def deeds(self):
        """The end of the log without the requests."""
        return "\n".join(line for line in self.log("all-host1").splitlines()
                         if ".request_log " not in line)[-6000:]

    def act(self, server, action):
        status, answer = self.ask("POST", f"/servers/{server}/action", {action: None})
        assert status == 202, answer

    def wait(self, server, status, seconds=90):
        deadline = time.monotonic() + seconds
        while True:
            code, answer = self.ask("GET", f"/servers/{server}")
            if code == 404 and status is None:
                return None
            row = (answer or {}).get("server", {})
            if row.get("status") == status and row["OS-EXT-STS:task_state"] is None:
                return row
            assert time.monotonic() < deadline and row.get("status") != "ERROR", (
                f"{row.get('status')} {row.get('OS-EXT-STS:task_state')}\n{self.deeds()}")
            time.sleep(0.3)
