# SPDX-License-Identifier: Apache-2.0
"""Hosts and guests made of network namespaces: a veth pair plays the tap.

Lighter than a pretend host: no mount namespace and no libvirt, about 20 ms each.
"""

import contextlib
import subprocess
import sys
import uuid

import pytest

from nova.linux.run import Runner

TIMEOUT = 30
SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""


def sh(*command, check=True, timeout=TIMEOUT, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                          **more)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done
CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as s:
        s.settimeout(max(3, float(sys.argv[3])))
        print(s.recv(16))
except OSError as error:
    print(error)
"""


class Namespace:
    """A network namespace; the processes left in it are killed when it goes."""

    def __init__(self):
        self.name = f"t{uuid.uuid4().hex[:8]}"
        sh("ip", "netns", "add", self.name)
        self.prefix = ("ip", "netns", "exec", self.name)
        self.runner = Runner(self.prefix)
        self.processes = []
        self("ip", "link", "set", "lo", "up")

    def __call__(self, *command, **more):
        return sh(*self.prefix, *command, **more)

    def popen(self, *command, **more):
        process = subprocess.Popen([*self.prefix, *command], **more)
        self.processes.append(process)
        return process

    def close(self):
        pids = sh("ip", "netns", "pids", self.name).stdout.split()
        if pids:
            sh("kill", "-9", *pids, check=False)
        for process in self.processes:
            process.wait(TIMEOUT)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        sh("ip", "netns", "del", self.name)

    def cable(self, here, other, there, *more):
        """Connect this namespace's device to another's by a pair of them."""
        self("ip", "link", "add", here, "type", "veth", "peer", "name", there, *more,
             "netns", other.name)
        self("ip", "link", "set", here, "up")
        other("ip", "link", "set", there, "up")

    def serve(self, port, address="0.0.0.0"):
        """Answer "hello" to whoever connects to a port."""
        process = self.popen(sys.executable, "-S", "-c", SERVER, address, str(port),
                             stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def reaches(self, address, port=None, wait=8):
        """Whether a connection (or, without a port, a ping) is answered with hello."""
        if port is None:
            return self.pings(address, wait=wait)
        done = self(sys.executable, "-S", "-c", CLIENT, address, str(port), str(wait),
                    check=False)
        assert done.returncode == 0, done.stderr
        return "hello" in done.stdout

    def is_kept_from(self, address, port=None):
        """Whether nothing comes back; half a second is long where nothing is far."""
        return not self.reaches(address, port, wait=0.5 if port else 1)

    def pings(self, address, source=None, wait=8):
        """Whether an echo request is answered."""
        command = ["busybox", "ping", "-c1", f"-W{wait}", *(["-I", source] if source else [])]
        done = self(*command, address, check=False)
        assert "packets transmitted" in done.stdout, done.stderr
        return done.returncode == 0

    def hears_nothing_from(self, address, source=None):
        """Whether an echo request stays unanswered."""
        return not self.pings(address, source, wait=1)


@pytest.fixture
def namespaces():
    """A function that makes namespaces, all gone at the end."""
    with contextlib.ExitStack() as stack:

        def make():
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        yield make
