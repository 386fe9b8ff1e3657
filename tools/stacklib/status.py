# SPDX-License-Identifier: Apache-2.0
"""What runs, what it answers, what it costs: memory as PSS, CPU as a share of one core."""
import contextlib
import json
import time
from typing import Any

import psutil

from . import daemons, guest
from .layout import Cloud
from .progress import say
from .supervise import SUPERVISORD, Supervisor

SAMPLE = 2.0  # seconds over which CPU is measured


def pss(pid: int) -> int:
    """Proportional set size in bytes: shared pages are counted once over all who share them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rows:
        for row in rows:
            if row.startswith("Pss:"):
                return int(row.split()[1]) * 1024
    return 0


def family(pid: int) -> list[psutil.Process]:
    """A daemon and its workers."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int, alone: bool = False) -> float:
    """CPU a daemon and, unless `alone`, what it started used since they started."""
    used = 0.0
    for process in family(pid)[:1 if alone else None]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def gather(cloud: Cloud) -> dict[str, Any]:
    """The state of each daemon: state, pid, answers, pss (bytes), cpu (share of a core)."""
    processes = Supervisor(cloud).processes()
    known = {daemon.name: daemon for daemon in daemons.of(cloud)}
    pids = {name: info["pid"] for name, info in processes.items()}
    before, start = {
        name: cpu_seconds(pid, name == SUPERVISORD) for name, pid in pids.items()}, time.monotonic()
    time.sleep(SAMPLE if pids else 0)
    elapsed = time.monotonic() - start
    rows = {}
    for name in [*known, SUPERVISORD]:
        info = processes.get(name, {"statename": "STOPPED", "pid": 0, "start": 0})
        up = info["statename"] == "RUNNING"
        answers = known[name].answers if name in known else None
        alone = name == SUPERVISORD  # what it started are rows of their own
        members = family(info["pid"])[:1 if alone else None] if up else []
        rows[name] = {
            "state": info["statename"], "pid": info["pid"],
            "answers": up and (answers is None or answers()),
            "seconds": int(time.time() - info["start"]) if up else 0,
            "pss": sum(pss(process.pid) for process in members),
            "cpu": (cpu_seconds(info["pid"], alone) - before[name]) / elapsed if up else 0.0,
        }
    return {"data": str(cloud.data), "services": cloud.services, "compute": cloud.compute,
            "port_base": cloud.port_base, "daemons": rows, "guests": guest.running(cloud)}


def show(cloud: Cloud, as_json: bool) -> int:
    """Print it; 0 when every daemon answers, else 1."""
    found = gather(cloud)
    rows = found["daemons"]
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        say(f"{'daemon':<20}{'state':<10}{'answers':<9}{'pid':>8}{'up s':>8}{'PSS MB':>9}"
            f"{'CPU %':>8}")
        for name, row in rows.items():
            say(f"{name:<20}{row['state']:<10}{'yes' if row['answers'] else 'NO':<9}"
                f"{row['pid']:>8}{row['seconds']:>8}{row['pss'] / 1e6:>9.1f}"
                f"{100 * row['cpu']:>8.1f}")
        own = [row for name, row in rows.items() if name != "keystone"]
        say(f"{'all but keystone':<47}{'':>8}{sum(row['pss'] for row in own) / 1e6:>9.1f}"
            f"{100 * sum(row['cpu'] for row in own):>8.1f}")
        say(f"compute: {found['compute']}; guests running: {', '.join(found['guests']) or 'none'}")
    return 0 if rows and all(row["answers"] for row in rows.values()) else 1
