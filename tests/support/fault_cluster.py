# SPDX-License-Identifier: Apache-2.0
"""A cluster whose disks fill up, become read-only or lose all they hold, and whose clocks differ.

    with FaultCluster(tmp_path, small={2: "6m"}) as cluster:      # the disk of object server 2
        cluster.disk(2, "mount", "-o", "remount,ro")
        cluster.heal()

A small disk is a tmpfs that only the object server of its node sees. Replicators work by SSYNC and,
for databases, by copying between the nodes' folders: no rsync daemon.
"""
from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from swift_cluster import TYPES, SwiftCluster

from swift.common import storage
from swift.common.ring import Ring

ONCE_TIMEOUT = 300
# What heals; one process of a node runs them one after another, what does most good first.
SECTIONS = {"object": ("updater", "replicator"), "container": ("updater", "replicator"),
            "account": ("replicator",)}
SKEWED = """
import sys, time
real = time.time
time.time = lambda: real() + float({seconds})
from swift.cli.{kind}_server import main
sys.argv = ["server", {conf!r}]
raise SystemExit(main())
"""


class FaultCluster(SwiftCluster):
    """`small` and `skew` say of which node numbers the object server has a small disk, or all
    servers a clock that many seconds off; ("proxy", 1) in `skew` is another proxy's."""

    def __init__(self, root: Path, small: dict[int, str] | None = None,
                 skew: dict[Any, float] | None = None, options: str = "",
                 proxy_options: str = "", **more: Any) -> None:
        self.small, self.skew = small or {}, skew or {}
        root = Path(root)
        super().__init__(root, storage_options=options, proxy_options=(
            "error_suppression_interval = 1\nnode_timeout = 10\nconn_timeout = 2\n"
            + proxy_options), **more)

    def server_command(self, kind: str, n: int, conf: str) -> list[str]:
        seconds = self.skew.get((kind, n), 0 if kind == "proxy" else self.skew.get(n, 0))
        command = [self.python, "-W", "ignore", "-c", SKEWED.format(
            seconds=seconds, kind=kind, conf=conf)] if seconds else \
            super().server_command(kind, n, conf)
        if kind == "object" and n in self.small:
            place = self.device(n)
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                       f"mount -t tmpfs -o size={self.small[n]} tmpfs {place} && exec \"$@\"",
                       "sh", *command]
        return command

    def device(self, n: int) -> Path:
        """The folder of node n's one device."""
        return self.root / f"n{n}/d{n}"

    def disk(self, n: int, *command: str) -> str:
        """Run a command on the small disk as its object server sees it; the disk is appended."""
        done = subprocess.run(
            ["nsenter", "--mount", "-t", str(self.processes["object", n].pid), *command,
             str(self.device(n))], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_node(self, n: int, empty: bool = False) -> None:
        """SIGKILL to all servers of a node; its disk is emptied if asked."""
        for kind in TYPES:
            self.kill(kind, n)
        if empty:
            shutil.rmtree(self.device(n))
            self.device(n).mkdir()

    def start_node(self, n: int) -> None:
        """Start them again."""
        for kind in TYPES:
            self.start(kind, n, wait=False)
        for kind in TYPES:
            self.wait(kind, n)

    def configure(self) -> None:
        """As a plain cluster's, with the sections of daemons."""
        super().configure()
        for kind, names in SECTIONS.items():
            for n in range(self.nodes):
                with open(self.etc / f"{kind}-{n}.conf", "a") as conf:
                    conf.writelines(
                        f"[{kind}-{name}]\nsync_method = ssync\n"
                        f"rsync_module = {self.root}/n{{id}}\n" for name in names)

    def once(self, module: str, *confs: str) -> str:
        """One pass of a daemon, or of all daemons of the files; what it logged."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", f"swift.cli.{module}",
             *(str(self.etc / conf) for conf in confs), "--once"], capture_output=True, text=True,
            env=dict(os.environ, SWIFT_DIR=str(self.etc), PYTHONDONTWRITEBYTECODE="1"),
            timeout=ONCE_TIMEOUT, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def heal(self) -> str:
        """One pass of all that heals, on each node; what they logged."""
        return "".join(self.once("consistency", *(f"{kind}-{n}.conf" for kind in SECTIONS))
                       for n in range(self.nodes))

    # -- behind the proxy's back -----------------------------------------

    def places(self, kind: str, *names: str) -> tuple[int, list[dict[str, Any]]]:
        """Partition and primaries of a name; their ids are the nodes' numbers."""
        saved = storage._secrets
        storage.set_hash_secrets(b"changeme", b"tests")
        try:
            return Ring(str(self.etc), ring_name=kind).get_nodes(*names)  # type: ignore[arg-type]
        finally:
            storage._secrets = saved

    def direct(self, kind: str, n: int, method: str, *names: str, query: str = "",
               headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """A request to one storage server."""
        part, _ = self.places(kind, *names)
        path = quote(f"/d{n}/{part}/" + "/".join(names)) + query
        conn = http.client.HTTPConnection("127.0.0.1", self.ports[kind, n], timeout=60)
        try:
            conn.request(method, path, headers=headers or {})
            answer = conn.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            conn.close()

    def copies(self, kind: str, *names: str, query: str = "") -> list[tuple[int, bytes]]:
        """(status, body) of each primary."""
        return [self.direct(kind, node["id"], "GET", *names, query=query)[::2]
                for node in self.places(kind, *names)[1]]

    def object_files(self, *names: str) -> list[Path]:
        """The files of an object, on all disks."""
        saved = storage._secrets
        storage.set_hash_secrets(b"changeme", b"tests")
        name_hash = storage.hash_path(*names)
        storage._secrets = saved
        return [path for n in range(self.nodes)
                for path in self.device(n).rglob(f"{name_hash}/*")]

    def files_of(self, *names: str) -> str:
        """What is on which disk of an object."""
        found = sorted(str(path.relative_to(self.root)) for path in self.object_files(*names))
        return f"primaries {[node['id'] for node in self.places('object', *names)[1]]}: {found}\n"
