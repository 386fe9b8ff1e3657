# SPDX-License-Identifier: Apache-2.0
"""A compute host's driver as a process in a pretend host, for the tests of guests."""

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

WORKER = Path(__file__).resolve().parents[1] / "integration/nova/virt/virt_worker.py"
BOOT_TIMEOUT = 120      # seconds to the login prompt, in software on a busy machine
TRIO = {"root": ["root.ext4", "ami"], "kernel": ["vmlinuz", "aki"], "ramdisk": ["initrd.gz", "ari"]}
DISK = {"root": ["disk.qcow2", "qcow2"]}


class Worker:
    """The driver's process in a pretend host."""

    def __init__(self, host, images):
        self.process = host.popen(
            [sys.executable, "-W", "ignore", str(WORKER), str(host.workdir / "instances"),
             str(images)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.virt_type = json.loads(self.process.stdout.readline())["ready"]

    def begin(self, op, **request):
        self.process.stdin.write(json.dumps({"op": op, **request}) + "\n")
        self.process.stdin.flush()

    def finish(self):
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer["result"]

    def do(self, op, **request):
        self.begin(op, **request)
        return self.finish()

    def fails(self, op, **request):
        self.begin(op, **request)
        answer = json.loads(self.process.stdout.readline())
        assert "error" in answer, answer
        return answer["error"], answer["message"]

    def end(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


def spec(**changes):
    port = str(uuid.uuid4())
    vif = {"port_id": port, "mac": "fa:16:3e:00:00:02", "tap": "tap" + port[:11],
           "bridge": "br100", "network_id": str(uuid.uuid4()), "network_name": "private",
           "mtu": 1500, "bridge_interface": None, "vlan": None, "addresses": [],
           "dns_servers": [], "rules": []}
    return {"id": str(uuid.uuid4()), "project_id": "p1", "user_id": "u1",
            "display_name": "<one> & 'only' \x01", "hostname": "one", "vcpus": 1,
            "memory_mb": 128, "root_gb": 1, "vifs": [vif], **changes}


def wait_for(worker, instance_id, text, times=1):
    until = time.monotonic() + BOOT_TIMEOUT
    while time.monotonic() < until:
        console = worker.do("console", id=instance_id, limit=100_000)
        if console.count(text) >= times:
            return console
        time.sleep(0.5)
    raise AssertionError(f"no {text!r} x {times} in {console[-2000:]}")


def guests(host):
    """Our guests' processes; libvirtd keeps a file of its own in the same place."""
    return {name: pid for name, pid in host.qemu_pids().items() if name.startswith("instance-")}


def devices(host):
    return {link["ifname"] for link in json.loads(host.run(["ip", "-j", "link"]).stdout)}
