# SPDX-License-Identifier: Apache-2.0
"""Links objects into the places of a greater partition power, and removes the places of before.

One `Relinker` works on one device and policy. What is done is kept partition by partition in
`relink.<datadir>.json` on the device, in OpenStack Swift's words, so that a pass that was ended
goes on where it was. Only swift-object-relinker calls.
"""
from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from swift.common import durable
from swift.common.devices import Brake, partitions
from swift.common.exceptions import LockTimeout
from swift.common.storage import is_hash, is_suffix
from swift.obj import hashes, partition_power
from swift.obj.ec_hashes import FragmentHasher
from swift.obj.ec_ondisk import DURABLE, choose_fragment
from swift.obj.ondisk import choose

RELINK, CLEANUP = "relink", "cleanup"
LOCK, STATE = ".relink.{}.lock", "relink.{}.json"


@dataclass
class Task:
    """What is to be done with a device: by which ring, how fast, and which partitions."""

    cleanup: bool
    datadir: str
    part_power: int
    next_part_power: int
    only: frozenset[int] = frozenset()
    clobber: bool = False
    reclaim_age: float = hashes.ONE_WEEK
    hasher: FragmentHasher | None = None      # of an erasure coded policy; it cleans up, too
    brake: Brake = field(default_factory=lambda: Brake(0))

    def clean_up(self, hash_dir: str) -> list[str]:
        """Remove what may go from an object's directory; the names that are left."""
        if self.hasher is not None:
            return self.hasher.clean_up(hash_dir)[1]
        return hashes.clean_up(hash_dir, self.reclaim_age)[1]

    def obsolete(self, names: Iterable[str]) -> set[str]:
        """Which of these would go if they were in one directory."""
        chosen = choose(sorted(names)) if self.hasher is None else \
            choose_fragment(names, self.hasher.unique)
        return {info.name for info in chosen.obsolete}

    def hash_partition(self, partition_dir: str) -> dict[str, Any]:
        """suffix -> hash, made anew where something changed."""
        return hashes.get_hashes(partition_dir, reclaim_age=self.reclaim_age,
                                 hasher=self.hasher)[1]


class Relinker:
    """Goes over one device. `counts` and `state` tell how far it is."""

    def __init__(self, device_path: str, task: Task, logger: logging.Logger,
                 progress: Callable[[Relinker], None] = lambda _: None) -> None:
        self.device_path, self.task, self.logger = device_path, task, logger
        self.progress = progress
        self.base = f"{device_path}/{task.datadir}"
        self.counts = dict.fromkeys(("hash_dirs", "files", "linked", "removed", "errors"), 0)
        self.state: dict[str, bool] = {}
        self.started = time.time()
        self._previous_power: int | None = None
        self._dirty: set[int] = set()

    def run(self) -> bool:
        """One pass; whether nothing is left to be done. Waits while another one runs."""
        lock = os.open(f"{self.device_path}/{LOCK.format(self.task.datadir)}",
                       os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._read_state()
            self.progress(self)
            for partition in self._todo():
                before = self.counts["errors"]
                self._dirty = set()
                try:
                    self._one_partition(partition)
                except OSError as exc:
                    self.counts["errors"] += 1
                    self.logger.error("ERROR in partition %s of %s: %s", partition, self.base, exc)
                if self.counts["errors"] == before:
                    self.state[partition] = True
                    self._write_state()
                self.progress(self)
        finally:
            os.close(lock)
        return not self.counts["errors"]

    # -- what was done before --------------------------------------------

    @property
    def state_file(self) -> str:
        return f"{self.device_path}/{STATE.format(self.task.datadir)}"

    def _read_state(self) -> None:
        task = self.task
        try:
            with open(self.state_file, encoding="utf-8") as source:
                known = json.load(source)
            if known["next_part_power"] != task.next_part_power:
                raise ValueError("of another increase")
            if known["part_power"] != task.part_power:
                self._previous_power = int(known["part_power"])      # relinked; now cleaning up
                raise ValueError("of another step")
            self._previous_power = known.get("prev_part_power")
            self.state = {str(key): bool(value) for key, value in known["state"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError):
            durable.unlink_quietly(self.state_file)

    def _write_state(self) -> None:
        known: dict[str, Any] = {"part_power": self.task.part_power,
                                 "next_part_power": self.task.next_part_power,
                                 "state": self.state}
        if self._previous_power is not None:
            known["prev_part_power"] = self._previous_power
        durable.write_file(self.state_file, json.dumps(known).encode(), self.device_path)

    def _todo(self) -> list[str]:
        """Partitions still to be looked at, highest first: places to come are behind us then."""
        found = partitions(self.device_path, self.task.datadir)
        relinking = not self.task.cleanup
        power = self.task.part_power if relinking else self._previous_power
        if power is not None:
            found = [name for name in found if int(name) < 1 << power]
        if self.state:
            # What has come since is where it belongs already, or is looked at to be sure.
            for name in found:
                self.state.setdefault(name, relinking)
        else:
            self.state = dict.fromkeys(found, False)
        todo = sorted((name for name, done in self.state.items() if not done), key=int,
                      reverse=True)
        return [name for name in todo if not self.task.only or int(name) in self.task.only]

    # -- the work --------------------------------------------------------

    def _one_partition(self, partition: str) -> None:
        base = f"{self.base}/{partition}"
        for suffix in _names(base, is_suffix):
            for name in _names(f"{base}/{suffix}", is_hash):
                hash_dir = f"{base}/{suffix}/{name}"
                target = partition_power.place(hash_dir, self.task.next_part_power)
                if target != hash_dir:
                    self.move(hash_dir, target)
                    self.task.brake.spend()
        for dirty in self._dirty:
            # The upper half is not looked at again: its hashes are made here.
            if self.task.cleanup or dirty >= 1 << self.task.part_power:
                self.task.hash_partition(f"{self.base}/{dirty}")
        if self.task.cleanup and os.path.isdir(base):
            self._remove_if_empty(base)

    def move(self, hash_dir: str, target: str) -> None:
        """Link what counts of an object to its place to come; with cleanup, remove it here."""
        self.counts["hash_dirs"] += 1
        # That one first: else something might be obsolete there that is still looked for here.
        theirs = self.task.clean_up(target)
        ours = self.task.clean_up(hash_dir)
        obsolete = self.task.obsolete({*ours, *theirs})
        linked = missing = 0
        for name in set(ours) - obsolete:
            self.counts["files"] += 1
            try:
                linked += self._link(f"{hash_dir}/{name}", f"{target}/{name}")
            except OSError as exc:
                missing += 1
                self.logger.error("ERROR linking %s/%s: %s", hash_dir, name, exc)
        self.counts["linked"] += linked
        self.counts["errors"] += missing
        if linked:
            self.task.clean_up(target)
            self._dirty.add(int(target.split("/")[-3]))
            self._invalidate(target)
        if self.task.cleanup and not missing:
            self._remove(hash_dir, ours)

    def _link(self, source: str, target: str) -> bool:
        try:
            return partition_power.link(source, target)
        except partition_power.Collision:
            # Two nodes may have written a tombstone of the same time, or the old mark of what is
            # durable: they say the same.
            if source.endswith((".ts", DURABLE)) or (self.task.clobber and self.task.cleanup):
                return False
            if not self.task.clobber:
                raise
        moved = hashes.quarantine(os.path.dirname(target),
                                  f"{self.device_path}/quarantined/{self.task.datadir}")
        self.logger.warning("%s was another file than %s: moved to %s", target, source, moved)
        return partition_power.link(source, target)

    def _remove(self, hash_dir: str, names: Iterable[str]) -> None:
        removed = sum(durable.unlink_quietly(f"{hash_dir}/{name}") for name in names)
        self.counts["removed"] += removed
        if removed:
            self._invalidate(hash_dir)
        durable.rmdir_quietly(hash_dir)

    def _invalidate(self, hash_dir: str) -> None:
        try:
            hashes.invalidate(os.path.dirname(hash_dir))
        except (OSError, LockTimeout) as exc:
            self.logger.warning("Hashes of %s are not up to date: %s", hash_dir, exc)

    def _remove_if_empty(self, partition_dir: str) -> None:
        """Remove a partition nothing is left in, so that progress can be seen from outside."""
        if self.task.hash_partition(partition_dir):
            return
        with durable.lock_path(partition_dir):
            for name in (hashes.HASH_FILE, hashes.INVALIDATIONS_FILE, ".lock-replication", ".lock"):
                durable.unlink_quietly(f"{partition_dir}/{name}")
        durable.rmdir_quietly(partition_dir)


def _names(directory: str, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if wanted(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
