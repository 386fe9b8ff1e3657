# SPDX-License-Identifier: Apache-2.0
"""The audit watcher that looks for objects no container knows of: dark data.

They take room, and nobody can list or delete them. An object is dark when all servers of its
container, or of the shard that has its name, say that they have no row of it; one that does not
answer leaves it unknown. Costs a request to each of them for every object that is audited.
"""
from __future__ import annotations

import json
import logging
import os
import time
from typing import Any
from urllib.parse import quote

from swift.common import durable, node_client
from swift.common.concurrency import Timeout
from swift.common.conf import config_float
from swift.common.exceptions import ConfigError, QuarantineRequest
from swift.common.ring import Ring
from swift.common.timestamp import Timestamp
from swift.obj import hashes

_ACTIONS = ("log", "quarantine", "delete")


class Unknown(Exception):
    """A server did not answer."""


class DarkDataWatcher:
    """Options: action (log, quarantine or delete), grace_age (seconds in which an object may still
    be on its way into its container), swift_dir, conn_timeout, node_timeout."""

    def __init__(self, conf: dict[str, str], logger: logging.Logger) -> None:
        self.logger = logger
        self.action = conf.get("action", "log")
        if self.action not in _ACTIONS:
            raise ConfigError(f"action: {self.action!r} is none of {', '.join(_ACTIONS)}")
        self.grace_age = config_float(conf, "grace_age", 604800)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.ring = Ring(conf.get("swift_dir", "/etc/swift"), ring_name="container")
        self.counts: dict[str, int] = {}
        self.quick = False

    def start(self, audit_type: str, **_more: Any) -> None:
        """A pass begins. The quick one is over before containers could answer: it is left out."""
        self.quick = audit_type == "ZBF"
        self.counts = dict.fromkeys(("unknown", "ok", "dark"), 0)

    def see_object(self, object_metadata: dict[str, str], data_file_path: str, **_more: Any
                   ) -> None:
        """Look for the object's row, and do what is asked for when there is none."""
        if self.quick:
            return
        name = object_metadata["name"]
        if float(Timestamp(object_metadata["X-Timestamp"])) + self.grace_age >= time.time():
            self.counts["ok"] += 1
            return
        account, container, obj = name[1:].split("/", 2)
        try:
            dark = not self._has_row((account, container), obj, frozenset())
        except Unknown:
            self.counts["unknown"] += 1
            return
        self.counts["dark" if dark else "ok"] += 1
        if dark:
            self._deal_with(name, os.path.dirname(data_file_path))

    def end(self, **_more: Any) -> None:
        """Tell what was found."""
        if not self.quick:
            self.logger.info("Dark data: %(dark)d objects are dark, %(ok)d are not, of %(unknown)d "
                             "it is unknown", self.counts)

    def _deal_with(self, name: str, hash_dir: str) -> None:
        if self.action == "quarantine":
            self.logger.info("Dark data: %s goes to quarantine", name)
            raise QuarantineRequest
        if self.action == "log":
            self.logger.info("Dark data: %s in %s", name, hash_dir)
            return
        self.logger.info("Dark data: deleting %s in %s", name, hash_dir)
        for entry in os.listdir(hash_dir):
            durable.unlink_quietly(f"{hash_dir}/{entry}")
        durable.rmdir_quietly(hash_dir)
        hashes.invalidate(os.path.dirname(hash_dir))

    def _has_row(self, place: tuple[str, str], obj: str, above: frozenset[tuple[str, str]]) -> bool:
        """Whether any server of a container, or of its shards, has the row; Unknown when one of
        those that might have it is not heard."""
        part, nodes = self.ring.get_nodes(*place)
        query = "&".join(f"{name}={quote(value, errors='surrogateescape')}" for name, value in (
            ("format", "json"), ("prefix", obj), ("limit", "1"), ("includes", obj),
            ("states", "listing")))
        record = "object" if place in above else "auto"
        shards: set[tuple[str, str]] = set()
        silent = False
        for node in nodes:
            rows = self._rows(node, node_client.path_of(node["device"], part, *place) + "?" + query,
                              record)
            if rows is None:
                silent = True
                continue
            for row in rows:
                if "lower" in row:
                    account, _, container = row["name"].partition("/")
                    shards.add((account, container))
                elif row["name"] == obj:
                    return True
        if any(self._has_row(shard, obj, above | {place}) for shard in shards):
            return True
        if silent:
            raise Unknown
        return False

    def _rows(self, node: dict[str, Any], path: str, record: str) -> list[dict[str, Any]] | None:
        """What one server lists; None when it does not, be it that it has no such container."""
        try:
            answer = node_client.request(node["ip"], node["port"], "GET", path, {
                "X-Backend-Record-Type": record, "X-Backend-Allow-Reserved-Names": "true",
                "User-Agent": "dark-data"}, b"",
                self.conn_timeout, self.node_timeout)
            return json.loads(answer.body or b"[]") if answer.status // 100 == 2 else None
        except (OSError, ValueError, Timeout):
            return None
