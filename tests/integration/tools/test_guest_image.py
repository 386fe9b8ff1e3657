# SPDX-License-Identifier: Apache-2.0
"""The guest image boots under plain QEMU, both ways, and does what the cloud tells it."""
import http.server
import socketserver
import subprocess
import threading
import time

import pytest

pytestmark = pytest.mark.guest

BOOT_TIMEOUT = 60  # seconds to the login prompt under TCG on a busy machine
SSH_TIMEOUT = 30
USER_DATA = "#!/bin/sh\necho user-data ran on $(hostname) as $(id -un)\n"


@pytest.fixture
def key(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")],
                   check=True, timeout=30)
    return tmp_path / "key"


@pytest.fixture
def metadata(key):
    """Port of a metadata server that knows one instance."""
    tree = {
        "/latest/meta-data/instance-id": "i-0000002a",
        "/latest/meta-data/hostname": "first.example",
        "/latest/meta-data/public-keys/": "0=mine",
        "/latest/meta-data/public-keys/0/openssh-key": key.with_suffix(".pub").read_text(),
        "/latest/user-data": USER_DATA,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = tree.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or "")))
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_):
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Machine:
    """One QEMU process and what its serial console printed."""

    def __init__(self, arguments: list[str]) -> None:
        self.console = ""
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "128", "-snapshot",
             "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none",
             *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()

    def _read(self) -> None:
        while chunk := self.process.stdout.read1(4096):
            self.console += chunk.decode(errors="replace").replace("\r", "")

    def wait_for(self, text: str, timeout: float = BOOT_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.console:
            assert time.monotonic() < deadline, f"no {text!r} in {timeout} s:\n{self.console}"
            assert self.process.poll() is None, f"QEMU ended:\n{self.console}"
            time.sleep(0.1)


@pytest.fixture(params=["disk", "trio"])
def machine(request, guest_image, metadata, free_port):
    ssh_port = free_port()
    network = (f"user,id=n0,net=169.254.169.0/24,dhcpstart=169.254.169.15,"
               f"hostfwd=tcp:127.0.0.1:{ssh_port}-:22,"
               f"guestfwd=tcp:169.254.169.254:80-cmd:busybox nc 127.0.0.1 {metadata}")
    arguments = ["-netdev", network, "-device", "virtio-net-pci,netdev=n0,romfile="]
    if request.param == "disk":
        arguments += ["-drive", f"file={guest_image}/disk.qcow2,if=virtio"]
    else:
        arguments += ["-drive", f"file={guest_image}/root.ext4,format=raw,if=virtio",
                      "-kernel", f"{guest_image}/vmlinuz", "-initrd", f"{guest_image}/initrd.gz",
                      "-append", "root=/dev/vda console=tty0 console=ttyS0 quiet"]
    guest = Machine(arguments)
    guest.ssh_port = ssh_port
    yield guest
    guest.stop()


def ssh(machine: Machine, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
         "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-p", str(machine.ssh_port),
         *arguments], capture_output=True, text=True, timeout=SSH_TIMEOUT, check=False)


def test_boots_to_a_login_and_obeys_its_metadata(machine, key):
    machine.wait_for("login:")
    assert "snakestack guest, Linux" in machine.console
    assert "instance i-0000002a, host name first.example, 1 key(s)" in machine.console
    machine.wait_for("user-data exit 0")
    assert "user-data ran on first.example as root" in machine.console
    done = ssh(machine, "-i", str(key), "root@127.0.0.1", "hostname; cat /proc/mounts")
    assert done.stdout.startswith("first.example\n"), done.stderr
    assert " / ext4 rw" in done.stdout
    # the console's password is not one for the network
    refused = ssh(machine, "-v", "-o", "PubkeyAuthentication=no", "root@127.0.0.1", "true")
    assert refused.returncode == 255
    assert "Authentications that can continue: publickey\n" in refused.stderr
