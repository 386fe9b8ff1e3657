# SPDX-License-Identifier: Apache-2.0
"""Real OpenStack Swift beside ours, on the same rings, the same disks and the same wire.

    with MixedCluster(tmp_path, real={("object", 0), ("proxy", 0)}) as cluster:
        cluster.once("object_replicator", 2)          # ours, as node 2 is
        cluster.once("object_replicator", 0)          # theirs

Real Swift is installed from PyPI into an environment of its own, once a machine.
"""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stacklib import packages
from swift_cluster import START_TIMEOUT, TYPES, SwiftCluster, _die_with_parent, free_ports

SWIFT = "swift==2.38.3"
VENV = Path(tempfile.gettempdir()) / "snakestack-test-cache" / SWIFT.replace("==", "-")
LAUNCH = Path(__file__).with_name("real_swift_launch.py")
ONCE_TIMEOUT = 120
MODULES = {"proxy_server": "swift.proxy.server", "object_server": "swift.obj.server",
           "container_server": "swift.container.server",
           "account_server": "swift.account.server"}
DAEMONS = {"object": ("replicator", "updater", "auditor", "reconstructor", "expirer"),
           "container": ("replicator", "updater", "auditor", "sharder", "reconciler"),
           "account": ("replicator", "reaper", "auditor")}
INTERNAL_CLIENT = """[DEFAULT]
swift_dir = {etc}
[pipeline:main]
pipeline = catch_errors proxy-logging cache proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = {memcached}
"""


def real_python() -> str:
    """The interpreter of the environment with real Swift; installed when it is missing."""
    VENV.parent.mkdir(exist_ok=True)
    packages.make_venv(VENV, SWIFT, [SWIFT, "setuptools<80"])
    return str(VENV / "bin/python")


def real_command(program: str, *arguments: str) -> list[str]:
    """The command of a module of real Swift, `swift.cli.info` or `swift.cli.info:run`."""
    return [real_python(), "-W", "ignore", str(LAUNCH), program, *arguments]


class MixedCluster(SwiftCluster):
    """A cluster of which the servers in `real` - (kind, node) - are real Swift's.

    `swap` moves a node from one to the other. rsync goes through a daemon of the cluster's own.
    """

    def __init__(self, root: Path, real: Iterable[tuple[str, int]] = (), sync_method="rsync",
                 **options) -> None:
        super().__init__(root, **options)
        self.real = set(real)
        self.sync_method = sync_method
        self.rsync_port, self.memcached_port = free_ports(2)
        self.extra: list[subprocess.Popen] = []
        self._log_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    # -- files -----------------------------------------------------------

    def configure(self) -> None:
        """As a plain cluster's, in words that both understand, with daemons and rsync."""
        super().configure()
        self.log_address = Path(tempfile.mkdtemp(prefix="swift-log-")) / "log"
        self._log_socket.bind(str(self.log_address))
        threading.Thread(target=self._write_log, daemon=True).start()
        memcached = f"127.0.0.1:{self.memcached_port}"
        for path in self.etc.glob("*-*.conf"):
            text = path.read_text().replace(
                f"{self.root}/none", str(self.log_address)).replace("workers = 1", "workers = 0")
            if path.name == "proxy-server.conf":
                for name in ("proxy-logging", "listing-formats", "container-quotas",
                             "account-quotas", "catch-errors", "etag-quoter"):
                    text = text.replace(f"egg:swift#{name}", "egg:swift#" + name.replace("-", "_"))
                text = text.replace("use = egg:swift#cache\n", "use = egg:swift#memcache\n"
                                    f"memcache_servers = {memcached}\n")
            path.write_text(text)
        rsyncd = [f"address = 127.0.0.1\nport = {self.rsync_port}\nuse chroot = no\n"
                  f"uid = {os.getuid()}\ngid = {os.getgid()}\nlog file = {self.root}/rsyncd.log\n"
                  f"pid file = {self.root}/rsyncd.pid\n"]
        internal = self.etc / "internal-client.conf"
        internal.write_text(INTERNAL_CLIENT.format(etc=self.etc, memcached=memcached))
        for (kind, n), port in self.ports.items():
            cache = self.root / f"cache{n}"
            cache.mkdir(exist_ok=True)
            with open(self.etc / f"{kind}-{n}.conf", "a") as conf:
                for name in DAEMONS[kind]:
                    conf.write(f"[{kind}-{name}]\nrecon_cache_path = {cache}\n"
                               f"internal_client_conf_path = {internal}\n"
                               "dequeue_from_legacy = true\n"
                               f"rsync_module = rsync://{{replication_ip}}:{self.rsync_port}/"
                               f"{kind}{{replication_port}}\nsync_method = {self.sync_method}\n")
            rsyncd.append(f"[{kind}{port}]\npath = {self.root}/n{n}\nread only = false\n"
                          f"max connections = 25\nlock file = {self.root}/rsync-{kind}{port}\n")
        (self.etc / "rsyncd.conf").write_text("".join(rsyncd))

    def _write_log(self) -> None:
        with open(self.root / "syslog", "ab", buffering=0) as log:
            try:
                while data := self._log_socket.recv(65536):
                    log.write(data.rstrip(b"\0") + b"\n")
            except OSError:
                pass

    # -- processes -------------------------------------------------------

    def __enter__(self):
        real_python()
        self.configure()
        try:
            for command in (
                    ["rsync", "--daemon", "--no-detach", f"--config={self.etc}/rsyncd.conf"],
                    ["memcached", "-u", "root", "-l", "127.0.0.1", "-p",
                     str(self.memcached_port), "-U", "0", "-m", "16"]):
                self.extra.append(subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent))
            self._wait_for_memcached()          # a proxy that finds none remembers that
            for kind, n in self.all():
                self.start(kind, n, wait=False)
            for kind, n in self.all():
                self.wait(kind, n)
        except BaseException:      # a test run that is interrupted leaves no servers
            self.stop()
            raise
        return self

    def _wait_for_memcached(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.memcached_port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        super().stop()
        for process in self.extra:
            process.kill()
            process.wait(30)
        self.extra.clear()
        self._log_socket.close()
        shutil.rmtree(self.log_address.parent, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ, SWIFT_DIR=str(self.etc), PYTHONDONTWRITEBYTECODE="1")

    def command(self, kind: str, n: int, module: str, *arguments: str) -> list[str]:
        """The command of a server or daemon of node n, from whomever the node is."""
        if (kind, n) in self.real:
            role, _, name = module.partition("_")
            program = MODULES.get(module) or \
                f"swift.{'obj' if role == 'object' else role}.{name}"
            return [real_python(), "-W", "ignore", str(LAUNCH), program, *arguments]
        return [self.python, "-W", "ignore", "-m", f"swift.cli.{module}", *arguments]

    def start(self, kind, n=0, wait=True):
        conf = "proxy-server.conf" if (kind, n) == ("proxy", 0) else f"{kind}-{n}.conf"
        with open(self.root / f"{kind}-{n}.log", "ab") as log:
            self.processes[kind, n] = subprocess.Popen(
                self.command(kind, n, f"{kind}_server", str(self.etc / conf)),
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_die_with_parent)
        if wait:
            self.wait(kind, n)

    def swap(self, n: int, real: bool) -> None:
        """End the servers of a node and start the others on its disk."""
        for kind in TYPES:
            self.kill(kind, n)
            (self.real.add if real else self.real.discard)((kind, n))
        for kind in TYPES:
            self.start(kind, n, wait=False)
        for kind in TYPES:
            self.wait(kind, n)

    def swap_object_server(self, n: int) -> None:
        """End the object server of a node and start the other one on its disk."""
        self.kill("object", n)
        self.real ^= {("object", n)}
        self.start("object", n)

    def once(self, module: str, n: int, *arguments: str, check: bool = True) -> str:
        """One pass of a daemon of node n, whoever's it is; what it logged on its console."""
        kind = module.partition("_")[0]
        real = (kind, n) in self.real
        how = ["-o", "-v"] if real else ["once", "verbose"]
        done = subprocess.run(
            self.command(kind, n, module, str(self.etc / f"{kind}-{n}.conf"), *how, *arguments),
            env=self.environment, capture_output=True, text=True, timeout=ONCE_TIMEOUT,
            check=False)
        output = done.stdout + done.stderr
        if check:
            assert done.returncode == 0 and "Traceback" not in output, output[-4000:]
        return output

    def node_once(self, n: int, daemon: str) -> None:
        """One pass of a daemon that all kinds of servers have, of each kind at the same time."""
        with ThreadPoolExecutor(len(TYPES)) as pool:
            list(pool.map(lambda kind: self.once(f"{kind}_{daemon}", n), TYPES))

    def everyone_once(self, module: str) -> None:
        """One pass of a daemon on each node."""
        for n in range(self.nodes):
            self.once(module, n)

    def ours(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
        """A program of ours with this cluster's configuration."""
        return subprocess.run([sys.executable, "-m", f"swift.cli.{module}", *arguments],
                              env=self.environment, capture_output=True, text=True,
                              timeout=ONCE_TIMEOUT, check=False)

    def theirs(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        """A program of real Swift with this cluster's configuration."""
        return subprocess.run(real_command(program, *arguments), env=self.environment,
                              capture_output=True, text=True, timeout=ONCE_TIMEOUT, check=False)
