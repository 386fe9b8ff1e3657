# SPDX-License-Identifier: Apache-2.0
"""Whether all copies of accounts, containers and objects say the same: swift-account-audit.

Storage servers are asked directly, each copy of everything below what is named. Nothing is changed;
what differs may just be on its way, so one asks again before one worries.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from hashlib import md5
from typing import Any
from urllib.parse import quote

from swift.common import node_client
from swift.common.concurrency import Event, GreenPool, Timeout
from swift.common.ring import Ring
from swift.common.storage_policy import policies

Node = dict[str, Any]
Say = Callable[[str], None]
TIMEOUT = 60


class Refused(Exception):
    """A server answered with this status."""


class AccountAudit:
    """Audits what `audit` is told; `counts` has what was seen, `inconsistent` the paths of it."""

    def __init__(self, swift_dir: str, say: Say, concurrency: int = 50, deep: bool = False) -> None:
        self.swift_dir, self.say, self.deep = swift_dir, say, deep
        self.pool = GreenPool(concurrency)
        self.rings = {kind: Ring(swift_dir, ring_name=kind) for kind in ("account", "container")}
        self.counts: Counter[str] = Counter()
        self.inconsistent: list[str] = []
        self._asked: dict[tuple[str, ...], Event] = {}

    def audit(self, *names: str) -> None:
        """Begin with an account, a container or an object and all below it; see `wait`."""
        if len(names) == 3:
            self.pool.spawn_n(self._object, *names)
        else:
            self.pool.spawn_n(self._below, *names)

    def wait(self) -> None:
        """Until all is audited."""
        self.pool.waitall()

    def _below(self, *names: str) -> None:
        rows = self._listed(*names)[0]
        # In this thread: a pool that waits for itself would stand still.
        for name in rows:
            if len(names) == 1:
                self._below(*names, name)
            else:
                self._object(names[0], names[1], name)

    def _listed(self, *names: str) -> tuple[dict[str, Any], int]:
        """(rows by name, policy index) of an account or container; audited once however often."""
        event = self._asked.get(names)
        if event is None:
            event = self._asked[names] = Event()
            try:
                event.send(self._listing(*names))
            except BaseException as exc:
                event.send_exception(exc)
                raise
        return event.wait()

    def _bad(self, names: tuple[str, ...], what: str, why: str) -> None:
        path = "/" + "/".join(names)
        self.counts[what] += 1
        self.say(f"{path}: {why}")
        if path not in self.inconsistent:
            self.inconsistent.append(path)

    # -- accounts and containers -----------------------------------------

    def _listing(self, *names: str) -> tuple[dict[str, Any], int]:
        kind = "account" if len(names) == 1 else "container"
        self.counts[f"{kind}s checked"] += 1
        if kind == "container" and names[1] not in self._listed(names[0])[0]:
            self._bad(names, "container mismatch", "not in the account's listing")
        part, nodes = self.rings[kind].get_nodes(*names)
        rows: dict[str, Any] = {}
        heads = []
        for node in nodes:
            try:
                head, found = self._all_rows(node, part, names)
            except Refused as exc:
                self._bad(names, f"{kind} missing replicas", f"{_place(node)} {exc}")
                continue
            except (OSError, ValueError, Timeout) as exc:
                self._bad(names, f"{kind} exceptions", f"{_place(node)}: {exc!r}")
                continue
            heads.append(head)
            for name, row in found.items():
                known = rows.setdefault(name, row)
                if kind == "container" and known["last_modified"] != row["last_modified"]:
                    self._bad((*names, name), "container object mismatch",
                              "databases hold different versions")
                    rows[name] = max(known, row, key=lambda each: each["last_modified"])
        self._compare(kind, names, heads)
        policy = heads[0].get("x-backend-storage-policy-index", "0") if heads else "0"
        return rows, int(policy)

    def _compare(self, kind: str, names: tuple[str, ...], heads: list[dict[str, str]]) -> None:
        if not heads:
            self._bad(names, f"{kind} not found", "no server has it")
        for what in ("container", "object")[kind == "container":]:
            numbers = [int(head.get(f"x-{kind}-{what}-count", 0)) for head in heads]
            if len(set(numbers)) > 1:
                self._bad(names, f"{kind} {what} count mismatch", "databases count between "
                          f"{min(numbers)} and {max(numbers)} {what}s")

    def _all_rows(self, node: Node, part: int, names: tuple[str, ...]
                  ) -> tuple[dict[str, str], dict[str, Any]]:
        rows: dict[str, Any] = {}
        first: dict[str, str] | None = None
        marker = ""
        while True:
            path = node_client.path_of(node["device"], part, *names)
            marker = quote(marker.encode("utf-8", "surrogateescape"), safe="")
            answer = node_client.request(node["ip"], node["port"], "GET",
                                         f"{path}?format=json&marker={marker}", {},
                                         node_timeout=TIMEOUT)
            if answer.status // 100 != 2:
                raise Refused(f"answered {answer.status}")
            first = first or answer.headers
            page = json.loads(answer.body) if answer.body else []
            if not page:
                return first, rows
            rows.update((row["name"], row) for row in page if "name" in row)
            marker = page[-1].get("name") or page[-1]["subdir"]

    # -- objects ---------------------------------------------------------

    def _object(self, account: str, container: str, obj: str) -> None:
        names = (account, container, obj)
        rows, index = self._listed(account, container)
        self.counts["objects checked"] += 1
        row = rows.get(obj)
        if row is None:
            self._bad(names, "object not listed", "not in the container's listing")
        policy = policies().by_index(index)
        if policy is None:
            self._bad(names, "object exceptions", f"no storage policy has index {index}")
            return
        ring = self.rings.setdefault(policy.ring_name,
                                     Ring(self.swift_dir, ring_name=policy.ring_name))
        part, nodes = ring.get_nodes(*names)
        found = 0
        for node in nodes:
            try:
                self._copy(node, part, names, index, row and row.get("hash"))
                found += 1
            except Refused as exc:
                self._bad(names, "object missing replicas", f"{_place(node)} {exc}")
            except (OSError, ValueError, Timeout) as exc:
                self._bad(names, "object exceptions", f"{_place(node)}: {exc!r}")
        if not found:
            self._bad(names, "object not found", "no server has it")

    def _copy(self, node: Node, part: int, names: tuple[str, ...], index: int,
              listed: str | None) -> None:
        answer = node_client.request(
            node["ip"], node["port"], "GET" if self.deep else "HEAD",
            node_client.path_of(node["device"], part, *names),
            {"X-Backend-Storage-Policy-Index": str(index)}, node_timeout=TIMEOUT)
        if answer.status // 100 != 2:
            raise Refused(f"answered {answer.status}")
        etag = answer.headers.get("etag", "").strip('"')
        if self.deep and md5(answer.body, usedforsecurity=False).hexdigest() != etag:
            self._bad(names, "object MD5 mismatch", f"{_place(node)}: the body is not its ETag's")
        shown = answer.headers.get("x-object-sysmeta-container-update-override-etag") or etag
        if listed is not None and shown.partition(";")[0].strip('"') != listed:
            self._bad(names, "object MD5 mismatch",
                      f"{_place(node)}: ETag {shown}, listed is {listed}")


def _place(node: Node) -> str:
    return f"{node['ip']}:{node['port']}/{node['device']}"
