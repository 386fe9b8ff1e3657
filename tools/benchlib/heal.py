# SPDX-License-Identifier: Apache-2.0
"""tools/bench heal: how long replicators take to refill an emptied device, ours and real Swift's.

Four nodes of one device each, three replicas, rsync by a daemon: replicators of three nodes run
once while the fourth has lost what it held. Both sides work on the very same disks, rings and
configuration, one after the other, so that nothing but the programs differs; real Swift comes from
PyPI. A case in which not every file came back is an error, not a figure.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stacklib import packages

from .accounting import Meter
from .load import Request, send

PEER = "swift==2.38.3"
NODES = (1, 2, 3, 4)
EMPTIED, HEALERS = 1, (2, 3, 4)
KINDS = ("object", "container", "account")
PART_POWER, REPLICAS = 10, 3
OBJECT_BYTES = 4096
PER_CONTAINER, PER_ACCOUNT = 10, 4           # objects of a container, containers of an account
START_TIMEOUT = 60.0
PASS_TIMEOUT = 1200.0
PAUSE = 0.1
# Real Swift's daemons look for swift.conf in /etc/swift alone unless told before they are loaded.
LAUNCH = """
import importlib, os, sys
from swift.common import utils
utils.set_swift_dir(os.environ["SWIFT_DIR"])
from swift.common import constraints, storage_policy
storage_policy.reload_storage_policies()
constraints.reload_constraints()
sys.argv = sys.argv[1:]
sys.exit(importlib.import_module(sys.argv[0]).main())
"""
DAEMON = """\
[DEFAULT]
swift_dir = {etc}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
user = root
"""
SERVER = DAEMON + """\
mount_check = false
devices = {root}/n{node}
recon_cache_path = {root}/cache{node}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[{kind}-replicator]
sync_method = {method}
rsync_module = rsync://{{replication_ip}}:{rsync_port}/{kind}{{replication_port}}
"""
PROXY = DAEMON + """\
[pipeline:main]
pipeline = catch_errors proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
"""
MODULE = "[{kind}{port}]\npath = {root}/n{node}\nread only = false\nmax connections = 25\n" \
         "lock file = {root}/rsync-{kind}{port}\n"


@dataclass
class Side:
    """Whose programs are run."""

    name: str
    python: str
    real: bool

    def command(self, kind: str, role: str, *arguments: str) -> list[str]:
        """The command of a server or replicator."""
        if not self.real:
            return [self.python, "-W", "ignore", "-m", f"swift.cli.{kind}_{role}", *arguments]
        module = f"swift.{'obj' if kind == 'object' else kind}.{role}"
        return [self.python, "-P", "-W", "ignore", "-c", LAUNCH, module, *arguments]


@dataclass
class Case:
    """One thing to be timed; nothing is emptied in a steady one."""

    title: str
    kind: str
    method: str = "rsync"
    at_once: bool = True
    emptied: bool = True


CASES = (
    Case("object: nothing missing", "object", emptied=False),
    Case("object: rsync, 3 at once", "object"),
    Case("object: rsync, in turn", "object", at_once=False),
    Case("object: ssync, 3 at once", "object", "ssync"),
    Case("object: ssync, in turn", "object", "ssync", at_once=False),
    Case("container: nothing missing", "container", emptied=False),
    Case("container: 3 at once", "container"),
    Case("container: in turn", "container", at_once=False),
    Case("account: 3 at once", "account"),
)


@dataclass
class Figure:
    """Seconds of a case: wall, CPU of the replicators with their rsyncs, CPU of the servers."""

    wall: float
    replicators: float
    servers: float


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


class Nodes:
    """The disks, rings and configuration below `root`, and the processes that run on them."""

    def __init__(self, root: Path) -> None:
        self.root, self.etc = root, root / "etc"
        ports = _ports(len(NODES) * len(KINDS) + 2)
        self.proxy_port, self.rsync_port = ports.pop(), ports.pop()
        self.ports = {(kind, node): ports.pop() for kind in KINDS for node in NODES}
        self.environment = dict(os.environ, SWIFT_DIR=str(self.etc), PYTHONDONTWRITEBYTECODE="")
        self._configure()
        self._make_rings()

    def _configure(self) -> None:
        self.etc.mkdir()
        (self.etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = heal\n"
                                             "swift_hash_path_suffix = bench\n")
        (self.etc / "proxy.conf").write_text(PROXY.format(etc=self.etc, port=self.proxy_port))
        rsyncd = [f"address = 127.0.0.1\nport = {self.rsync_port}\nuse chroot = no\n"
                  f"uid = {os.getuid()}\ngid = {os.getgid()}\nlog file = {self.root}/rsyncd.log\n"
                  f"pid file = {self.root}/rsyncd.pid\n"]
        for (kind, node), port in self.ports.items():
            (self.root / f"n{node}/d{node}").mkdir(parents=True, exist_ok=True)
            (self.root / f"cache{node}").mkdir(exist_ok=True)
            for method in ("rsync", "ssync"):
                self.conf(kind, node, method).write_text(SERVER.format(
                    etc=self.etc, port=port, root=self.root, node=node, kind=kind, method=method,
                    rsync_port=self.rsync_port))
            rsyncd.append(MODULE.format(kind=kind, port=port, root=self.root, node=node))
        (self.etc / "rsyncd.conf").write_text("".join(rsyncd))

    def conf(self, kind: str, node: int, method: str = "rsync") -> Path:
        """The configuration of a node's server and replicator of a kind."""
        return self.etc / f"{kind}-{node}-{method}.conf"

    def _make_rings(self) -> None:
        from swift.common.ring import RingBuilder
        for kind in KINDS:
            builder = RingBuilder(PART_POWER, REPLICAS, 0)
            for node in NODES:
                builder.add_dev({"region": 1, "zone": node, "ip": "127.0.0.1", "weight": 1,
                                 "port": self.ports[kind, node], "device": f"d{node}"})
            builder.rebalance(seed="bench")
            builder.get_ring().save(str(self.etc / f"{kind}.ring.gz"))

    def folder(self, kind: str) -> Path:
        """What the emptied device holds of a kind."""
        return self.root / f"n{EMPTIED}/d{EMPTIED}/{kind}s"

    def held(self, kind: str) -> int:
        """How many files of a kind are on the device that is emptied."""
        end = ".data" if kind == "object" else ".db"
        return sum(1 for _ in self.folder(kind).rglob("*" + end))

    # -- processes -------------------------------------------------------

    def start(self, command: list[str], log: str) -> subprocess.Popen:
        with open(self.root / f"{log}.log", "ab") as out:
            return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=out, start_new_session=True)

    @contextlib.contextmanager
    def running(self, commands: dict[int, list[str]]) -> Iterator[Meter]:
        """Daemons by the port they take connections at; ended afterwards."""
        started: list[subprocess.Popen] = []
        try:
            for port, command in commands.items():
                started.append(self.start(command, f"server-{port}"))
            for process, port in zip(started, commands, strict=True):
                self._wait(process, port)
            yield Meter(lambda: [process.pid for process in started])
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _wait(self, process: subprocess.Popen, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (self.root / f"server-{port}.log").read_text(errors="replace")
                    raise RuntimeError(f"not up: {process.args!r}\n{log[-3000:]}") from None
                time.sleep(PAUSE)

    def storage(self, side: Side) -> dict[int, list[str]]:
        """The commands of all storage servers, and of rsync's."""
        commands = {port: side.command(kind, "server", str(self.conf(kind, node)))
                    for (kind, node), port in self.ports.items()}
        return {**commands, self.rsync_port: ["rsync", "--daemon", "--no-detach",
                                              f"--config={self.etc}/rsyncd.conf"]}

    def fill(self, side: Side, count: int) -> None:
        """Store `count` objects through a proxy."""
        proxy = side.command("proxy", "server", str(self.etc / "proxy.conf"))
        body = os.urandom(OBJECT_BYTES)
        with self.running({**self.storage(side), self.proxy_port: proxy}):
            url = f"http://127.0.0.1:{self.proxy_port}/v1"
            boxes = [f"/AUTH_{number // PER_ACCOUNT}/c{number}"
                     for number in range(max(1, count // PER_CONTAINER))]
            send(url, "", [Request("PUT", box) for box in boxes], workers=8)
            send(url, "", [Request("PUT", f"{boxes[number % len(boxes)]}/o{number}", body)
                           for number in range(count)])

    # -- a case ----------------------------------------------------------

    def measure(self, side: Side, case: Case, servers: Meter) -> Figure:
        """Empty the device if that is the case, run three replicators once, look what came back.

        :raises RuntimeError: a replicator failed, or files are missing afterwards
        """
        before = self.held(case.kind)
        if case.emptied:
            shutil.rmtree(self.folder(case.kind))
        commands = [side.command(case.kind, "replicator",
                                 str(self.conf(case.kind, node, case.method)), "--once",
                                 "--verbose") for node in HEALERS]
        log = f"{side.real and 'real' or 'ours'}-{case.kind}-replicator"
        start, cpu, used = time.monotonic(), 0.0, servers.seconds()
        for batch in [commands] if case.at_once else [[command] for command in commands]:
            for process in [self.start(command, log) for command in batch]:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    raise RuntimeError(f"{side.name}: {case.title}: exit {process.returncode}; "
                                       + (self.root / f"{log}.log").read_text()[-3000:])
                cpu += usage.ru_utime + usage.ru_stime
        wall = time.monotonic() - start
        if self.held(case.kind) < before:
            raise RuntimeError(f"{side.name}: {case.title}: {self.held(case.kind)} of {before} "
                               "files came back")
        return Figure(wall, cpu, servers.seconds() - used)


def _peer() -> Side:
    venv = Path(tempfile.gettempdir()) / "snakestack-test-cache" / PEER.replace("==", "-")
    venv.parent.mkdir(exist_ok=True)
    packages.make_venv(venv, PEER, [PEER, "setuptools<80"])
    return Side(PEER, str(venv / "bin/python"), real=True)


def _table(results: dict[str, dict[str, Figure]], sides: list[Side]) -> str:
    lines = [f"{'seconds: wall (CPU, of servers)':<30}"
             + "".join(f"{side.name:>24}" for side in sides) + f"{'ratio: wall':>13}{'CPU':>7}"]
    for title, row in results.items():
        cells = "".join(f"{f'{one.wall:.1f} ({one.replicators:.1f}, {one.servers:.1f})':>24}"
                        for one in row.values())
        if len(row) > 1:
            mine, theirs = row.values()
            cpu = (mine.replicators + mine.servers) / (theirs.replicators + theirs.servers)
            cells += f"{mine.wall / theirs.wall:>13.2f}{cpu:>7.2f}"
        lines.append(f"{title:<30}{cells}")
    return "\n".join(lines)


def run(count: int, only: str, with_peer: bool) -> str:
    """The table of figures of the cases whose title has `only` in it, side by side."""
    packages.apt_install(["rsync"])
    sides = [Side("snakestack", sys.executable, real=False), *([_peer()] if with_peer else [])]
    cases = [case for case in CASES if only in case.title]
    results: dict[str, dict[str, Figure]] = {case.title: {} for case in cases}
    with tempfile.TemporaryDirectory(prefix="snakestack-heal-") as root:
        nodes = Nodes(Path(root))
        nodes.fill(sides[0], count)
        for side in sides:
            with nodes.running(nodes.storage(side)) as servers:
                for kind in {case.kind: None for case in cases}:      # hashes what was written
                    nodes.measure(side, Case("first pass", kind, emptied=False), servers)
                for case in cases:
                    results[case.title][side.name] = nodes.measure(side, case, servers)
    return _table(results, sides)
