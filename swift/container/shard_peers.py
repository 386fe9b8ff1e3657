# SPDX-License-Identifier: Apache-2.0
"""What the sharder says to and asks of other databases: those of the root, of shards, of replicas.

`ShardPeers` is the part of the sharder that knows rings and nodes; the modules that audit, move
and cleave are told no more than it.
"""
from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import Any
from urllib.parse import quote

from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int
from swift.common.db_replicator import Node
from swift.common.exceptions import ConfigError
from swift.common.shards import ShardRange, merged
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.replicator import ContainerReplicator, Place
from swift.container.shard_broker import ENABLED, SYSMETA

SHARDS_PREFIX = ".shards_"


class Counts:
    """What a pass has done: (what, outcome) -> number."""

    def __init__(self) -> None:
        self.all: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))

    def add(self, what: str, outcome: str, number: int = 1) -> None:
        """Count."""
        self.all[what][outcome] += number

    def took(self, what: str, seconds: float) -> None:
        """Note the shortest and the longest time something took."""
        times = self.all[what]
        seconds = round(seconds, 3)
        times["min_time"] = min(times.get("min_time") or seconds, seconds)
        times["max_time"] = max(times.get("max_time") or seconds, seconds)


class ShardPeers(ContainerReplicator):
    """Base of the sharder. Options beyond a replicator's: shard_replication_quorum,
    existing_shard_replication_quorum (auto, or a number of replicas), conn_timeout."""

    def __init__(self, conf: dict[str, str], logger: Any = None) -> None:
        super().__init__(conf, logger)
        self.conn_timeout = config_float(conf, "conn_timeout", 5)
        self.sharding = Counts()

    def quorum(self, option: str, default: int | None = None) -> int:
        """A number of replicas, at most as many as there are."""
        replicas = round(self.ring.replica_count)
        value = self.conf.get(option, "auto")
        if value.strip().lower() == "auto":
            return (replicas + 1) // 2 if default is None else default
        number = config_int(self.conf, option, 0)
        if number > replicas:
            raise ConfigError(f"{option} ({number}) is more than there are replicas ({replicas})")
        return number

    # -- ranges ----------------------------------------------------------

    def send_ranges(self, account: str, container: str, ranges: list[ShardRange],
                    more: dict[str, str] | None = None) -> bool:
        """PUT ranges to all primaries of a container; whether a majority took them."""
        body = json.dumps([{**shard.row(), "reported": 0} for shard in ranges]).encode("ascii")
        part, nodes = self.ring.get_nodes(account, container)
        headers = {"X-Backend-Record-Type": "shard", "X-Timestamp": Timestamp.now().internal,
                   "User-Agent": f"container-sharder {os.getpid()}",
                   "X-Backend-Use-Replication-Network": "True",
                   "Content-Type": "application/json", **(more or {})}

        def send(node: Node) -> bool:
            return self._ask(node, "PUT", node_client.path_of(
                node["device"], part, account, container), headers, body) is not None
        sent = list(GreenPool(len(nodes) or 1).imap(send, nodes))
        return sum(sent) >= (len(nodes) + 1) // 2

    def _ask(self, node: Node, method: str, path: str, headers: dict[str, str], body: bytes = b""
             ) -> node_client.NodeAnswer | None:
        """A good answer of a node, else None and a line in the log."""
        try:
            answer = node_client.request(
                node.get("replication_ip") or node["ip"],
                node.get("replication_port") or node["port"], method, path, headers, body,
                self.conn_timeout, self.node_timeout)
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR %s %s on %s:%s: %s", method, path, node["ip"], node["port"],
                              exc)
            return None
        if answer.status // 100 == 2:
            return answer
        self.logger.warning("%s %s on %s:%s answered %d", method, path, node["ip"], node["port"],
                            answer.status)
        return None

    def root_ranges(self, broker: ContainerBroker, lower: str = "", upper: str = ""
                    ) -> list[ShardRange] | None:
        """What the root's replicas together know of shards within bounds, the root's own range
        and deleted ones as well; None when none of them answers."""
        account, _, container = broker.root_path().partition("/")
        part, nodes = self.ring.get_nodes(account, container)
        query = f"?format=json&states=auditing&marker={quote(lower)}&end_marker={quote(upper)}"
        headers = {"X-Backend-Record-Type": "shard", "X-Backend-Record-Shard-Format": "full",
                   "X-Backend-Override-Deleted": "true", "X-Backend-Include-Deleted": "true",
                   "User-Agent": f"container-sharder {os.getpid()}"}
        known: dict[str, ShardRange] = {}
        answered = False
        for node in nodes:
            answer = self._ask(node, "GET", node_client.path_of(
                node["device"], part, account, container) + query, headers)
            if answer is None or answer.headers.get("x-backend-record-type") != "shard":
                continue
            try:
                found = [ShardRange.of(row) for row in json.loads(answer.body)]
            except (ValueError, KeyError, TypeError) as exc:
                self.logger.error("ERROR %s:%s answered no shard ranges for %s/%s: %r",
                                  node["ip"], node["port"], account, container, exc)
                continue
            answered = True
            for shard in found:
                result = merged(shard, known.get(shard.name))
                if result is not None:
                    known[shard.name] = result
        return sorted(known.values(), key=lambda shard: shard.sort_key) if answered else None

    # -- databases -------------------------------------------------------

    def place_for(self, shard: ShardRange, broker: ContainerBroker) -> Place:
        """The database of a shard on this node, made if there is none: where it belongs, or on
        any other device. It knows its range and its root."""
        place = self.make_place(shard.account, shard.container,
                                broker.stat()["storage_policy_index"],
                                Timestamp.now().internal, shard.epoch)
        made = place.broker
        made.merge_shard_ranges([shard])
        stamp = Timestamp.now().internal
        made.update_metadata({SYSMETA + "Quoted-Root": (quote(broker.root_path()), stamp),
                              ENABLED: ("True", stamp)})
        return place
