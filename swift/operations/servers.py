# SPDX-License-Identifier: Apache-2.0
"""Which servers and daemons there are on a node, by their configuration files and pid files.

    /etc/swift/object-server.conf       RUN_DIR/object-server.pid, object-replicator.pid, ...
    /etc/swift/object-server/1.conf     RUN_DIR/object-server/1.pid, ...

Names, places and order are OpenStack Swift's, so that either's swift-init can stop what the
other has started.
"""
from __future__ import annotations

import fnmatch
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from swift.common.conf import read_sections
from swift.common.exceptions import ConfigError

RUN_DIR = "/var/run/swift"
MAIN = ("proxy-server", "account-server", "container-server", "object-server")
REST = ("account-auditor", "account-reaper", "account-replicator", "container-auditor",
        "container-reconciler", "container-replicator", "container-sharder", "container-sync",
        "container-updater", "object-auditor", "object-expirer", "object-reconstructor",
        "object-replicator", "object-updater")
ALL = MAIN + REST
GROUPS = {"all": ALL, "main": MAIN, "rest": REST}
OWN_FILES = ("container-reconciler",)      # with a configuration file of its own name


class UnknownServer(ValueError):
    """No server or daemon has that name."""


@dataclass(frozen=True)
class Process:
    """A running server: its process, pid file and configuration file."""

    server: Server
    pid: int
    pid_file: Path

    @property
    def conf(self) -> Path:
        """Where its configuration is, by the pid file's name."""
        return self.server.conf_of(self.pid_file)

    def __str__(self) -> str:
        return f"{self.server.name} running ({self.pid} - {self.conf})"


@dataclass(frozen=True)
class Server:
    """One kind of server or daemon, and perhaps only the instance with configuration `only`."""

    name: str
    swift_dir: Path
    run_dir: Path
    only: str = ""

    @property
    def conf_name(self) -> str:
        """The name of the file or folder its configuration is in, without .conf."""
        return self.name if self.name in OWN_FILES else \
            self.name.partition("-")[0] + "-server"

    def conf_files(self, number: int = 0) -> list[Path]:
        """Its configuration files and folders in order; only the one of `number`, from 1, if given.

        An object-expirer's is that of the object servers that have its section, else its own.
        """
        found = list(_conf_paths(self.swift_dir, self.conf_name))
        if self.name == "object-expirer":
            found = [path for path in found if _has_section(path, self.name)] or \
                list(_conf_paths(self.swift_dir, self.name))
        if self.only:
            found = [path for path in found if path.stem == self.only
                     and path.parent != self.swift_dir]
        return found[number - 1:number] if number else found

    def pid_file(self, conf: Path) -> Path:
        """Where the pid of the instance with that configuration is kept."""
        relative = str(conf.relative_to(self.swift_dir))
        if not relative.startswith(self.name):
            relative = self.name + relative.removeprefix(self.conf_name)
        head, dot, tail = relative.rpartition(".conf")
        return self.run_dir / f"{head}{'.pid' if dot else ''}{tail}"

    def conf_of(self, pid_file: Path) -> Path:
        """The inverse of `pid_file`, by the files that are there."""
        for path in self.conf_files():
            if self.pid_file(path) == pid_file:
                return path
        relative = str(pid_file.relative_to(self.run_dir))
        head, _, tail = relative.rpartition(".pid")
        return self.swift_dir / f"{self.conf_name}{head.removeprefix(self.name)}.conf{tail}"

    def running(self, number: int = 0) -> list[Process]:
        """Instances that run; pid files of those that do not are removed."""
        wanted = {self.pid_file(path) for path in self.conf_files(number)} \
            if number or self.only else None
        found = []
        for path in sorted(self._pid_files()):
            if wanted is not None and path not in wanted:
                continue
            pid = _read_pid(path)
            if pid and is_swift(pid, self.name):
                found.append(Process(self, pid, path))
            else:
                path.unlink(missing_ok=True)
        return found

    def _pid_files(self) -> Iterator[Path]:
        yield from self.run_dir.glob(f"{self.name}.pid*")
        yield from (self.run_dir / self.name).rglob("*.pid*")


def _conf_paths(swift_dir: Path, name: str) -> Iterator[Path]:
    for path in sorted(swift_dir.glob(f"{name}*")):
        if path.name.endswith((".conf", ".conf.d")):
            yield path
        elif path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.name.endswith((".conf", ".conf.d"))
                              and ".conf.d" not in p.parent.name)


def _has_section(path: Path, section: str) -> bool:
    try:
        return section in read_sections(str(path))
    except ConfigError:
        return False


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return 0


def program_of(command: list[str]) -> str:
    """`object-server` for a command line that runs it, as a script or as a module; else ""."""
    for word in command[:6]:
        name = os.path.basename(word)
        if name.startswith("swift-") and "/" in word:
            return name.removeprefix("swift-")
        if word.startswith("swift.cli."):
            return word.removeprefix("swift.cli.").replace("_", "-")
        if "/swift/cli/" in word and name.endswith(".py"):
            return name.removesuffix(".py").replace("_", "-")
    return ""


def is_swift(pid: int, name: str = "") -> bool:
    """Whether a process lives and is that server (or any of ours): pids are used again."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        program = program_of(process.cmdline())
    except psutil.Error:
        return False
    return program == name if name else bool(program)


def servers_named(words: Iterable[str], swift_dir: str, run_dir: str) -> list[Server]:
    """What operators mean by `all`, `main`, `rest`, `object`, `object-*`, `object.1`, ...

    UnknownServer for a name that is none.
    """
    found: dict[tuple[str, str], Server] = {}
    for word in words:
        name, _, only = word.partition(".")
        names: Iterable[str]
        if name in GROUPS:
            names = GROUPS[name]
        elif "*" in name:
            names = fnmatch.filter(ALL, name)
        else:
            names = [name] if name in ALL else [f"{name}-server"]
        for one in names:
            if one not in ALL:
                raise UnknownServer(f"{word!r} is no server")
            found[one, only] = Server(one, Path(swift_dir), Path(run_dir), only)
    if not found:
        raise UnknownServer("no server has such a name")
    order = {name: number for number, name in enumerate(ALL)}
    return sorted(found.values(), key=lambda server: (order[server.name], server.only))


def ended(pids: Iterable[int], seconds: float) -> Iterator[int]:
    """The processes that are gone, as they go; those that stay are not told within `seconds`."""
    left = set(pids)
    deadline = time.monotonic() + seconds
    while left:
        gone = {pid for pid in left if not is_swift(pid)}
        yield from sorted(gone)
        left -= gone
        if not left or time.monotonic() >= deadline:
            return
        time.sleep(0.1)


def kill_group(pid: int) -> None:
    """SIGKILL to a server and its workers."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
