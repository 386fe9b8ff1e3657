# SPDX-License-Identifier: Apache-2.0
"""A whole stack on a pretend host, and the real clients that talk to it."""
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pretend_host import PretendHost

CHECKOUT = Path(__file__).resolve().parents[2]
UP_TIMEOUT = 300
CLIENT_TIMEOUT = 180
SSH_TIMEOUT = 120  # seconds until a booted guest lets us in
BIN = str(Path(sys.executable).parent)


def pytest_collection_modifyitems(items) -> None:
    """Keep the tests of the one stack together and in order, and those of any other file."""
    for item in items:
        group = "stack" if "stack" in getattr(item, "fixturenames", ()) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


class Stack:
    """tools/stack on a host of its own, and the clients with what `env` prints."""

    def __init__(self, host: PretendHost) -> None:
        self.host = host
        self.data = host.workdir / "stack"
        self._environments: dict[str, dict[str, str]] = {}

    def command(self, name: str, *arguments: str, check: bool = True,
                timeout: float = UP_TIMEOUT) -> subprocess.CompletedProcess:
        """tools/stack NAME on this stack's data."""
        return self.host.run([sys.executable, str(CHECKOUT / "tools/stack"), name,
                              "--data", str(self.data), *arguments], check=check, timeout=timeout)

    def up(self, *arguments: str) -> str:
        return self.command("up", "--no-packages", *arguments).stdout

    def status(self) -> dict:
        return json.loads(self.command("status", "--json", check=False).stdout)

    def environment(self, user: str = "demo") -> dict[str, str]:
        """The environment of a shell that evaluated `tools/stack env`; asked for once a user."""
        if user not in self._environments:
            self._environments[user] = self._evaluated(user)
        return self._environments[user]

    def _evaluated(self, user: str) -> dict[str, str]:
        lines = self.command("env", "openrc", "--user", user).stdout.splitlines()
        values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        kept = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.host.workdir),
                "LANG": "C.UTF-8"}
        return {**kept, **{name: value.strip("'") for name, value in values.items()}}

    def client(self, *command: str, user: str = "demo", check: bool = True,
               cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Run a client as it is, with nothing but what `env` prints."""
        where = ["env", "-C", str(cwd)] if cwd else []
        return self.host.run([*where, *command], check=check, timeout=CLIENT_TIMEOUT,
                             env=self.environment(user))

    def wait_ssh(self, key: Path, address: str, command: str) -> str:
        """What a command in a guest prints, once the guest lets us in and the command succeeds.

        It is asked from the client on the public network.
        """
        deadline = time.monotonic() + SSH_TIMEOUT
        while True:
            done = self.host.client.run(
                ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                 "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR",
                 "-i", str(key), f"root@{address}", command])
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < deadline, \
                f"{command!r} on {address}: not in {SSH_TIMEOUT} s, at last {done.stderr}"
            time.sleep(1)

    def openstack(self, *arguments: str, user: str = "demo"):
        """Parsed JSON of an `openstack` command that shows something."""
        return json.loads(self.client("openstack", *arguments, "-f", "json", user=user).stdout)

    def do(self, *arguments: str, user: str = "demo") -> str:
        """Output of an `openstack` command that does something."""
        return self.client("openstack", *arguments, user=user).stdout


@pytest.fixture(scope="session")
def stack(guest_image):
    """The default stack with its first server, for the whole run."""
    with PretendHost() as host:
        stack = Stack(host)
        # the image of the tests is the one the stack would make
        shutil.copytree(guest_image, stack.data / "cache" / guest_image.name)
        stack.first_up = stack.up()
        yield stack
        stack.command("down", check=False)


@pytest.fixture
def own_stack(guest_image):
    """A host for a stack of a test's own, which is not up yet."""
    with PretendHost() as host:
        stack = Stack(host)
        shutil.copytree(guest_image, stack.data / "cache" / guest_image.name)
        yield stack
        stack.command("reset", "--yes", check=False)
