# SPDX-License-Identifier: Apache-2.0
"""The container server: containers, the rows of their objects, and listings.

    PUT /sda/12/AUTH_a/c          makes or updates a container
    PUT /sda/12/AUTH_a/c/o        the row of an object, sent by object servers
    GET /sda/12/AUTH_a/c          what it holds, or which shards do
"""
from __future__ import annotations

import functools
import logging
from typing import Any

from swift.common import node_client
from swift.common.backend_server import Answer, Request
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conditional import http_date
from swift.common.conf import config_list, config_true
from swift.common.db import Row
from swift.common.db_server import DbApp
from swift.common.exceptions import (
    DatabaseAlreadyExists,
    DatabaseConnectionError,
)
from swift.common.listing import (
    CONTENT_TYPES,
    format_of,
    json_body,
    parse_query,
)
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp, decode_timestamps, isoformat
from swift.common.xml_text import xml_attribute, xml_escape
from swift.container import shard_requests
from swift.container.backend import DATADIR, ContainerBroker
from swift.container.rpc import ContainerRpc
from swift.container.sync_target import check_sync_to

_SAVED = ("X-Container-Read", "X-Container-Write", "X-Container-Sync-Key", "X-Container-Sync-To")


class ContainerApp(DbApp):
    """The WSGI application. Options: see etc/swift/container-server.conf-sample."""

    server_type = "container"
    datadir = DATADIR
    meta_type = "Container"
    save_headers = _SAVED

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.policies = policies()
        self.allowed_sync_hosts = config_list(conf.get("allowed_sync_hosts", "127.0.0.1"))
        self.rpc = ContainerRpc(self.device_path, DATADIR, ContainerBroker)
        self.handlers = {"PUT": self.with_room(self.put), "POST": self.with_room(self.post),
                         "GET": self.get, "HEAD": self.head, "DELETE": self.delete,
                         "REPLICATE": self.with_room(self.replicate),
                         "UPDATE": self.with_room(self.update), "OPTIONS": self.options}

    def _broker(self, request: Request, least: int, most: int
                ) -> tuple[ContainerBroker, list[Any]]:
        parts = request.split(least, most)
        device, partition, account, container = parts[:4]
        assert device and partition and account and container
        path = self.db_file(device, partition, account, container)
        return ContainerBroker(path, account, container, self.logger), parts

    def _policy_of(self, request: Request) -> int | None:
        """X-Backend-Storage-Policy-Index, if given; 400 when there is no such policy."""
        value = request.env.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        if value is None:
            return None
        policy = self.policies.by_index(value)
        if policy is None:
            raise Answer(400, f"Invalid X-Storage-Policy-Index {value[:20]!r}")
        return policy.index

    # -- PUT, POST, DELETE -----------------------------------------------

    def also_called(self, env: dict[str, Any]) -> tuple[str, ...]:
        method, of_shards = env["REQUEST_METHOD"], \
            env.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower() == "shard"
        if method == "GET":
            return ("GET_shard" if of_shards else "GET_object",)
        if method != "PUT":
            return ()
        if env["PATH_INFO"].count("/") > 4:
            return ("PUT_object",)
        return ("PUT_shard" if of_shards else "PUT_container",)

    def put(self, request: Request) -> Answer:
        """A container, or the row of an object in it."""
        timestamp = request.timestamp()
        broker, parts = self._broker(request, 4, 5)
        if parts[4] is not None:
            return self._put_row(request, broker, parts, timestamp)
        if request.env.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower() == "shard":
            return self._put_shards(request, broker, parts[2], timestamp)
        requested = self._policy_of(request)
        updates = self.request_metadata(request, timestamp)
        self._check_sync_to(request)
        created = self._update_or_create(broker, request, timestamp, requested)
        self._update_settings(broker, updates)
        self._account_update(request, parts[2], parts[3], broker)
        return Answer(201 if created else 202, b"", {
            "X-Backend-Storage-Policy-Index": str(broker.stat()["storage_policy_index"])})

    def _update_settings(self, broker: ContainerBroker, updates: dict[str, tuple[str, str]]
                         ) -> None:
        """Store metadata; a container that is synchronised to another place begins anew."""
        target = updates.get("X-Container-Sync-To")
        if target is not None:
            known = broker.metadata().get("X-Container-Sync-To", ["", ""])[0]
            if known != target[0]:
                broker.set_sync_points(-1, -1)
        self.update_metadata(broker, updates)

    def _check_sync_to(self, request: Request) -> None:
        value = request.get("X_CONTAINER_SYNC_TO")
        if value:
            error = check_sync_to(value, self.allowed_sync_hosts)
            if error:
                raise Answer(400, error)

    def _update_or_create(self, broker: ContainerBroker, request: Request, timestamp: Timestamp,
                          requested: int | None) -> bool:
        """Make the container exist; whether it did not before. 409 for an older PUT, or one of
        another storage policy."""
        stamp = timestamp.internal
        default = request.env.get("HTTP_X_BACKEND_STORAGE_POLICY_DEFAULT")
        index = requested
        if index is None:
            policy = self.policies.by_index(default) if default else self.policies.default
            index = (policy or self.policies.default).index
        if not broker.exists():
            try:
                broker.initialize(stamp, index)
                return True
            except DatabaseAlreadyExists:
                pass
        stat = broker.stat()
        recreated = broker.stat_is_deleted(stat)
        if recreated:
            if timestamp <= Timestamp(stat["delete_timestamp"]):
                raise Answer(409, "The container was deleted later")
            broker.recreate(stamp, index)
            return True
        if requested is not None and requested != stat["storage_policy_index"]:
            raise Answer(409, "The container exists with another storage policy", {
                "X-Backend-Storage-Policy-Index": str(stat["storage_policy_index"])})
        broker.update_put_timestamp(stamp)
        return False

    def _put_row(self, request: Request, broker: ContainerBroker, parts: list[Any],
                 timestamp: Timestamp) -> Answer:
        env = request.env
        account, name = parts[2], parts[4]
        policy = self._policy_of(request)
        try:
            size = int(env["HTTP_X_SIZE"])
            content_type = request.get("X_CONTENT_TYPE")
            etag = request.get("X_ETAG")
            if size < 0 or content_type is None or etag is None:
                raise KeyError
        except (KeyError, ValueError):
            raise Answer(400, "X-Size, X-Content-Type and X-Etag are needed") from None
        times = []
        for header in ("HTTP_X_CONTENT_TYPE_TIMESTAMP", "HTTP_X_META_TIMESTAMP"):
            try:
                times.append(Timestamp(env[header]).internal if header in env else None)
            except ValueError:
                raise Answer(400, f"{header} is no time") from None
        self._need(request, broker, account, timestamp, policy or 0)
        elsewhere = shard_requests.redirect(request, broker, name)
        if elsewhere is not None:
            return elsewhere
        try:
            broker.put_object(name, timestamp.internal, size, content_type, etag, 0, policy or 0,
                              *times)
        except DatabaseConnectionError:
            raise Answer(404, "The resource could not be found.") from None
        return Answer(201)

    def _put_shards(self, request: Request, broker: ContainerBroker, account: str,
                    timestamp: Timestamp) -> Answer:
        """Shard ranges, and the container's metadata, from a parent, a root or a tool."""
        policy = self._policy_of(request)
        ranges = shard_requests.read_ranges(request)
        if policy is None and not broker.exists():
            raise Answer(400 if shard_requests.makes_missing(
                request, account, self.auto_create_prefix) else 404,
                "X-Backend-Storage-Policy-Index is needed to make a container")
        created = self._need(request, broker, account, timestamp, policy or 0)
        self._update_settings(broker, self.request_metadata(request, timestamp))
        broker.merge_shard_ranges(ranges)
        return Answer(201 if created else 202, b"", {
            "X-Backend-Storage-Policy-Index": str(broker.stat()["storage_policy_index"])})

    def _need(self, request: Request, broker: ContainerBroker, account: str,
              timestamp: Timestamp, policy_index: int) -> bool:
        """404 unless the container's file exists or may be made; whether it was made now."""
        if broker.exists():
            return False
        if not shard_requests.makes_missing(request, account, self.auto_create_prefix):
            raise Answer(404, "The resource could not be found.")
        try:
            broker.initialize(timestamp.normal, policy_index)
            return True
        except DatabaseAlreadyExists:
            return False

    def post(self, request: Request) -> Answer:
        """Update metadata."""
        timestamp = request.timestamp()
        broker, _ = self._broker(request, 4, 4)
        self._check_sync_to(request)
        if broker.is_deleted():
            raise Answer(404, "The resource could not be found.")
        broker.update_put_timestamp(timestamp.internal)
        self._update_settings(broker, self.request_metadata(request, timestamp))
        return Answer(204)

    def delete(self, request: Request) -> Answer:
        """The container, which must be empty, or the row of an object."""
        timestamp = request.timestamp()
        broker, parts = self._broker(request, 4, 5)
        account, container, name = parts[2:5]
        if name is not None:
            policy = self._policy_of(request) or 0
            self._need(request, broker, account, timestamp, policy)
            elsewhere = shard_requests.redirect(request, broker, name)
            if elsewhere is not None:
                return elsewhere
            try:
                broker.delete_object(name, timestamp.internal, policy)
            except DatabaseConnectionError:
                raise Answer(404, "The resource could not be found.") from None
            return Answer(204)
        if not broker.exists():
            raise Answer(404, "The resource could not be found.")
        if not broker.empty():
            raise Answer(409, "There was a conflict when trying to complete your request.")
        stat = broker.stat()
        existed = not broker.stat_is_deleted(stat)
        broker.delete_db(timestamp.internal)
        if not broker.is_deleted():
            raise Answer(409, "The container was put later")
        self._account_update(request, account, container, broker)
        if existed:
            return Answer(204)
        return Answer(404, "The resource could not be found.")

    def update(self, request: Request) -> Answer:
        """Rows of objects in bulk, from other servers' tools."""
        timestamp = request.timestamp()
        broker, parts = self._broker(request, 4, 4)
        policy = self._policy_of(request)
        rows = shard_requests.read_rows(request)
        self._need(request, broker, parts[2], timestamp, policy or 0)
        broker.merge_items(rows)
        return Answer(202)

    def _account_update(self, request: Request, account: str, container: str,
                        broker: ContainerBroker) -> None:
        """Tell the account servers the proxy named; 404 when all of them know no such account.

        What fails is made up for by the container updater.
        """
        env = request.env
        hosts = config_list(env.get("HTTP_X_ACCOUNT_HOST", ""))
        devices = config_list(env.get("HTTP_X_ACCOUNT_DEVICE", ""))
        partition = env.get("HTTP_X_ACCOUNT_PARTITION", "")
        if len(hosts) != len(devices):
            self.logger.error("ERROR account update: X-Account-Host and -Device do not fit")
            raise Answer(400, "X-Account-Host and X-Account-Device must be of equal length")
        if not hosts or not partition:
            return
        stat = broker.stat()
        headers = {
            "X-Put-Timestamp": stat["put_timestamp"],
            "X-Delete-Timestamp": stat["delete_timestamp"],
            "X-Object-Count": str(stat["object_count"]),
            "X-Bytes-Used": str(stat["bytes_used"]),
            "X-Trans-Id": env.get("HTTP_X_TRANS_ID", "-"),
            "X-Backend-Storage-Policy-Index": str(stat["storage_policy_index"]),
            "User-Agent": "container-server",
            "Referer": f"{request.method} {env.get('RAW_PATH_INFO', '')}",
        }
        if config_true(env.get("HTTP_X_ACCOUNT_OVERRIDE_DELETED", "no")):
            headers["X-Account-Override-Deleted"] = "yes"

        def send(pair: tuple[str, str]) -> int:
            host, _, port = pair[0].rpartition(":")
            try:
                return node_client.request(
                    host.strip("[]"), int(port), "PUT",
                    node_client.path_of(pair[1], partition, account, container), headers, b"",
                    self.conn_timeout, self.node_timeout).status
            except (OSError, ValueError, Timeout) as exc:
                self.logger.error("ERROR account update failed with %s/%s (will retry later): %s",
                                  pair[0], pair[1], exc)
                return 500

        pairs = list(zip(hosts, devices, strict=True))
        statuses = [send(pairs[0])] if len(pairs) == 1 else list(GreenPool(8).imap(send, pairs))
        if all(status == 404 for status in statuses):
            raise Answer(404, "The resource could not be found.")

    # -- GET and HEAD ----------------------------------------------------

    def _headers_of(self, stat: Row) -> dict[str, str]:
        headers = {
            "X-Container-Object-Count": str(stat["object_count"]),
            "X-Container-Bytes-Used": str(stat["bytes_used"]),
            "X-Backend-Storage-Policy-Index": str(stat["storage_policy_index"]),
            "X-Backend-Sharding-State": stat["db_state"],
            "Last-Modified": http_date(Timestamp(stat["put_timestamp"]).ceil()),
        }
        headers.update(self.time_headers(stat))
        headers.update(self.metadata_headers(stat))
        return headers

    def _existing(self, request: Request) -> tuple[ContainerBroker, Row]:
        """The container's broker and stat, or 404 with what is known of its deletion."""
        broker, _ = self._broker(request, 4, 5)
        if not broker.exists():
            raise Answer(404, "The resource could not be found.")
        stat = broker.stat()
        if broker.stat_is_deleted(stat) and not config_true(
                request.env.get("HTTP_X_BACKEND_OVERRIDE_DELETED", "")):
            headers = {name: value for name, value in self._headers_of(stat).items()
                       if name.startswith("X-Backend-")}
            raise Answer(404, "The resource could not be found.", headers)
        return broker, stat

    def head(self, request: Request) -> Answer:
        """What the container is."""
        params = request.params()
        kind = format_of(request, params)
        _, stat = self._existing(request)
        headers = self._headers_of(stat)
        headers["Content-Type"] = CONTENT_TYPES[kind]
        return Answer(204, b"", headers)

    def get(self, request: Request) -> Answer:
        """A listing."""
        params = request.params()
        kind = format_of(request, params)
        query = parse_query(request, params, self.limits["container_listing_limit"])
        broker, stat = self._existing(request)
        headers = self._headers_of(stat)
        headers["Content-Type"] = CONTENT_TYPES[kind]
        if shard_requests.wants_shards(request, stat):
            return shard_requests.list_shards(request, broker, stat, params, kind, headers)
        broker = broker.oldest()
        headers["X-Backend-Record-Type"] = "object"
        index = self._policy_of(request)
        headers["X-Backend-Record-Storage-Policy-Index"] = str(
            stat["storage_policy_index"] if index is None else index)
        rows = broker.list_objects(query, index)
        if kind == "json":
            return Answer(200, json_body([_json_entry(row) for row in rows]), headers)
        if kind == "xml":
            return Answer(200, _xml_body(broker.container or "", rows), headers)
        if not rows:
            return Answer(204, b"", headers)
        return Answer(200, "".join(f"{row[0]}\n" for row in rows).encode(
            "utf-8", "surrogateescape"), headers)


def split_content_type(content_type: str, size: int) -> tuple[str, int]:
    """(type, size) as listings show them: parameters without blanks around them, and of a large
    object, the size its manifest says."""
    if ";" not in content_type:
        return content_type, size
    shown, of_manifest = _type_and_size(content_type)
    return shown, size if of_manifest is None else of_manifest


@functools.lru_cache(maxsize=256)
def _type_and_size(content_type: str) -> tuple[str, int | None]:
    size, open_part, parts = None, "", []
    kind, _, rest = content_type.partition(";")
    for piece in rest.split(";"):
        open_part = f"{open_part};{piece}" if open_part else piece
        if open_part.count('"') % 2 == 0:            # else the semicolon was a quoted one
            parts.append(open_part)
            open_part = ""
    kept = [kind]
    for part in (*parts, open_part):
        name, _, value = (text.strip() for text in part.partition("="))
        if name == "swift_bytes" and value.strip('"').isdigit():
            size = int(value.strip('"'))
        elif name:
            kept.append(f"{name}={value}")
    return ";".join(kept), size


def modified(created_at: str) -> str:
    """last_modified of a row: that of its newest part."""
    if "+" not in created_at and "-" not in created_at:
        return isoformat(created_at)
    data, _, meta = decode_timestamps(created_at)
    return (meta or data).isoformat


def _json_entry(row: Any) -> dict[str, Any]:
    if len(row) == 1:
        return {"subdir": row[0]}
    name, created_at, size, content_type, etag = row
    content_type, size = split_content_type(content_type, size)
    return {"bytes": size, "hash": etag, "name": name, "content_type": content_type,
            "last_modified": modified(created_at)}


def _xml_body(container: str, rows: list[Any]) -> bytes:
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n<container name=',
             xml_attribute(container), ">"]
    for row in rows:
        if len(row) == 1:
            parts.append(f"<subdir name={xml_attribute(row[0])}><name>{xml_escape(row[0])}"
                         "</name></subdir>")
            continue
        name, created_at, size, content_type, etag = row
        content_type, size = split_content_type(content_type, size)
        parts.append(f"<object><name>{xml_escape(name)}</name><hash>{xml_escape(etag)}</hash>"
                     f"<bytes>{size}</bytes><content_type>{xml_escape(content_type)}"
                     f"</content_type><last_modified>{modified(created_at)}</last_modified>"
                     "</object>")
    parts.append("</container>")
    return "".join(parts).encode("utf-8", "replace")


def app_factory(global_conf: dict[str, str], **local_conf: str) -> ContainerApp:
    """PasteDeploy's way to make the application."""
    return ContainerApp({**global_conf, **local_conf})
