# SPDX-License-Identifier: Apache-2.0
"""What daemons leave for the recon filter: JSON files that tell of their last passes.

`object.recon`, `container.recon` and `account.recon` in recon_cache_path, with the names OpenStack
Swift's swift-recon asks for. Without that folder nothing is written.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

CACHE_PATH = "/var/cache/swift"

# section -> (file, name of the seconds a pass took, name of when it ended)
_PASSES = {
    "object-replicator": ("object", "object_replication_time", "object_replication_last"),
    "object-reconstructor": ("object", "object_reconstruction_time",
                             "object_reconstruction_last"),
    "object-auditor": ("object", "object_auditor_pass_completed", "object_auditor_last"),
    "object-updater": ("object", "object_updater_sweep", "object_updater_last"),
    "object-expirer": ("object", "object_expiration_pass", "object_expiration_last"),
    "container-replicator": ("container", "replication_time", "replication_last"),
    "container-updater": ("container", "container_updater_sweep", "container_updater_last"),
    "container-auditor": ("container", "container_auditor_pass_completed",
                          "container_auditor_last"),
    "container-sharder": ("container", "sharding_time", "sharding_last"),
    "account-replicator": ("account", "replication_time", "replication_last"),
    "account-auditor": ("account", "account_auditor_pass_completed", "account_auditor_last"),
}
# Of what shares of a pass tell, what are no counts.
_JOIN: dict[str, Callable[[list[float]], float]] = {"audit_time": max, "start_time": min}
_MINUTES = ("object_replication_time", "object_reconstruction_time")


def cache_path(conf: dict[str, str]) -> str:
    """The folder of the files."""
    return conf.get("recon_cache_path", CACHE_PATH)


def note_pass(conf: dict[str, str], section: str, seconds: float, logger: logging.Logger,
              facts: dict[str, Any] | None = None) -> None:
    """Remember that a daemon's pass has ended, and `facts` of it; what cannot be is logged."""
    if section not in _PASSES:
        return
    kind, took, ended = _PASSES[section]
    folder = cache_path(conf)
    if not os.path.isdir(folder):
        return
    try:
        update(os.path.join(folder, f"{kind}.recon"), {
            took: seconds / 60 if took in _MINUTES else seconds, ended: time.time(),
            **(facts or {})})
    except (OSError, ValueError) as exc:
        logger.error("ERROR writing %s/%s.recon: %s", folder, kind, exc)


def note_share(conf: dict[str, str], section: str, seconds: float, logger: logging.Logger,
               facts: dict[str, Any], mine: list[str], everyone: list[str]) -> None:
    """As `note_pass`, by one of several processes: it went over the devices `mine` of `everyone`.

    Kept for each device. Once there is something of all, the whole pass is the longest share, ended
    when the first did: since then each device has been looked at. A share's counts stand at its
    first device, so that their sum is right.
    """
    kind, took, ended = _PASSES[section]
    folder = cache_path(conf)
    if not os.path.isdir(folder):
        return
    path = os.path.join(folder, f"{kind}.recon")
    entry = {took: seconds / 60 if took in _MINUTES else seconds, ended: time.time(),
             "pid": os.getpid()}
    name = took.removesuffix("_time") + "_per_disk"
    try:
        with _locked(path):
            known = read(path)
            disks = {disk: told for disk, told in known.get(name, {}).items() if disk in everyone}
            for number, disk in enumerate(mine):
                disks[disk] = {**entry, **({} if number else facts)}
            known[name] = disks
            if set(disks) == set(everyone):
                known.update(_together(list(disks.values())))
            _write(path, known)
    except (OSError, ValueError) as exc:
        logger.error("ERROR writing %s: %s", path, exc)


def _together(told: list[dict[str, Any]]) -> dict[str, Any]:
    """What several shares of a pass make: counts added up, the longest time, the earliest end."""
    found: dict[str, Any] = {}
    for name in {name for entry in told for name in entry} - {"pid"}:
        values = [entry[name] for entry in told if name in entry]
        if isinstance(values[0], dict):
            found[name] = {key: _JOIN.get(key, sum)([value.get(key, 0) for value in values])
                           for key in values[0]}
        else:
            found[name] = min(values) if name.endswith("_last") else max(values)
    return found


def count_async(devices: str) -> int:
    """Updates of containers that wait on the node's devices."""
    count = 0
    for device in _folders(devices):
        for folder in _folders(device):
            if os.path.basename(folder).partition("-")[0] == "async_pending":
                count += sum(len(files) for _, _, files in os.walk(folder))
    return count


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir()]
    except OSError:
        return []


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(path + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def update(path: str, values: dict[str, Any]) -> None:
    """Merge values into a file; whoever reads it sees all of them or none."""
    with _locked(path):
        known = read(path)
        known.update(values)
        _write(path, known)


def _write(path: str, known: dict[str, Any]) -> None:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        json.dump(known, out)
    os.chmod(temporary, 0o644)
    os.rename(temporary, path)


def revise(path: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """As `update`, with what `change` makes of the values there are."""
    with _locked(path):
        known = read(path)
        known.update(change(known))
        _write(path, known)


def merge(path: str, values: dict[str, dict[str, Any]]) -> None:
    """As `update`, but values that are dictionaries keep what else is in them."""
    with _locked(path):
        known = read(path)
        for name, value in values.items():
            known[name] = {**known.get(name, {}), **value}
        _write(path, known)


def read(path: str) -> dict[str, Any]:
    """What a file says; nothing when there is none, or none that can be read."""
    try:
        with open(path, encoding="utf-8") as source:
            found = json.load(source)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
