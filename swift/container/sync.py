# SPDX-License-Identifier: Apache-2.0
"""The container sync daemon: copies the objects of containers with X-Container-Sync-To elsewhere.

Each row of a container is first sent by one of the container's nodes, and then looked at by all of
them, so that the loss of one leaves no gap. How far both have come is kept in the database, behind
the rows: a daemon that dies does some again, and none is left out. A request that comes twice, or
late, does nothing: rows carry the time of their object.
"""
from __future__ import annotations

import http.client
import logging
import os
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from swift.common.concurrency import GreenPool
from swift.common.conf import config_float, config_int, config_list, config_true
from swift.common.container_sync_realms import Realms, signature
from swift.common.daemon import Daemon
from swift.common.db import Row
from swift.common.db_files import Idle, look
from swift.common.devices import databases, is_local, local_addresses
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.internal_client import InternalClient
from swift.common.progress import HOUR, Progress
from swift.common.ring import Ring
from swift.common.storage import hash_path
from swift.common.timestamp import Timestamp, decode_timestamps
from swift.container.backend import DATADIR, ContainerBroker
from swift.container.shard_broker import SHARDED, SHARDING
from swift.container.sync_target import check_sync_to

VERSIONS = "x-container-sysmeta-versions-container"
COUNTED = ("syncs", "puts", "deletes", "skips", "failures")       # syncs are containers
_PAGE = 100
_NOT_SENT = ("content-length", "etag", "x-timestamp", "date", "x-trans-id", "accept-ranges",
             "x-openstack-request-id", "last-modified", "connection", "x-symlink-target-bytes")


class SyncFailed(Exception):
    """A row could not be sent now."""


class ContainerSync(Daemon):
    """Sends what is in containers to where they are synchronised to.

    Options: devices, mount_check, swift_dir, interval, container_time, sync_row_concurrency,
    conn_timeout, request_timeout, sync_proxy, allowed_sync_hosts, internal_client_conf_path.
    """

    section = "container-sync"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None,
                 client: InternalClient | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 300)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.swift_dir = conf.get("swift_dir") or os.environ.get("SWIFT_DIR", "/etc/swift")
        self.container_time = config_float(conf, "container_time", 60)
        self.row_concurrency = config_int(conf, "sync_row_concurrency", 8, 1)
        self.conn_timeout = config_float(conf, "conn_timeout", 5)
        self.request_timeout = config_float(conf, "request_timeout", 60)
        self.proxies = config_list(conf.get("sync_proxy", ""))
        self.allowed_hosts = config_list(conf.get("allowed_sync_hosts", "127.0.0.1"))
        self.realms = Realms(os.path.join(self.swift_dir, "container-sync-realms.conf"),
                             self.logger)
        self.port = int(conf.get("bind_port", 6201))
        self.addresses = local_addresses(conf)
        self.counts: Counter[str] = Counter()
        self._client = client
        self._ring: Ring | None = None
        self._idle = Idle()

    @property
    def client(self) -> InternalClient:
        """What objects are read through; made when the first is."""
        if self._client is None:
            self._client = InternalClient.of(self.conf)
        return self._client

    @property
    def ring(self) -> Ring:
        """The ring of containers."""
        if self._ring is None:
            self._ring = Ring(self.swift_dir, ring_name="container")
        return self._ring

    def run_once(self) -> None:
        """One pass over the containers of this node."""
        self._idle.begin()
        start = time.monotonic()
        self.counts = Counter(dict.fromkeys(COUNTED, 0))
        progress = Progress(self.logger, HOUR)
        for db_file, device, partition in databases(self.devices, DATADIR, self.mount_check,
                                                    self.logger):
            progress.tell("Containers sent from in this pass", self.counts["syncs"])
            try:
                if not self._idle.has(db_file):
                    self.sync(db_file, device, int(partition))
            except (OSError, sqlite3.Error, DatabaseConnectionError, LockTimeout) as exc:
                self._note("failures")
                self.logger.error("ERROR container sync of %s: %s", db_file, exc)
        counts = self.counts
        self.logger.log(
            logging.INFO if counts["puts"] + counts["deletes"] + counts["failures"]
            else logging.DEBUG, "Container sync pass: %s in %.2f s",
            ", ".join(f"{counts[what]} {what}" for what in COUNTED), time.monotonic() - start)

    def _note(self, what: str) -> None:
        self.counts[what] += 1
        self.measure(**{what: 1})

    # -- one container ---------------------------------------------------

    def sync(self, db_file: str, device: str, partition: int) -> None:
        """Send what is new in one container, for `container_time` at most."""
        nodes = self.ring.get_part_nodes(partition)
        mine = [at for at, node in enumerate(nodes) if node["device"] == device
                and is_local(node, self.addresses, self.port)]
        if not mine:
            return                         # a handoff: its rows will reach the nodes they belong to
        looked = look(db_file)
        broker = ContainerBroker(db_file, logger=self.logger, keep=False)
        stat = broker.stat()
        if broker.stat_is_deleted(stat):
            return
        metadata = {name.lower(): value for name, (value, _) in
                    ContainerBroker.metadata_of(stat).items()}
        target, key = metadata.get("x-container-sync-to"), metadata.get("x-container-sync-key")
        if not target or not key:
            self._idle.note(db_file, looked)
            return
        # As OpenStack Swift: its own versions would be sent as objects, and rows in shards never.
        why = "it keeps versions of its objects" if metadata.get(VERSIONS) else \
            "it is divided among shards" if stat["db_state"] in (SHARDING, SHARDED) else None
        if why is not None:
            self._note("skips")
            self.logger.warning("Container sync skips %s/%s: %s", stat["account"],
                                stat["container"], why)
            return
        problem = check_sync_to(target, self.allowed_hosts)
        if problem is not None:
            self._note("failures")
            self.logger.error("ERROR container sync of %s: %s", db_file, problem)
            return
        self._send_rows(Peer(self, stat["account"], stat["container"], target, key), broker, stat,
                        mine[0], len(nodes))
        self._note("syncs")

    def _send_rows(self, peer: Peer, broker: ContainerBroker, stat: Row, ordinal: int,
                   count: int) -> None:
        deadline = time.monotonic() + self.container_time
        first, second = stat["x_container_sync_point1"], stat["x_container_sync_point2"]
        failed: int | None = None          # everything up to here is where it should be
        at = second
        while at < first and time.monotonic() < deadline:
            rows = [row for row in broker.items_since(at, _PAGE) if row["ROWID"] <= first]
            for row in rows:
                if not self._sent(peer, row) and failed is None:
                    failed = at
                at = row["ROWID"]
                if time.monotonic() > deadline:
                    break
            if not rows:
                at = first
            broker.set_sync_points(None, at if failed is None else failed)
        pool = GreenPool(self.row_concurrency)
        while time.monotonic() < deadline:
            rows = broker.items_since(first, _PAGE)
            if not rows:
                break
            for row in rows:
                name_hash = hash_path(peer.account, peer.container, row["name"])
                if int(name_hash, 16) % count == ordinal:
                    pool.spawn_n(self._sent, peer, row)
                first = row["ROWID"]
                if time.monotonic() > deadline:
                    break
            pool.waitall()
            broker.set_sync_points(first, None)

    def _sent(self, peer: Peer, row: Row) -> bool:
        began = time.monotonic()
        try:
            peer.send(row)
            what = "deletes" if row["deleted"] else "puts"
            self._note(what)
            self.took(f"{what}.timing", began)
            return True
        except (SyncFailed, OSError, http.client.HTTPException) as exc:
            self.logger.error("ERROR container sync of %s/%s/%s to %s: %s", peer.account,
                              peer.container, row["name"], peer.target, exc)
            self._note("failures")
            return False


class Peer:
    """The other end of one container's synchronisation."""

    def __init__(self, daemon: ContainerSync, account: str, container: str, target: str,
                 key: str) -> None:
        self.daemon, self.account, self.container = daemon, account, container
        self.target, self.key = target, key
        self.realm_key: str | None = None
        url = target
        if target.startswith("//"):
            realm, cluster, to_account, to_container = target[2:].split("/")
            endpoint = daemon.realms.endpoint(realm, cluster)
            found = daemon.realms.realm(realm)
            url = f"{endpoint}{to_account}/{to_container}" if endpoint else ""
            self.realm_key = found.key if found else None
        self.url = urlsplit(url)

    def send(self, row: Row) -> None:
        """Send one row's object, or its deletion; raises SyncFailed, OSError, HTTPException."""
        if not self.url.hostname:
            raise SyncFailed("its realm or cluster is not in container-sync-realms.conf")
        data, _, meta = decode_timestamps(row["created_at"])
        stamp = meta or data
        if row["deleted"]:
            status = self._request("DELETE", row["name"], stamp, {})
            if status // 100 != 2 and status not in (404, 409):
                raise SyncFailed(f"DELETE answered {status}")
            return
        if self._there(row["name"], stamp):
            return
        self._put(row, stamp)

    def _there(self, name: str, stamp: Timestamp) -> bool:
        """Whether the other end has this, or something newer."""
        connection = self._connect()
        try:
            connection.request("HEAD", self._path(name) + "?symlink=get",
                               headers=self._headers("HEAD", name, Timestamp.now()))
            answer = connection.getresponse()
            found = answer.getheader("X-Timestamp")
            return answer.status // 100 == 2 and found is not None and Timestamp(found) >= stamp
        except ValueError:
            return False
        finally:
            connection.close()

    def _put(self, row: Row, stamp: Timestamp) -> None:
        path = f"/v1/{self.account}/{self.container}/{row['name']}"
        status, found, pieces = self.daemon.client.request("GET", path, {
            "X-Newest": "true",
            "X-Backend-Storage-Policy-Index": str(row["storage_policy_index"])}, "symlink=get")
        try:
            if status == 404:
                return                     # deleted since: that row is still to come
            if status != 200:
                raise SyncFailed(f"reading the object answered {status}")
            own = Timestamp(found.get("x-timestamp", "0"))
            if own < stamp:
                raise SyncFailed("the object's newest version cannot be read yet")
            headers = {name.title(): value for name, value in found.items()
                       if name not in _NOT_SENT and not name.startswith("x-backend-")}
            headers.update({"Content-Length": found["content-length"],
                            "Etag": found["etag"].strip('"')})
            if "x-symlink-target-etag" in found:
                headers["X-Symlink-Target-Bytes"] = found.get("x-symlink-target-bytes", "0")
            status = self._request("PUT", row["name"], own, headers, pieces)
            if status // 100 != 2 and status != 409:
                raise SyncFailed(f"PUT answered {status}")
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    # -- requests --------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self.url.path}/{quote(name, errors='surrogateescape')}"

    def _headers(self, method: str, name: str, stamp: Timestamp) -> dict[str, str]:
        headers = {"X-Timestamp": stamp.internal, "User-Agent": "container-sync"}
        if self.realm_key is None:
            headers["X-Container-Sync-Key"] = self.key
        else:
            nonce = uuid.uuid4().hex
            signed = signature(method, f"{unquote(self.url.path)}/{name}", stamp.internal, nonce,
                               self.realm_key, self.key)
            realm = self.target[2:].partition("/")[0]
            headers["X-Container-Sync-Auth"] = f"{realm} {nonce} {signed}"
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        """A connection to the other end; certificates are checked."""
        https = self.url.scheme == "https"
        kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
        host, port = self.url.hostname or "", self.url.port or (443 if https else 80)
        if self.daemon.proxies:
            proxy = urlsplit(self.daemon.proxies[hash(self.container) % len(self.daemon.proxies)])
            connection = kind(proxy.hostname or "", proxy.port, timeout=self.daemon.conn_timeout)
            connection.set_tunnel(host, port)
        else:
            connection = kind(host, port, timeout=self.daemon.conn_timeout)
        connection.connect()
        assert connection.sock is not None
        connection.sock.settimeout(self.daemon.request_timeout)
        return connection

    def _request(self, method: str, name: str, stamp: Timestamp, headers: dict[str, str],
                 pieces: Iterable[bytes] | None = None) -> int:
        connection = self._connect()
        try:
            sent = {**headers, **self._headers(method, name, stamp)}
            body: Any = pieces
            connection.request(method, self._path(name), body=body, headers=sent)
            answer = connection.getresponse()
            answer.read(1 << 20)
            return answer.status
        finally:
            connection.close()
