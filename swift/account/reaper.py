# SPDX-License-Identifier: Apache-2.0
"""The account reaper: removes what deleted accounts still hold.

Of each account only the first primary's reaper works. Objects are deleted directly on their
servers, then the containers; the account's own database goes by the replicator when it is old
enough.
"""
from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from swift.account.backend import DATADIR, AccountBroker
from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int, config_true
from swift.common.daemon import Daemon
from swift.common.devices import databases, is_local, local_addresses
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.listing import Query
from swift.common.ring import Ring
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp

_PAGE = 1000


class AccountReaper(Daemon):
    """Deletes the objects and containers of deleted accounts.

    Options: devices, mount_check, swift_dir, bind_ip, ring_ip, bind_port, interval, delay_reaping,
    reap_warn_after, concurrency, node_timeout, conn_timeout.
    """

    section = "account-reaper"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 3600)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.delay = config_float(conf, "delay_reaping", 0)
        self.warn_after = self.delay + config_float(conf, "reap_warn_after", 2592000)
        self.concurrency = config_int(conf, "concurrency", 25, 1)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.addresses = local_addresses(conf)
        self.port = config_int(conf, "bind_port", 6202)
        self._rings: dict[str, Ring] = {}

    def ring(self, name: str) -> Ring:
        """A ring by name."""
        if name not in self._rings:
            self._rings[name] = Ring(self.swift_dir, ring_name=name)
        return self._rings[name]

    def run_once(self) -> None:
        """Reap every deleted account that is ours to reap."""
        for db_file, device, partition in databases(self.devices, DATADIR, self.mount_check,
                                                    self.logger):
            first = self.ring("account").get_part_nodes(int(partition))[0]
            if first["device"] != device or not is_local(first, self.addresses, self.port):
                continue
            try:
                self._reap_if_due(AccountBroker(db_file, logger=self.logger, keep=False))
            except (OSError, sqlite3.Error, DatabaseConnectionError, LockTimeout) as exc:
                self.logger.error("ERROR reaping %s: %s", db_file, exc)

    def _reap_if_due(self, broker: AccountBroker) -> None:
        stat = broker.stat()
        age = time.time() - float(Timestamp(stat["delete_timestamp"]))
        if stat["status"] != "DELETED" or broker.empty() or age < self.delay:
            return
        counts, began = {"containers": 0, "objects": 0, "left": 0}, time.monotonic()
        account = stat["account"]
        self.logger.info("Beginning pass on account %s", account)
        marker = ""
        while rows := broker.list_containers(Query(_PAGE, marker=marker, reserved=True)):
            for row in rows:
                self._reap_container(account, row[0], counts)
            marker = rows[-1][0]
        self.logger.info("Pass on account %s: %d containers and %d objects deleted, %d left",
                         account, counts["containers"], counts["objects"], counts["left"])
        self.took("timing", began)
        self.measure(containers_deleted=counts["containers"], objects_deleted=counts["objects"])
        if counts["left"] and age > self.warn_after:
            self.logger.warning("Account %s has not been reaped since %s", account,
                                stat["delete_timestamp"])

    # -- a container -----------------------------------------------------

    def _request(self, node: dict[str, Any], method: str, path: str, headers: dict[str, str]
                 ) -> node_client.NodeAnswer | None:
        try:
            answer = node_client.request(node["ip"], node["port"], method, path, headers, b"",
                                         self.conn_timeout, self.node_timeout)
            self.measure(**{f"return_codes.{answer.status // 100}": 1})
            return answer
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR %s %s on %s:%s: %s", method, path, node["ip"], node["port"],
                              exc)
            return None

    def _objects(self, account: str, container: str, kind: str = "auto",
                 visited: frozenset[str] = frozenset()
                 ) -> Iterator[tuple[list[dict[str, Any]], str]]:
        """Pages of a container's listing with the storage policy index; of one that is sharded,
        those of all shards."""
        part, nodes = self.ring("container").get_nodes(account, container)
        marker = ""
        while True:
            for node in nodes:
                path = node_client.path_of(node["device"], part, account, container)
                answer = self._request(
                    node, "GET", f"{path}?format=json&states=listing&limit={_PAGE}&marker="
                    + quote(marker), {"User-Agent": "account-reaper",
                                      "X-Backend-Record-Type": kind,
                                      "X-Backend-Allow-Reserved-Names": "true"})
                if answer is not None and answer.status == 200:
                    break
            else:
                return
            page = json.loads(answer.body)
            if not page:
                return
            if answer.headers.get("x-backend-record-type") == "shard":
                visited |= {f"{account}/{container}"}
                for shard in page:
                    again = shard["name"] in visited       # a container that fills a gap itself
                    of, _, name = shard["name"].partition("/")
                    yield from self._objects(of, name, "object" if again else "auto", visited)
                return
            yield page, answer.headers.get("x-backend-storage-policy-index", "0")
            marker = page[-1]["name"]

    def _reap_container(self, account: str, container: str, counts: dict[str, int]) -> None:
        part, nodes = self.ring("container").get_nodes(account, container)
        pool = GreenPool(self.concurrency)
        for page, index in self._objects(account, container):
            for entry in page:
                pool.spawn_n(self._reap_object, account, container, entry["name"], index, part,
                             nodes, counts)
            pool.waitall()
        account_part, account_nodes = self.ring("account").get_nodes(account)
        good = 0
        for node in nodes:
            headers = {
                "X-Timestamp": Timestamp.now().internal, "User-Agent": "account-reaper",
                "X-Account-Override-Deleted": "yes",
                "X-Account-Partition": str(account_part),
                "X-Account-Host": ",".join(f"{n['ip']}:{n['port']}" for n in account_nodes),
                "X-Account-Device": ",".join(n["device"] for n in account_nodes),
            }
            answer = self._request(node, "DELETE", node_client.path_of(
                node["device"], part, account, container), headers)
            good += answer is not None and (answer.status // 100 == 2 or answer.status == 404)
        if good > len(nodes) // 2:
            counts["containers"] += 1
        else:
            counts["left"] += 1
            self.measure(containers_remaining=1)
        self.measure(containers_failures=len(nodes) - good)

    def _reap_object(self, account: str, container: str, name: str, index: str, part: int,
                     container_nodes: list[dict[str, Any]], counts: dict[str, int]) -> None:
        policy = policies().by_index(index)
        if policy is None:
            self.logger.error("ERROR no policy with index %s", index)
            counts["left"] += 1
            return
        obj_part, nodes = self.ring(policy.ring_name).get_nodes(account, container, name)
        stamp = Timestamp.now().internal
        good = 0
        for at, node in enumerate(nodes):
            to = container_nodes[at % len(container_nodes)]
            answer = self._request(node, "DELETE", node_client.path_of(
                node["device"], obj_part, account, container, name), {
                "X-Timestamp": stamp, "User-Agent": "account-reaper",
                "X-Container-Host": f"{to['ip']}:{to['port']}",
                "X-Container-Partition": str(part), "X-Container-Device": to["device"],
                "X-Backend-Storage-Policy-Index": index})
            good += answer is not None and (answer.status // 100 == 2 or answer.status == 404)
        done = good > len(nodes) // 2
        counts["objects" if done else "left"] += 1
        self.measure(objects_remaining=not done, objects_failures=len(nodes) - good)
