# SPDX-License-Identifier: Apache-2.0
"""The object updater: delivers what container servers could not be told when it happened.

Each file in async_pending is one update. It is removed when every container server of its
container has it; who has it already is remembered in the file. A container that has been sharded
sends updates on to the shard they belong to; that is remembered too, so that no two shards send
one back and forth.
"""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from swift.common import durable, node_client, recon, safe_pickle
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int, config_rate, config_true
from swift.common.daemon import Daemon
from swift.common.devices import Brake, mounted_devices
from swift.common.progress import Progress
from swift.common.ring import Ring
from swift.common.storage import is_suffix
from swift.common.storage_policy import StoragePolicy, policies
from swift.common.timestamp import Timestamp
from swift.obj.container_brake import EVENTS, ContainerBrake

_OPS = ("PUT", "DELETE")
_PER_DEVICE = "object_updater_per_device"
_OLDEST = "failures_oldest_timestamp_account_containers"


@dataclass(frozen=True)
class Redirect:
    """The shard (account/container) an update belongs to, and how new that knowledge is."""

    path: str
    timestamp: Timestamp

    @classmethod
    def of(cls, headers: dict[str, str]) -> Redirect:
        """What a 301 says; ValueError when it does not."""
        location = headers.get("location", "")
        location = urlsplit(location).path if "://" in location else location
        if config_true(headers.get("x-backend-location-is-quoted", "")):
            location = unquote(location, errors="surrogateescape")
        parts = location.split("/", 3)
        if len(parts) < 3 or parts[0] or not all(parts[1:3]):
            raise ValueError(f"redirected to {location[:80]!r}")
        return cls(f"{parts[1]}/{parts[2]}",
                   Timestamp(headers.get("x-backend-redirect-timestamp", "")))


class Waiting(NamedTuple):
    """An update that waits: its file, and where that is."""

    path: str
    device_path: str
    policy: StoragePolicy


class ObjectUpdater(Daemon):
    """Delivers container updates that are waiting on disk.

    Options: devices, mount_check, swift_dir, interval, updater_workers (processes, among which the
    devices are divided), concurrency, objects_per_second, slowdown, report_interval,
    max_objects_per_container_per_second,
    per_container_ratelimit_buckets, max_deferred_updates (all of each process), node_timeout,
    conn_timeout, async_tracker_max_entries and async_tracker_dump_count (how many containers with
    late updates to remember, and to tell monitors of, for each device).
    """

    section = "object-updater"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 300)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", 8, 1)
        self.brake = Brake(config_rate(conf, "objects_per_second"))
        self.report_interval = config_float(conf, "report_interval", 300)
        self.container_rate = config_float(conf, "max_objects_per_container_per_second", 0)
        self.buckets = config_int(conf, "per_container_ratelimit_buckets", 1000, 1)
        self.most_deferred = config_int(conf, "max_deferred_updates", 10000)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self._ring: Ring | None = None
        self.dump_count = config_int(conf, "async_tracker_dump_count", 5)
        self.max_entries = config_int(conf, "async_tracker_max_entries", 100, 1)
        self._late: dict[str, dict[tuple[str, str], float]] = {}
        self._held: dict[str, dict[str, int]] = {}       # EVENTS of each device

    @property
    def container_ring(self) -> Ring:
        """The ring that says where containers are."""
        if self._ring is None:
            self._ring = Ring(self.swift_dir, ring_name="container")
        return self._ring

    def run_once(self) -> None:
        """Try each waiting update once."""
        start = time.monotonic()
        counts = {"successes": 0, "failures": 0, "quarantined": 0, "obsolete": 0}
        pool = GreenPool(self.concurrency)
        self._late, self._held = {}, {}
        progress = Progress(self.logger, self.report_interval)
        brake = ContainerBrake(self.container_rate, self.buckets, self.most_deferred,
                               self._note_held)
        for waiting in brake.let(self._all_waiting(counts), self._container_of,
                                 start + self.interval):
            pool.spawn_n(self._process_logged, waiting, counts)
            self.brake.spend()
            progress.tell("Updates in this sweep", sum(counts.values()))
        pool.waitall()
        self.measure(successes=counts["successes"], failures=counts["failures"],
                     quarantines=counts["quarantined"],
                     unlinks=counts["successes"], outdated_unlinks=counts["obsolete"])
        self.took("timing", start)
        counts.update({event: sum(held[event] for held in self._held.values())
                       for event in EVENTS})
        self.measure(**{event: counts[event] for event in EVENTS})
        if any(counts.values()):
            self.logger.info(
                "Object update sweep: %(successes)d successes, %(failures)d failures,"
                " %(quarantined)d quarantined, %(obsolete)d obsolete, %(skips)d skips,"
                " %(deferrals)d deferrals, %(drains)d drains", counts)
        self.logger.debug("Object update sweep took %.2f s", time.monotonic() - start)

    def _all_waiting(self, counts: dict[str, int]) -> Iterator[Waiting]:
        """The updates on this process's devices."""
        mine = self.shared_devices()
        for device, device_path in mounted_devices(self.devices, self.mount_check, self.logger):
            if device not in mine:
                continue
            self._late[device], self._held[device] = {}, dict.fromkeys(EVENTS, 0)
            for policy in policies():
                for path in self._waiting(f"{device_path}/{policy.asyncdir}", counts):
                    yield Waiting(path, device_path, policy)

    def _note_held(self, waiting: Waiting, event: str) -> None:
        self._held[os.path.basename(waiting.device_path)][event] += 1

    @staticmethod
    def _container_of(waiting: Waiting) -> str | None:
        """The container an update is for, or the shard it was sent on to; None when that cannot be
        read."""
        try:
            with open(waiting.path, "rb") as update_file:
                update = safe_pickle.loads(update_file.read())
            return str(update.get("container_path") or
                       f"{update['account']}/{update['container']}")
        except (OSError, UnpicklingError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def _local_devices(self) -> list[str]:
        return sorted(name for name, _ in mounted_devices(self.devices, False, self.logger))

    def shared_devices(self) -> list[str]:
        """The devices that are this process's."""
        number, count = self.share
        return self._local_devices()[number::count]

    def worker_count(self) -> int:
        wanted = config_int(self.conf, "updater_workers", 1)
        return max(1, min(wanted, len(self._local_devices())))

    def note_pass(self, seconds: float) -> None:
        if self.share[1] == 1:
            super().note_pass(seconds)
            return
        everyone = self._local_devices()
        recon.note_share(self.conf, self.section, seconds, self.logger, {},
                         self.shared_devices(), everyone)
        folder = recon.cache_path(self.conf)
        if os.path.isdir(folder):
            try:
                recon.revise(f"{folder}/object.recon", lambda known: self._together(
                    known.get(_PER_DEVICE, {}), everyone))
            except OSError as exc:
                self.logger.error("ERROR writing %s/object.recon: %s", folder, exc)

    def _together(self, known: dict[str, Any], everyone: list[str]) -> dict[str, Any]:
        """Facts of all devices: of this process's own, and what is known of the others'. A
        container that is late on several devices counts as often."""
        devices = {name: told for name, told in known.items() if name in everyone}
        devices.update(self._device_stats())
        entries = {(entry["account"], entry["container"], name): entry["timestamp"]
                   for name, told in devices.items()
                   for entry in told[_OLDEST]["oldest_entries"]}
        oldest: dict[tuple[str, str], float] = {}
        for (account, container, _), stamp in entries.items():
            oldest[account, container] = min(stamp, oldest.get((account, container), stamp))
        return {_PER_DEVICE: devices, "object_updater_stats": {**self._stats(oldest), **{
            name: sum(told.get(name, 0) for told in devices.values())
            for name in ("failures_account_container_count", "tracker_memory_usage", *EVENTS)}}}

    def facts(self) -> dict[str, Any]:
        """Whose updates have been waiting longest, of each device and in all."""
        together: dict[tuple[str, str], float] = {}
        for late in self._late.values():
            for names, stamp in late.items():
                together[names] = min(stamp, together.get(names, stamp))
        return {"object_updater_stats": {**self._stats(together), **{
            event: sum(held[event] for held in self._held.values()) for event in EVENTS}},
                _PER_DEVICE: self._device_stats()}

    def _device_stats(self) -> dict[str, dict[str, Any]]:
        return {device: {**self._stats(late), **self._held[device]}
                for device, late in self._late.items()}

    def _stats(self, late: dict[tuple[str, str], float]) -> dict[str, Any]:
        oldest = sorted((stamp, *names) for names, stamp in late.items())
        first = oldest[0][0] if oldest else None
        return {
            "failures_oldest_timestamp": first,
            "failures_oldest_timestamp_age": None if first is None else time.time() - first,
            "failures_account_container_count": len(oldest),
            _OLDEST: {
                "oldest_count": len(oldest[:self.dump_count]), "oldest_entries": [
                    {"timestamp": stamp, "account": account, "container": container}
                    for stamp, account, container in oldest[:self.dump_count]]},
            "tracker_memory_usage": sum(len(a) + len(c) + 200 for _, a, c in oldest)}

    def _note_late(self, device_path: str, account: str, container: str, stamp: float) -> None:
        """Remember the oldest update a container waits for; the youngest go when there are many."""
        late = self._late.setdefault(os.path.basename(device_path), {})
        names = (account, container)
        late[names] = min(stamp, late.get(names, stamp))
        if len(late) > self.max_entries:
            del late[max(late, key=lambda each: late[each])]

    @staticmethod
    def _waiting(base: str, counts: dict[str, int]) -> Iterator[str]:
        """Update files, of each object only the newest; older ones are removed."""
        try:
            suffixes = [name for name in os.listdir(base) if is_suffix(name)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for suffix in suffixes:
            last = None
            for name in sorted(os.listdir(f"{base}/{suffix}"), reverse=True):
                name_hash, dash, stamp = name.partition("-")
                if not dash or name.startswith("."):
                    continue
                if name_hash == last:
                    durable.unlink_quietly(f"{base}/{suffix}/{name}")
                    counts["obsolete"] += 1
                    continue
                last = name_hash
                yield f"{base}/{suffix}/{name}"
            durable.rmdir_quietly(f"{base}/{suffix}")

    def _process_logged(self, waiting: Waiting, counts: dict[str, int]) -> None:
        try:
            counts[self.process(*waiting)] += 1
        except FileNotFoundError:
            pass                                    # overwritten or delivered by someone else
        except OSError as exc:
            counts["failures"] += 1
            self.logger.error("ERROR update %s: %s", waiting.path, exc)

    def process(self, path: str, device_path: str, policy: Any) -> str:
        """Deliver one update file: `successes`, `failures` or `quarantined`."""
        with open(path, "rb") as update_file:
            data = update_file.read()
        try:
            update = safe_pickle.loads(data)
            headers = {str(name): str(value) for name, value in update["headers"].items()}
            names = [str(update[key]) for key in ("account", "container", "obj")]
            if update["op"] not in _OPS:
                raise ValueError(f"op is {update['op']!r}")
            Timestamp(headers["X-Timestamp"])
            done = [int(device) for device in update.get("successes", [])]
        except (UnpicklingError, KeyError, TypeError, ValueError, AttributeError) as exc:
            self._quarantine(path, device_path, policy, exc)
            return "quarantined"
        headers.setdefault("X-Backend-Storage-Policy-Index", str(policy.index))
        headers.setdefault("X-Backend-Accept-Redirect", "true")
        headers.setdefault("X-Backend-Accept-Quoted-Location", "true")
        headers["User-Agent"] = f"object-updater {os.getpid()}"
        outcome = self._deliver(update, names, headers, done)
        if outcome == "redirected":
            self.measure(redirects=1)
            outcome = self._deliver(update, names, headers, [])
        if outcome == "successes":
            durable.unlink_quietly(path)
            durable.rmdir_quietly(os.path.dirname(path))
            return outcome
        changed = safe_pickle.dumps(update)
        if changed != data:
            durable.write_file(path, changed, f"{device_path}/{policy.tmpdir}")
        self._note_late(device_path, names[0], names[1], float(Timestamp(headers["X-Timestamp"])))
        return "failures"

    def _deliver(self, update: dict[str, Any], names: list[str], headers: dict[str, str],
                 done: list[int]) -> str:
        """Send an update to the servers that lack it: `successes`, `failures` or `redirected`.
        What came of it is noted in `update`."""
        where = (update.get("container_path") or "/".join(names[:2])).split("/", 1)
        part, nodes = self.container_ring.get_nodes(*where)
        lacking = [node for node in nodes if node["id"] not in done]
        answers = [self._send(node, part, update["op"], where, names[2], headers)
                   for node in lacking]
        if all(answer is True for answer in answers):
            return "successes"
        moved = [answer for answer in answers if isinstance(answer, Redirect)]
        if moved:
            update.pop("successes", None)
            history = update.setdefault("redirect_history", [])
            target = max(moved, key=lambda redirect: redirect.timestamp).path
            if target in history:                # in a circle: begin anew at the root
                update["container_path"], update["redirect_history"] = None, []
            else:
                update["container_path"] = target
                history.append(target)
            return "redirected"
        if any(answers):
            update["successes"] = done + [node["id"] for node, answer in zip(
                lacking, answers, strict=True) if answer]
        return "failures"

    def _send(self, node: dict[str, Any], part: int, op: str, where: list[str], obj: str,
              headers: dict[str, str]) -> bool | Redirect:
        """Whether a server has taken an update, or where it says that it belongs."""
        began = time.monotonic()
        try:
            answer = node_client.request(
                node.get("replication_ip") or node["ip"],
                node.get("replication_port") or node["port"], op,
                node_client.path_of(node["device"], part, *where, obj), headers, b"",
                self.conn_timeout, self.node_timeout)
            self.took(f"updater.timing.status.{answer.status}", began)
            if answer.status == 301:
                return Redirect.of(answer.headers)
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR update to %s:%s/%s: %s", node["ip"], node["port"],
                              node["device"], exc)
            return False
        if answer.status // 100 != 2:
            self.logger.debug("update to %s:%s/%s answered %d", node["ip"], node["port"],
                              node["device"], answer.status)
        return answer.status // 100 == 2

    def _quarantine(self, path: str, device_path: str, policy: Any, exc: Exception) -> None:
        target = f"{device_path}/quarantined/{policy.asyncdir}/{os.path.basename(path)}"
        durable.rename(path, target)
        self.logger.error("ERROR update %s cannot be read (%s): moved to %s", path, exc, target)
