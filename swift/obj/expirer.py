# SPDX-License-Identifier: Apache-2.0
"""The object expirer: deletes what has expired, so that listings and disks forget it too.

Object servers queue each object with an X-Delete-At as a row `<delete at>-<account>/<container>/
<object>` in a container of the hidden expiring account, named by the time. An expired object is a
404 from the second on; this daemon then writes the tombstones, on condition that it still has that
X-Delete-At. Rows of the type ASYNC_DELETE (swift-container-deleter, segments of large objects)
are of objects to be deleted as of that time, whatever they say themselves; those of the S3 API are
of multipart uploads whose parts go when nothing is made of them, see `part_sweep`.
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from hashlib import md5
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int
from swift.common.daemon import Daemon, Option
from swift.common.devices import Brake
from swift.common.exceptions import ConfigError
from swift.common.expiry import BUCKET_GONE, EMPTY, UNUSED_PARTS, Task, queue_container, row_name
from swift.common.progress import Progress
from swift.common.ring import Ring
from swift.common.shards import Namespace, top
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.obj.part_sweep import PartSweep, Unknown

_Entry = TypeVar("_Entry")
_DELAY = "delay_reaping_"
_PAGE = 1000
DAY = 86400
_GONE = (404, 409, 412)       # not there, newer, or to expire at another time: nothing to do


def _known(entries: Iterator[_Entry]) -> Iterator[_Entry]:
    """A listing as far as it is known."""
    try:
        yield from entries
    except Unknown:
        pass                     # which node did not answer is in the log; the next pass lists on


def read_delays(conf: dict[str, str]) -> dict[tuple[str, str], float]:
    """(account, container) -> seconds of the options delay_reaping_ACCOUNT[/CONTAINER], whose names
    are quoted; the container is empty for all of an account. ConfigError for what is neither."""
    found = {}
    for name in conf:
        if not name.startswith(_DELAY):
            continue
        account, slash, container = unquote(name.removeprefix(_DELAY)).partition("/")
        if not account or bool(slash) != bool(container) or "/" in container:
            raise ConfigError(f"{name} is not {_DELAY}ACCOUNT or {_DELAY}ACCOUNT/CONTAINER")
        found[account, container] = config_float(conf, name, 0)
    return found


class ObjectExpirer(Daemon):
    """Deletes expired objects.

    Options: swift_dir, interval, report_interval, concurrency, tasks_per_second, processes,
    process, node_timeout, conn_timeout, auto_create_account_prefix, expiring_objects_account_name,
    expiring_objects_container_divisor, delay_reaping_*.
    """

    section = "object-expirer"
    options = (Option(("--processes",), "processes", "how many expirers share the work"),
               Option(("--process",), "process", "which of them this is, from 0"))

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 300)
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", 1, 1)
        self.brake = Brake(config_float(conf, "tasks_per_second", 50))
        self.processes = config_int(conf, "processes", 0)
        self.process = config_int(conf, "process", 0)
        self.report_interval = config_float(conf, "report_interval", 300)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.account = conf.get("auto_create_account_prefix", ".") + \
            conf.get("expiring_objects_account_name", "expiring_objects")
        self.delays = read_delays(conf)
        self._rings: dict[str, Ring] = {}
        self.divisor = config_int(conf, "expiring_objects_container_divisor", 86400, 1)
        self.sweep = PartSweep(self)
        self.expired = 0

    def ring(self, name: str) -> Ring:
        """A ring by name."""
        if name not in self._rings:
            self._rings[name] = Ring(self.swift_dir, ring_name=name)
        return self._rings[name]

    def run_once(self) -> None:
        """Delete what has expired up to now."""
        counts = {"deleted": 0, "left": 0}
        pool = GreenPool(self.concurrency)
        progress = Progress(self.logger, self.report_interval)
        now = int(time.time())
        self.sweep.begin()
        for entry in _known(self.pages("account", (self.account,))):
            container = entry["name"]
            # A container may hold rows of up to one divisor after its name, and 100 s before.
            if container.isdigit() and int(container) > now:
                break
            for holder, row in _known(self.rows(self.account, container)):
                try:
                    task = Task.of(holder, row)
                except ValueError:
                    self.measure(**{"tasks.parse_errors": 1})
                    self.logger.error("ERROR queue row %r is none of an object", row["name"][:200])
                    continue
                if int(task.at) > now:
                    break
                if not self._mine(task.row):
                    self.measure(**{"tasks.skipped": 1})
                elif self._delayed(task, now):
                    self.measure(**{"tasks.delayed": 1})
                else:
                    self.measure(**{"tasks.assigned": 1})
                    pool.spawn_n(self._expire, task, counts)
                    self.brake.spend()
                    progress.tell("Rows of the queue in this pass", sum(counts.values()))
            pool.waitall()
            self._drop_empty(container, now)
        self.expired = counts["deleted"]
        self.measure(objects=counts["deleted"], errors=counts["left"])
        if any(counts.values()):
            self.logger.info("Expired %(deleted)d objects, %(left)d left for later", counts)

    def _delayed(self, task: Task, now: int) -> bool:
        """Whether what has expired is kept for those who may open it all the same."""
        account, container, _ = task.names
        delay = self.delays.get((account, container), self.delays.get((account, ""), 0))
        return not task.asynchronous and float(task.at) + delay > now

    def facts(self) -> dict[str, Any]:
        return {"expired_last_pass": self.expired}

    def _mine(self, row: str) -> bool:
        if not self.processes:
            return True
        return int.from_bytes(md5(row.encode("utf-8", "surrogateescape"), usedforsecurity=False)
                              .digest(), "big") % self.processes == self.process

    # -- requests --------------------------------------------------------

    def request(self, node: dict[str, Any], method: str, path: str, headers: dict[str, str]
                ) -> node_client.NodeAnswer | None:
        try:
            return node_client.request(node["ip"], node["port"], method, path,
                                       {"User-Agent": "object-expirer", **headers}, b"",
                                       self.conn_timeout, self.node_timeout)
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR %s %s on %s:%s: %s", method, path, node["ip"], node["port"],
                              exc)
            return None

    def pages(self, kind: str, names: tuple[str, ...], query: str = "", record: str = "object",
              marker: str = "") -> Iterator[dict[str, Any]]:
        """Entries of the listing of an account or container, from whichever replica answers; those
        of a container that is sharded are its shards, if `record` is auto. Unknown when no replica
        has it, and not all say that there is none."""
        part, nodes = self.ring(kind).get_nodes(*names)
        headers = {"X-Backend-Record-Type": record, "X-Backend-Allow-Reserved-Names": "true"}
        while True:
            absent = 0
            for node in nodes:
                path = node_client.path_of(node["device"], part, *names)
                answer = self.request(
                    node, "GET", f"{path}?format=json&limit={_PAGE}&marker={quote(marker)}{query}",
                    headers)
                if answer is not None and answer.status == 200:
                    break
                absent += answer is not None and answer.status == 404
            else:
                if absent < len(nodes):
                    raise Unknown
                return
            page = json.loads(answer.body)
            yield from page
            if not page or "lower" in page[-1]:        # shards come all at once
                return
            marker = page[-1]["name"]

    def rows(self, account: str, container: str, space: Namespace | None = None,
             above: frozenset[tuple[str, str]] = frozenset()
             ) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """(container, entry) of all rows of a container or, if it has any, of its shards.

        `space` is the part of the names to look at, `above` what has been divided: what one of
        those is still to be asked for is its own rows.
        """
        here = (account, container)
        space = space or Namespace("")
        query = "&states=listing" + (
            f"&end_marker={quote(space.end_marker)}" if space.end_marker else "")
        for entry in self.pages("container", here, query,
                                "object" if here in above else "auto", space.lower):
            if "lower" not in entry:
                yield here, entry
                continue
            shard = Namespace(entry["name"], max(entry["lower"], space.lower),
                              min(entry["upper"], space.upper, key=top))
            yield from self.rows(shard.account, shard.container, shard, above | {here})

    # -- one object ------------------------------------------------------

    def _expire(self, task: Task, counts: dict[str, int]) -> None:
        kind, began = task.kind.partition(";")[0], time.monotonic()
        done = self.sweep.upload(task) if kind == UNUSED_PARTS else \
            self.sweep.bucket(task) if kind == BUCKET_GONE else \
            self.delete_object(task.names, task.at) if task.asynchronous else \
            self._delete_expired(task)
        self.took("timing", began)
        if not done:
            counts["left"] += 1
            return
        part, nodes = self.ring("container").get_nodes(*task.holder)
        stamp = Timestamp.now().internal
        for node in nodes:
            self.request(node, "DELETE", node_client.path_of(
                node["device"], part, *task.holder, task.row), {"X-Timestamp": stamp})
        counts["deleted"] += 1

    def _delete_expired(self, task: Task) -> bool:
        """Delete what has expired, and what it was made of; whether each replica is gone."""
        try:
            parts = self.sweep.made_of(task)
        except Unknown:
            return False
        # In this order: see part_sweep.
        if parts is not None and not self._enter(parts):
            return False
        if not self.delete_object(task.names, task.at, False):
            return False
        if parts is not None:
            self.sweep.upload(parts)
        return True

    def _enter(self, task: Task) -> bool:
        """Whether most of its nodes have a row, due in a day or two, of what is to be looked after.
        On one day it is always the same one, however often this has to be tried."""
        due = Timestamp((int(time.time()) // DAY + 2) * DAY)
        queue = self.account, queue_container(int(due), self.divisor, *task.names)
        part, nodes = self.ring("container").get_nodes(*queue)
        headers = {"X-Timestamp": Timestamp.now().internal, "X-Size": "0", "X-Etag": EMPTY,
                   "X-Content-Type": task.kind, "X-Backend-Storage-Policy-Index": "0"}
        answers = [self.request(node, "PUT", node_client.path_of(
            node["device"], part, *queue, row_name(due, *task.names)), headers) for node in nodes]
        return sum(answer is not None and answer.status // 100 == 2
                   for answer in answers) > len(nodes) // 2

    def _container(self, account: str, container: str) -> dict[str, str]:
        """What is known of a container by headers; nothing when it is gone."""
        part, nodes = self.ring("container").get_nodes(account, container)
        for node in nodes:
            answer = self.request(node, "HEAD", node_client.path_of(
                node["device"], part, account, container), {})
            if answer is not None and "x-backend-storage-policy-index" in answer.headers:
                return answer.headers
        return {}

    def _row_holder(self, names: tuple[str, str, str], container: dict[str, str]
                    ) -> tuple[tuple[str, str], dict[str, str]]:
        """The container that has an object's row - itself or a shard - and what else tells object
        servers so. The root would take the row, too, and move it later."""
        state = container.get("x-backend-sharding-state", "unsharded")
        if state not in ("sharding", "sharded"):
            return names[:2], {}
        headers = {"X-Container-Root-Db-State": state}
        query = f"&states=updating&includes={quote(names[2], errors='surrogateescape')}"
        for entry in _known(self.pages("container", names[:2], query, "shard")):
            shard = Namespace(entry["name"], entry["lower"], entry["upper"])
            headers["X-Backend-Quoted-Container-Path"] = quote(shard.name)
            return (shard.account, shard.container), headers
        return names[:2], headers

    def delete_object(self, names: tuple[str, str, str], at: Timestamp,
                      asynchronous: bool = True) -> bool:
        """Write the tombstones; whether each replica has one or needs none."""
        found = self._container(*names[:2])
        index = found.get("x-backend-storage-policy-index", "0")
        policy = policies().by_index(index)
        if policy is None:
            return False
        part, nodes = self.ring(policy.ring_name).get_nodes(*names)
        holder, headers = self._row_holder(names, found)
        if power := self.ring(policy.ring_name).next_part_power:
            headers["X-Backend-Next-Part-Power"] = str(power)
        container_part, container_nodes = self.ring("container").get_nodes(*holder)
        headers.update({"X-Timestamp": at.internal, "X-Container-Partition":
                        str(container_part), "X-Backend-Storage-Policy-Index": index})
        if not asynchronous:
            headers.update({"X-If-Delete-At": str(int(at)),
                            "X-Backend-Clean-Expiring-Object-Queue": "no"})
        done = 0
        for number, node in enumerate(nodes):
            to = container_nodes[number % len(container_nodes)]
            answer = self.request(
                node, "DELETE", node_client.path_of(node["device"], part, *names), {
                    **headers, "X-Container-Host": f"{to['ip']}:{to['port']}",
                    "X-Container-Device": to["device"]})
            done += answer is not None and (answer.status // 100 == 2 or answer.status in _GONE)
        return done == len(nodes)

    def _drop_empty(self, container: str, now: int) -> None:
        """Delete a queue container no new row will go to; one that is not empty refuses."""
        if not container.isdigit() or int(container) > now - 2 * 86400:
            return
        self.delete_container(self.account, container)

    def delete_container(self, account: str, container: str) -> bool:
        """Whether it is gone on each of its nodes now; one that is not empty stays."""
        part, nodes = self.ring("container").get_nodes(account, container)
        account_part, account_nodes = self.ring("account").get_nodes(account)
        done = 0
        for number, node in enumerate(nodes):
            to = account_nodes[number % len(account_nodes)]
            answer = self.request(node, "DELETE", node_client.path_of(
                node["device"], part, account, container), {
                "X-Timestamp": Timestamp.now().internal,
                "X-Account-Host": f"{to['ip']}:{to['port']}",
                "X-Account-Partition": str(account_part), "X-Account-Device": to["device"]})
            done += answer is not None and answer.status in (204, 404)
        return done == len(nodes)
