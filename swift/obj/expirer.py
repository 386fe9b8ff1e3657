# SPDX-License-Identifier: Apache-2.0
"""The object expirer: deletes what has expired, so that listings and disks forget it too.

Object servers queue each object with an X-Delete-At as a row `<delete at>-<account>/<container>/
<object>` in a container of the hidden expiring account, named by the time. An expired object is a
404 from the second on; this daemon then writes the tombstones, on condition that it still has that
X-Delete-At.
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from hashlib import md5
from typing import Any
from urllib.parse import quote

from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int
from swift.common.daemon import Daemon, Option
from swift.common.devices import Brake
from swift.common.ring import Ring
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp

_PAGE = 1000
_GONE = (404, 409, 412)       # not there, newer, or to expire at another time: nothing to do


class ObjectExpirer(Daemon):
    """Deletes expired objects.

    Options: swift_dir, interval, concurrency, tasks_per_second, processes, process,
    node_timeout, conn_timeout, auto_create_account_prefix, expiring_objects_account_name.
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
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.account = conf.get("auto_create_account_prefix", ".") + \
            conf.get("expiring_objects_account_name", "expiring_objects")
        self._rings: dict[str, Ring] = {}
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
        now = int(time.time())
        for container in self._names("account", self.account, None):
            # A container may hold rows of up to one divisor after its name, and 100 s before.
            if container.isdigit() and int(container) > now:
                break
            for row in self._names("container", self.account, container):
                at, dash, path = row.partition("-")
                if not dash or not at.isdigit() or path.count("/") < 2:
                    self.logger.error("ERROR queue row %r is none of an object", row[:200])
                    continue
                if int(at) > now:
                    break
                if self._mine(row):
                    pool.spawn_n(self._expire, container, row, int(at), path, counts)
                    self.brake.spend()
            pool.waitall()
            self._drop_empty(container, now)
        self.expired = counts["deleted"]
        if any(counts.values()):
            self.logger.info("Expired %(deleted)d objects, %(left)d left for later", counts)

    def facts(self) -> dict[str, Any]:
        return {"expired_last_pass": self.expired}

    def _mine(self, row: str) -> bool:
        if not self.processes:
            return True
        return int.from_bytes(md5(row.encode("utf-8", "surrogateescape"), usedforsecurity=False)
                              .digest(), "big") % self.processes == self.process

    # -- requests --------------------------------------------------------

    def _request(self, node: dict[str, Any], method: str, path: str, headers: dict[str, str]
                 ) -> node_client.NodeAnswer | None:
        try:
            return node_client.request(node["ip"], node["port"], method, path,
                                       {"User-Agent": "object-expirer", **headers}, b"",
                                       self.conn_timeout, self.node_timeout)
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR %s %s on %s:%s: %s", method, path, node["ip"], node["port"],
                              exc)
            return None

    def _names(self, kind: str, account: str, container: str | None) -> Iterator[str]:
        """Names in the listing of an account or container, from whichever replica answers."""
        names = (account,) if container is None else (account, container)
        part, nodes = self.ring(kind).get_nodes(*names)
        marker = ""
        while True:
            for node in nodes:
                path = node_client.path_of(node["device"], part, *names)
                answer = self._request(node, "GET", f"{path}?format=json&limit={_PAGE}"
                                                    f"&marker={quote(marker)}", {})
                if answer is not None and answer.status == 200:
                    break
            else:
                return
            page = json.loads(answer.body)
            if not page:
                return
            for entry in page:
                yield entry["name"]
            marker = page[-1]["name"]

    # -- one object ------------------------------------------------------

    def _expire(self, container: str, row: str, at: int, path: str, counts: dict[str, int]) -> None:
        names = path.split("/", 2)
        index = self._policy_of(names[0], names[1])
        policy = policies().by_index(index)
        if policy is None or not self._delete_object(names, at, policy.ring_name, index):
            counts["left"] += 1
            return
        part, nodes = self.ring("container").get_nodes(self.account, container)
        stamp = Timestamp.now().internal
        for node in nodes:
            self._request(node, "DELETE", node_client.path_of(
                node["device"], part, self.account, container, row), {"X-Timestamp": stamp})
        counts["deleted"] += 1

    def _policy_of(self, account: str, container: str) -> str:
        """The storage policy index of a container; 0 when it is gone."""
        part, nodes = self.ring("container").get_nodes(account, container)
        for node in nodes:
            answer = self._request(node, "HEAD", node_client.path_of(
                node["device"], part, account, container), {})
            if answer is not None and "x-backend-storage-policy-index" in answer.headers:
                return answer.headers["x-backend-storage-policy-index"]
        return "0"

    def _delete_object(self, names: list[str], at: int, ring_name: str, index: str) -> bool:
        """Write the tombstones; whether each replica has one or needs none."""
        part, nodes = self.ring(ring_name).get_nodes(*names)
        container_part, container_nodes = self.ring("container").get_nodes(*names[:2])
        done = 0
        for number, node in enumerate(nodes):
            to = container_nodes[number % len(container_nodes)]
            path = node_client.path_of(node["device"], part, *names)
            answer = self._request(node, "DELETE", path, {
                "X-Timestamp": Timestamp(at).internal, "X-If-Delete-At": str(at),
                "X-Backend-Storage-Policy-Index": index,
                "X-Backend-Clean-Expiring-Object-Queue": "no",
                "X-Container-Host": f"{to['ip']}:{to['port']}",
                "X-Container-Partition": str(container_part),
                "X-Container-Device": to["device"]})
            done += answer is not None and (answer.status // 100 == 2 or answer.status in _GONE)
        return done == len(nodes)

    def _drop_empty(self, container: str, now: int) -> None:
        """Delete a queue container no new row will go to; one that is not empty refuses."""
        if not container.isdigit() or int(container) > now - 2 * 86400:
            return
        part, nodes = self.ring("container").get_nodes(self.account, container)
        account_part, account_nodes = self.ring("account").get_nodes(self.account)
        for number, node in enumerate(nodes):
            to = account_nodes[number % len(account_nodes)]
            self._request(node, "DELETE", node_client.path_of(
                node["device"], part, self.account, container), {
                "X-Timestamp": Timestamp.now().internal,
                "X-Account-Host": f"{to['ip']}:{to['port']}",
                "X-Account-Partition": str(account_part), "X-Account-Device": to["device"]})
