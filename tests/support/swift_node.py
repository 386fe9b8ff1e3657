# SPDX-License-Identifier: Apache-2.0
"""One storage node of real processes on loopback: four devices, three servers in one process.

    with StorageNode(tmp_path) as node:
        node.make_container("a", "c")
        node.put("a", "c", "o", b"body")
        node.once("object_replicator", "object")

`put` and its like do what a proxy does: one request to each primary, with the container's servers.
"""
from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from swift_cluster import free_ports

from swift.common import storage
from swift.common.ring import Ring, RingBuilder

TYPES = ("object", "container", "account")
SECTIONS = {"object": ("replicator", "updater", "auditor", "expirer"),
            "container": ("replicator", "updater", "auditor"),
            "account": ("replicator", "reaper", "auditor")}
START_TIMEOUT = 60
ONCE_TIMEOUT = 110         # a loaded machine takes a minute to start a Python
PART_POWER = 2


class StorageNode:
    """Configuration, rings and processes below one directory."""

    def __init__(self, root: Path, options: str = "", policies: int = 1) -> None:
        self.root, self.options, self.policies = Path(root), options, policies
        self.etc, self.devices = self.root / "etc", self.root / "devices"
        self.ports = dict(zip(TYPES, free_ports(3), strict=True))
        self.process: subprocess.Popen | None = None
        self.environment = dict(os.environ, SWIFT_DIR=str(self.etc), PYTHONDONTWRITEBYTECODE="1")
        self.configure()
        self.rings = {kind: Ring(str(self.etc), ring_name=kind) for kind in TYPES}
        self._last = 0.0

    def configure(self) -> None:
        """Write configuration and rings."""
        self.etc.mkdir(parents=True)
        (self.etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = node\nswift_hash_path_suffix = tests\n"
            + "".join(f"[storage-policy:{number}]\nname = policy{number}\n"
                      f"{'default = yes' if not number else ''}\n"
                      for number in range(self.policies)))
        for number in range(4):
            (self.devices / f"d{number}").mkdir(parents=True)
        for kind in TYPES:
            sections = "".join(f"[{kind}-{name}]\n" for name in SECTIONS[kind])
            (self.etc / f"{kind}.conf").write_text(
                f"[DEFAULT]\nswift_dir = {self.etc}\ndevices = {self.devices}\nuser = root\n"
                f"mount_check = false\nbind_ip = 127.0.0.1\nbind_port = {self.ports[kind]}\n"
                f"log_address = {self.root}/none\n{self.options}\n"
                f"[pipeline:main]\npipeline = {kind}-server\n"
                f"[app:{kind}-server]\nuse = egg:swift#{kind}\n{sections}")
            builder = RingBuilder(PART_POWER, 3, 0)
            for number in range(4):
                builder.add_dev(dict(region=1, zone=number + 1, ip="127.0.0.1",
                                     port=self.ports[kind], device=f"d{number}", weight=1))
            builder.rebalance(seed="node")
            builder.get_ring().save(str(self.etc / f"{kind}.ring.gz"))
            for number in range(1, self.policies if kind == "object" else 1):
                builder.get_ring().save(str(self.etc / f"object-{number}.ring.gz"))

    # -- processes -------------------------------------------------------

    def start(self, *kinds: str) -> None:
        """Start the servers, or only those of some kinds."""
        with open(self.root / "servers.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "swift.cli.storage_server",
                 *(str(self.etc / f"{kind}.conf") for kind in kinds or TYPES)],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        for kind in kinds or TYPES:
            while True:
                try:
                    self.request(kind, "OPTIONS", "/")
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(self.log()[-3000:]) from None
                    time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the servers by a signal and wait until they are gone."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def log(self) -> str:
        """What the servers logged."""
        return (self.root / "servers.log").read_text(errors="replace")

    def once(self, module: str, kind: str) -> str:
        """One pass of a daemon; what it logged."""
        done = subprocess.run(
            [sys.executable, "-m", f"swift.cli.{module}", str(self.etc / f"{kind}.conf"), "once"],
            env=self.environment, capture_output=True, text=True, timeout=ONCE_TIMEOUT,
            check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def __enter__(self) -> StorageNode:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()

    # -- requests --------------------------------------------------------

    def now(self) -> str:
        """A timestamp later than any before."""
        self._last = max(time.time(), self._last + 0.00002)
        return f"{self._last:.5f}"

    def request(self, kind: str, method: str, path: str, headers: dict[str, str] | None = None,
                body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """One request to a server: status, headers by lower-case name, body."""
        conn = http.client.HTTPConnection("127.0.0.1", self.ports[kind], timeout=30)
        try:
            conn.request(method, path, body, headers or {})
            answer = conn.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, \
                answer.read()
        finally:
            conn.close()

    def places(self, kind: str, *names: str) -> tuple[int, list[dict[str, Any]]]:
        """Partition and primaries of a name."""
        before = storage._secrets
        storage.set_hash_secrets(b"node", b"tests")
        try:
            return self.rings[kind].get_nodes(*names)
        finally:
            storage._secrets = before

    def _update_headers(self, kind: str, index: int, *names: str) -> dict[str, str]:
        part, nodes = self.places(kind, *names)
        title = kind.capitalize()
        return {f"X-{title}-Host": f"127.0.0.1:{self.ports[kind]}",
                f"X-{title}-Device": nodes[index]["device"], f"X-{title}-Partition": str(part)}

    def everywhere(self, kind: str, method: str, names: tuple[str, ...],
                   headers: dict[str, str] | None = None, body: bytes = b"",
                   inform: bool = True) -> list[int]:
        """The request to each primary with one timestamp; the statuses."""
        part, nodes = self.places(kind, *names)
        stamp = {"X-Timestamp": self.now()}
        statuses = []
        for index, node in enumerate(nodes):
            extra = {}
            if inform and kind == "object":
                extra = self._update_headers("container", index, *names[:2])
            elif inform and kind == "container":
                extra = self._update_headers("account", index, names[0])
            path = f"/{node['device']}/{part}/" + "/".join(names)
            statuses.append(self.request(kind, method, path, {**stamp, **extra, **(headers or {})},
                                         body)[0])
        return statuses

    def make_container(self, account: str, container: str) -> None:
        """The account and the container on all their primaries."""
        self.everywhere("account", "PUT", (account,))
        assert self.everywhere("container", "PUT", (account, container)) == [201] * 3

    def put(self, account: str, container: str, obj: str, body: bytes, inform: bool = True
            ) -> list[int]:
        """An object on all its primaries."""
        return self.everywhere("object", "PUT", (account, container, obj),
                               {"Content-Type": "text/plain"}, body, inform)

    def get_all(self, kind: str, *names: str, query: str = "") -> list[tuple[int, bytes]]:
        """Status and body from each primary."""
        part, nodes = self.places(kind, *names)
        return [self.request(kind, "GET", f"/{node['device']}/{part}/{'/'.join(names)}{query}")[::2]
                for node in nodes]
