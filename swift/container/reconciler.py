# SPDX-License-Identifier: Apache-2.0
"""The container reconciler: moves objects that were written in another storage policy than their
container's into that.

Container replicators queue what they find. For each entry the object is copied to where it belongs,
unless something as new is there, and removed where it is. Times keep the order: a copy is a
little later than its original, so that it never overwrites what a user wrote since.
"""
from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from swift.common import node_client
from swift.common.app_conf import load_app
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int, read_sections
from swift.common.daemon import Daemon
from swift.common.exceptions import ConfigError
from swift.common.internal_client import InternalClient
from swift.common.ring import Ring
from swift.common.storage import hash_path
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.container.misplaced_queue import ACCOUNT, Misplaced, queue_container
from swift.container.policy_conflict import settled_policy

_PAGE = 1000
_POLICY_SECONDS = 30.0                # how long a container's policy is remembered
# Offsets to the time of the object: a tombstone at the source, the end of the entry, the copy.
_TOMBSTONE, _POPPED, _COPIED = 1, 2, 3
_NOT_COPIED = ("content-length", "date", "connection", "accept-ranges", "last-modified",
               "x-timestamp", "x-trans-id", "x-openstack-request-id", "transfer-encoding")


class Retry(Exception):
    """An entry cannot be dealt with now; the message says why."""


class ContainerReconciler(Daemon):
    """Moves objects into their container's storage policy.

    Options: interval, reclaim_age, concurrency, processes, process, swift_dir, node_timeout,
    conn_timeout; a [pipeline:main] in the same file is what objects are read and written through.
    """

    section = "container-reconciler"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None,
                 client: InternalClient | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 30)
        self.reclaim_age = config_float(conf, "reclaim_age", 604800)
        self.concurrency = config_int(conf, "concurrency", 1, 1)
        self.processes = config_int(conf, "processes", 0)
        self.process = config_int(conf, "process", 0)
        if self.processes and self.process >= self.processes:
            raise ConfigError(f"process ({self.process}) must be below processes "
                              f"({self.processes})")
        self.swift_dir = conf.get("swift_dir") or os.environ.get("SWIFT_DIR", "/etc/swift")
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 5)
        self._client = client
        self._ring: Ring | None = None
        self._policies: dict[tuple[str, str], tuple[float, int]] = {}
        self.counts: dict[str, int] = {}

    @property
    def client(self) -> InternalClient:
        """What objects are read and written through; made when the first is."""
        if self._client is None:
            path = self.conf.get("__file__", "")
            if path and "pipeline:main" in read_sections(path) and \
                    "app:proxy-server" in read_sections(path):
                self._client = InternalClient(load_app(path))
            else:
                from swift.proxy.server import Application
                self._client = InternalClient(Application(
                    {**self.conf, "swift_dir": self.swift_dir}))
        return self._client

    @property
    def ring(self) -> Ring:
        """The ring of containers."""
        if self._ring is None:
            self._ring = Ring(self.swift_dir, ring_name="container")
        return self._ring

    def run_once(self) -> None:
        """Deal with each entry of the queue once."""
        self.counts = dict.fromkeys(("moved", "removed", "in_place", "lost", "retries",
                                     "invalid"), 0)
        pool = GreenPool(self.concurrency)
        for container in self._containers():
            empty = True
            for entry in self._entries(container):
                empty = False
                try:
                    item = Misplaced.of(entry)
                except (ValueError, KeyError, TypeError) as exc:
                    self.counts["invalid"] += 1
                    self.logger.error("ERROR entry %r of the queue is none: %s",
                                      entry.get("name"), exc)
                    continue
                if self._mine(item):
                    pool.spawn_n(self._deal_with, container, entry["name"], item)
            pool.waitall()
            if empty and container.isdigit() and int(container) < time.time() - self.reclaim_age:
                self._request("DELETE", f"/{ACCOUNT}/{container}", {})
        if any(self.counts.values()):
            self.logger.info("Reconciler pass: %s", ", ".join(
                f"{count} {name}" for name, count in self.counts.items()))

    def _mine(self, item: Misplaced) -> bool:
        return not self.processes or int(hash_path(
            item.account, item.container, item.obj), 16) % self.processes == self.process

    # -- the queue -------------------------------------------------------

    def _containers(self) -> Iterator[str]:
        """The queue's containers, this hour's first: the account may not know it yet."""
        current = queue_container(Timestamp.now().internal)
        yield current
        for entry in reversed(list(self._listing(f"/{ACCOUNT}"))):
            if entry["name"] != current:
                yield entry["name"]

    def _entries(self, container: str) -> Iterator[dict[str, Any]]:
        return self._listing(f"/{ACCOUNT}/{container}")

    def _listing(self, path: str) -> Iterator[dict[str, Any]]:
        marker = ""
        while True:
            status, _, body = self._request(
                "GET", path, {"X-Newest": "true"},
                f"format=json&limit={_PAGE}&marker={quote(marker, errors='surrogateescape')}")
            if status == 404 or status // 100 == 2 and not body:
                return
            if status // 100 != 2:
                self.logger.error("ERROR listing %s answered %d", path, status)
                return
            page = json.loads(body)
            if not page:
                return
            yield from page
            marker = page[-1]["name"]

    def _deal_with(self, container: str, name: str, item: Misplaced) -> None:
        try:
            self.counts[self._reconcile(item)] += 1
        except (Retry, OSError, Timeout, ValueError) as exc:
            self.counts["retries"] += 1
            self.logger.warning("%s in policy %d is left for later: %s", item.path, item.policy,
                                exc)
            return
        # Entered by hand again, an entry is later than its object.
        stamp = Timestamp(max(item.queued, item.time), offset=_POPPED).internal
        part, nodes = self.ring.get_nodes(ACCOUNT, container)
        for node in nodes:
            self._ask(node, "DELETE", node_client.path_of(
                node["device"], part, ACCOUNT, container, name), {"X-Timestamp": stamp})

    # -- one object ------------------------------------------------------

    def _reconcile(self, item: Misplaced) -> str:
        """Put an object where it belongs; what was done. Retry when it cannot be done now."""
        target = self._policy_of(item.account, item.container)
        if target == item.policy:
            return "in_place"
        for index in (target, item.policy):
            if policies().by_index(index) is None:
                raise Retry(f"there is no policy {index}")
        status, headers, _ = self._object("HEAD", item, target)
        if status // 100 not in (2, 4):
            raise Retry(f"reading it in policy {target} answered {status}")
        if Timestamp(headers.get("x-backend-timestamp", 0)) >= item.time:
            self._remove_source(item)
            return "removed"
        outcome = self._move(item, target)
        if outcome != "lost":
            self._remove_source(item)
        return outcome

    def _move(self, item: Misplaced, target: int) -> str:
        status, headers, pieces = self._object("GET", item, item.policy)
        try:
            if status == 404 and item.op == "DELETE":
                self._write("DELETE", item, target, item.time, {})
                return "moved"
            found = Timestamp(headers.get("x-backend-timestamp", 0))
            if status // 100 != 2 or found < item.time:
                if float(item.time) < time.time() - self.reclaim_age:
                    self.logger.critical("%s of %s is in no replica of policy %d: given up",
                                         item.path, item.time.internal, item.policy)
                    return "lost"
                raise Retry(f"reading it answered {status} of {found.internal}")
            kept = {name.title(): value for name, value in headers.items()
                    if name not in _NOT_COPIED and not name.startswith("x-backend-")}
            kept["Content-Length"] = headers["content-length"]
            self._write("PUT", item, target, found, kept, pieces)
            return "moved"
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _write(self, method: str, item: Misplaced, policy: int, stamp: Timestamp,
               headers: dict[str, str], pieces: Iterable[bytes] | None = None) -> None:
        status, _, _ = self._request(method, item.path, {
            **headers, "X-Backend-Storage-Policy-Index": str(policy),
            "X-Timestamp": Timestamp(stamp, offset=_COPIED).internal}, body=pieces)
        if status // 100 != 2 and not (method == "DELETE" and status in (404, 409)):
            raise Retry(f"{method} in policy {policy} answered {status}")

    def _remove_source(self, item: Misplaced) -> None:
        status, _, _ = self._request("DELETE", item.path, {
            "X-Backend-Storage-Policy-Index": str(item.policy),
            "X-Timestamp": Timestamp(item.time, offset=_TOMBSTONE).internal})
        if status // 100 != 2 and status not in (404, 409):
            raise Retry(f"DELETE in policy {item.policy} answered {status}")

    def _object(self, method: str, item: Misplaced, policy: int
                ) -> tuple[int, dict[str, str], Iterable[bytes]]:
        return self.client.request(method, "/v1" + item.path, {
            "X-Newest": "true", "X-Backend-Open-Expired": "true",
            "X-Backend-Storage-Policy-Index": str(policy)})

    def _policy_of(self, account: str, container: str) -> int:
        """The policy the container's replicas agree on, or will; Retry without a majority."""
        known = self._policies.get((account, container))
        if known is not None and known[0] > time.monotonic():
            return known[1]
        part, nodes = self.ring.get_nodes(account, container)
        heads = [answer.headers for node in nodes if (answer := self._ask(
            node, "HEAD", node_client.path_of(node["device"], part, account, container), {}))
            is not None and (answer.status // 100 == 2 or answer.status == 404)]
        index = settled_policy(heads)
        if len(heads) <= len(nodes) // 2 or index is None:
            raise Retry(f"only {len(heads)} of {len(nodes)} replicas of its container answer")
        self._policies[account, container] = (time.monotonic() + _POLICY_SECONDS, index)
        return index

    # -- requests --------------------------------------------------------

    def _ask(self, node: dict[str, Any], method: str, path: str, headers: dict[str, str]
             ) -> node_client.NodeAnswer | None:
        try:
            return node_client.request(
                node.get("replication_ip") or node["ip"],
                node.get("replication_port") or node["port"], method, path,
                {"User-Agent": "container-reconciler", **headers}, b"", self.conn_timeout,
                self.node_timeout)
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR %s %s on %s:%s: %s", method, path, node["ip"], node["port"],
                              exc)
            return None

    def _request(self, method: str, path: str, headers: dict[str, str], query: str = "",
                 body: Iterable[bytes] | None = None) -> tuple[int, dict[str, str], bytes]:
        return self.client.ask(method, "/v1" + path, headers, query, body)
