# SPDX-License-Identifier: Apache-2.0
"""The account server: accounts, the rows of their containers, and listings.

    PUT /sda/12/AUTH_a            makes or updates an account
    PUT /sda/12/AUTH_a/c          the row of a container, sent by container servers
"""
from __future__ import annotations

import logging
from typing import Any

from swift.account.backend import DATADIR, AccountBroker
from swift.common.backend_server import Answer, Request
from swift.common.conf import config_true
from swift.common.db import Row
from swift.common.db_rpc import ReplicatorRpc
from swift.common.db_server import DbApp
from swift.common.exceptions import DatabaseAlreadyExists, DatabaseConnectionError
from swift.common.listing import (
    CONTENT_TYPES,
    format_of,
    json_body,
    parse_query,
)
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp, isoformat
from swift.common.xml_text import xml_attribute, xml_escape

_ROW_HEADERS = ("HTTP_X_PUT_TIMESTAMP", "HTTP_X_DELETE_TIMESTAMP")


class AccountApp(DbApp):
    """The WSGI application. Options: see etc/swift/account-server.conf-sample."""

    server_type = "account"
    datadir = DATADIR
    meta_type = "Account"
    save_headers = ()

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.policies = policies()
        self.rpc = ReplicatorRpc(self.device_path, DATADIR, AccountBroker)
        self.handlers = {"PUT": self.with_room(self.put), "POST": self.with_room(self.post),
                         "GET": self.get, "HEAD": self.head, "DELETE": self.delete,
                         "REPLICATE": self.with_room(self.replicate), "OPTIONS": self.options}

    def _broker(self, request: Request, most: int) -> tuple[AccountBroker, list[Any]]:
        parts = request.split(3, most)
        device, partition, account = parts[:3]
        assert device and partition and account
        path = self.db_file(device, partition, account)
        return AccountBroker(path, account, None, self.logger), parts

    @staticmethod
    def _deleted(stat: Row | None) -> Answer:
        headers = {}
        if stat is not None and stat["status"] == "DELETED":
            headers["X-Account-Status"] = "Deleted"
        return Answer(404, "The resource could not be found.", headers)

    # -- PUT, POST, DELETE -----------------------------------------------

    def put(self, request: Request) -> Answer:
        """An account, or the row of a container in it."""
        broker, parts = self._broker(request, 4)
        if parts[3] is not None:
            return self._put_row(request, broker, parts)
        timestamp = request.timestamp()
        updates = self.request_metadata(request, timestamp)
        created = self._update_or_create(broker, timestamp)
        self.update_metadata(broker, updates)
        return Answer(201 if created else 202)

    @staticmethod
    def _update_or_create(broker: AccountBroker, timestamp: Timestamp) -> bool:
        stamp = timestamp.internal
        if not broker.exists():
            try:
                broker.initialize(stamp)
                return True
            except DatabaseAlreadyExists:
                pass
        stat = broker.stat()
        if stat["status"] == "DELETED":
            raise Answer(403, "Recently deleted", {"X-Account-Status": "Deleted"})
        was_deleted = broker.stat_is_deleted(stat)
        broker.update_put_timestamp(stamp)
        if was_deleted and broker.is_deleted():
            raise Answer(409, "The account was deleted later")
        return was_deleted

    def _put_row(self, request: Request, broker: AccountBroker, parts: list[Any]) -> Answer:
        env = request.env
        account, name = parts[2:4]
        try:
            put, delete = (Timestamp(env[header]) for header in _ROW_HEADERS)
            objects, size = int(env["HTTP_X_OBJECT_COUNT"]), int(env["HTTP_X_BYTES_USED"])
            policy = int(env.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX") or 0)
            if objects < 0 or policy < 0:
                raise ValueError
        except (KeyError, ValueError):
            raise Answer(400, "X-Put-Timestamp, X-Delete-Timestamp, X-Object-Count and "
                              "X-Bytes-Used are needed") from None
        if not broker.exists() and account.startswith(self.auto_create_prefix):
            try:
                broker.initialize(max(put, Timestamp(0)).internal)
            except DatabaseAlreadyExists:
                pass
        override = config_true(env.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "no"))
        if not broker.exists() or (not override and broker.is_deleted()):
            raise Answer(404, "The resource could not be found.")
        try:
            broker.put_container(name, put.internal if put else "0",
                                 delete.internal if delete else "0", objects, size, policy)
        except DatabaseConnectionError:
            raise Answer(404, "The resource could not be found.") from None
        return Answer(204 if delete > put else 201)

    def post(self, request: Request) -> Answer:
        """Update metadata."""
        timestamp = request.timestamp()
        broker, _ = self._broker(request, 3)
        self._existing(broker)
        self.update_metadata(broker, self.request_metadata(request, timestamp))
        return Answer(204)

    def delete(self, request: Request) -> Answer:
        """Mark the account deleted; the reaper removes what is in it."""
        timestamp = request.timestamp()
        broker, _ = self._broker(request, 3)
        self._existing(broker)
        broker.delete_db(timestamp.internal)
        return Answer(204, b"", self._deleted(broker.stat()).headers)

    # -- GET and HEAD ----------------------------------------------------

    def _existing(self, broker: AccountBroker) -> Row:
        """The stat of an account that is there, or 404."""
        if not broker.exists():
            raise self._deleted(None)
        stat = broker.stat()
        if broker.stat_is_deleted(stat):
            raise self._deleted(stat)
        return stat

    def _headers_of(self, broker: AccountBroker, stat: Row) -> dict[str, str]:
        headers = {
            "X-Account-Container-Count": str(stat["container_count"]),
            "X-Account-Object-Count": str(stat["object_count"]),
            "X-Account-Bytes-Used": str(stat["bytes_used"]),
        }
        headers.update((name, value) for name, value in self.time_headers(stat).items()
                       if not name.startswith("X-Backend-"))
        for row in broker.policy_stats():
            policy = self.policies.by_index(row["storage_policy_index"])
            if policy is None:
                continue
            for column in ("container_count", "object_count", "bytes_used"):
                name = column.title().replace("_", "-")
                headers[f"X-Account-Storage-Policy-{policy.name}-{name}"] = str(row[column])
        headers.update(self.metadata_headers(stat))
        return headers

    def head(self, request: Request) -> Answer:
        """What the account is."""
        params = request.params()
        kind = format_of(request, params)
        broker, _ = self._broker(request, 4)
        headers = self._headers_of(broker, self._existing(broker))
        headers["Content-Type"] = CONTENT_TYPES[kind]
        return Answer(204, b"", headers)

    def get(self, request: Request) -> Answer:
        """A listing."""
        params = request.params()
        kind = format_of(request, params)
        query = parse_query(request, params, self.limits["account_listing_limit"])
        query.path = None
        broker, _ = self._broker(request, 4)
        stat = self._existing(broker)
        headers = self._headers_of(broker, stat)
        headers["Content-Type"] = CONTENT_TYPES[kind]
        rows = broker.list_containers(query)
        if kind == "json":
            return Answer(200, json_body([self._json_entry(row) for row in rows]), headers)
        if kind == "xml":
            return Answer(200, self._xml_body(broker.account or "", rows), headers)
        if not rows:
            return Answer(204, b"", headers)
        return Answer(200, "".join(f"{row[0]}\n" for row in rows).encode(
            "utf-8", "surrogateescape"), headers)

    def _policy_name(self, index: int) -> str:
        policy = self.policies.by_index(index)
        return policy.name if policy is not None else f"unknown-{index}"

    def _json_entry(self, row: Any) -> dict[str, Any]:
        if len(row) == 1:
            return {"subdir": row[0]}
        name, count, size, put, policy = row
        return {"name": name, "count": count, "bytes": size,
                "last_modified": isoformat(put),
                "storage_policy": self._policy_name(policy)}

    def _xml_body(self, account: str, rows: list[Any]) -> bytes:
        parts = ['<?xml version="1.0" encoding="UTF-8"?>',
                 f"<account name={xml_attribute(account)}>"]
        for row in rows:
            if len(row) == 1:
                parts.append(f"<subdir name={xml_attribute(row[0])} />")
                continue
            name, count, size, put, policy = row
            parts.append(f"<container><name>{xml_escape(name)}</name><count>{count}</count>"
                         f"<bytes>{size}</bytes><last_modified>{isoformat(put)}"
                         "</last_modified><storage_policy>"
                         f"{xml_escape(self._policy_name(policy))}</storage_policy></container>")
        parts.append("</account>")
        return "\n".join(parts).encode("utf-8", "replace")


def app_factory(global_conf: dict[str, str], **local_conf: str) -> AccountApp:
    """PasteDeploy's way to make the application."""
    return AccountApp({**global_conf, **local_conf})
