# SPDX-License-Identifier: Apache-2.0
"""Processes of ours that nobody looks after, or that have run for long: swift-orphans, -oldies."""
from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from swift.operations.servers import program_of


@dataclass(frozen=True)
class Found:
    """A process: its age in whole hours, its pid and its command line from `swift-` on."""

    hours: int
    pid: int
    command: str


def processes(hours: float) -> list[Found]:
    """Servers and daemons at least `hours` old, oldest first. Tools and `once` do not count."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            program = program_of(command)
            age = (time.time() - process.create_time()) / 3600
            dead = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if not dead and program and program not in ("orphans", "oldies") and age >= hours:
            found.append(Found(int(age), process.pid, " ".join(
                [program, *command[_place(command, program) + 1:]])))
    return sorted(found, key=lambda one: (-one.hours, one.pid))


def _place(command: list[str], program: str) -> int:
    return next(i for i, word in enumerate(command) if program_of([word]) == program)


def orphans(run_dir: str, hours: float) -> list[Found]:
    """Of those, the ones no pid file below `run_dir` names, nor their parents'."""
    known = _known(run_dir)
    return [one for one in processes(hours)
            if one.pid not in known and "once" not in one.command.split()]


def _known(run_dir: str) -> set[int]:
    known: set[int] = set()
    for path in Path(run_dir).rglob("*.pid*"):
        try:
            pid = int(path.read_text().strip())
            known.add(pid)
            known.update(child.pid for child in psutil.Process(pid).children(recursive=True))
        except (OSError, ValueError, psutil.Error):
            continue
    return known


def table(found: Iterable[Found], wide: bool = False) -> str:
    """Lines of hours, pid and command; clipped to 80 columns unless `wide`."""
    rows = [("Hours", "PID", "Command"), *((str(f.hours), str(f.pid), f.command) for f in found)]
    hours, pids = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = (f"{row[0]:>{hours}} {row[1]:>{pids}} {row[2]}" for row in rows)
    return "\n".join(line if wide else line[:80] for line in lines)


def kill(found: Iterable[Found], number: int) -> None:
    """A signal to each; those that have gone meanwhile are none the worse."""
    for one in found:
        try:
            os.kill(one.pid, number)
        except ProcessLookupError:
            pass
