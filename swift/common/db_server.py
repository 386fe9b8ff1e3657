# SPDX-License-Identifier: Apache-2.0
"""What the container and the account server share beyond `backend_server`."""
from __future__ import annotations

import logging
import os
from typing import Any

from swift.common import durable
from swift.common.backend_server import (
    Answer,
    BackendApp,
    Handler,
    Request,
    header_name,
    text_of,
    wire,
)
from swift.common.concurrency import Semaphore
from swift.common.conf import (
    config_fallocate,
    config_float,
    config_int,
    config_list,
    config_true,
    read_swift_conf,
)
from swift.common.db import Broker, MetadataTooLarge, Row
from swift.common.exceptions import ConfigError, InsufficientStorage
from swift.common.storage import hash_path, storage_directory
from swift.common.timestamp import Timestamp

_CONSTRAINTS = {"max_meta_count": 90, "max_meta_overall_size": 4096,
                "container_listing_limit": 10000, "account_listing_limit": 10000}


def swift_constraints() -> dict[str, int]:
    """The limits of [swift-constraints] in swift.conf that databases check."""
    try:
        section = read_swift_conf().get("swift-constraints", {})
    except ConfigError:
        section = {}                      # the hash secrets were set without a file: tests, tools
    return {name: config_int(section, name, default) for name, default in _CONSTRAINTS.items()}


class DbApp(BackendApp):
    """A server of databases. Options: devices, mount_check, fallocate_reserve, node_timeout,
    conn_timeout, auto_create_account_prefix and those of `BackendApp`."""

    datadir = ""
    meta_type = ""                        # Container, Account
    save_headers: tuple[str, ...] = ()    # beyond X-<meta_type>-Meta-* and -Sysmeta-*

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.node_timeout = config_float(conf, "node_timeout", 3)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.auto_create_prefix = conf.get("auto_create_account_prefix", ".")
        self.limits = swift_constraints()
        self.reserve = config_fallocate(conf.get("fallocate_reserve", "1%"))
        self.replications = Semaphore(config_int(conf, "replication_concurrency", 8, 1))
        self._prefixes = tuple(f"HTTP_X_{self.meta_type.upper()}_{kind}_"
                               for kind in ("META", "SYSMETA"))
        self._save_keys = {"HTTP_" + name.upper().replace("-", "_"): name
                           for name in (*self.save_headers,
                                        *config_list(conf.get("extra_save_headers", "")))}

    def device_path(self, device: str) -> str:
        """The directory of a device, or InsufficientStorage."""
        path = f"{self.devices}/{device}"
        if not (os.path.ismount(path) if self.mount_check else os.path.isdir(path)):
            raise InsufficientStorage(device)
        return path

    def with_room(self, handler: Handler) -> Handler:
        """A handler of what takes room, by which a device below its reserve takes nothing: a full
        one could not even be emptied."""
        def checked(request: Request) -> Answer:
            device = request.split(3, 5)[0]
            assert device
            try:
                durable.check_reserve(self.device_path(device), 0, self.reserve)
            except OSError as exc:
                self.logger.error("ERROR %s of %s: %s", request.method, device, exc)
                raise InsufficientStorage(device) from exc
            return handler(request)
        return checked

    def db_file(self, device: str, partition: str, *names: str) -> str:
        """Where the database of an account or container is."""
        name_hash = hash_path(*names)
        return (f"{self.device_path(device)}/"
                f"{storage_directory(self.datadir, partition, name_hash)}/{name_hash}.db")

    # -- metadata --------------------------------------------------------

    def request_metadata(self, request: Request, timestamp: Timestamp
                         ) -> dict[str, tuple[str, str]]:
        """Metadata headers of a request with its time; an empty value removes."""
        stamp = timestamp.internal
        found = {}
        for key, value in request.env.items():
            if key.startswith(self._prefixes):
                found[header_name(key)] = (text_of(value), stamp)
            elif key in self._save_keys:
                found[self._save_keys[key]] = (text_of(value), stamp)
        return found

    def update_metadata(self, broker: Broker, updates: dict[str, tuple[str, str]]) -> None:
        """Store metadata; 400 if all of it together would be too much."""
        if not updates:
            return
        try:
            broker.update_metadata(updates, self._check_metadata)
        except MetadataTooLarge as exc:
            raise Answer(400, str(exc)) from exc

    def _check_metadata(self, values: dict[str, str]) -> None:
        prefix = f"x-{self.meta_type.lower()}-meta-"
        own = {name[len(prefix):]: value for name, value in values.items()
               if name.lower().startswith(prefix)}
        if len(own) > self.limits["max_meta_count"]:
            raise MetadataTooLarge(f"Too many metadata items; max {self.limits['max_meta_count']}")
        size = sum(len(name.encode("utf-8", "surrogateescape"))
                   + len(value.encode("utf-8", "surrogateescape")) for name, value in own.items())
        if size > self.limits["max_meta_overall_size"]:
            raise MetadataTooLarge(
                f"Total metadata too large; max {self.limits['max_meta_overall_size']}")

    @staticmethod
    def metadata_headers(stat: Row) -> dict[str, str]:
        """Stored metadata as response headers."""
        return {wire(name): wire(value) for name, (value, _) in Broker.metadata_of(stat).items()
                if value != ""}

    @staticmethod
    def time_headers(stat: Row) -> dict[str, str]:
        """When it was made, put, deleted and changed."""
        created, put = Timestamp(stat["created_at"]), Timestamp(stat["put_timestamp"])
        return {
            "X-Timestamp": created.normal,
            "X-PUT-Timestamp": put.normal,
            "X-Backend-Timestamp": created.internal,
            "X-Backend-PUT-Timestamp": put.internal,
            "X-Backend-DELETE-Timestamp": Timestamp(stat["delete_timestamp"]).internal,
            "X-Backend-Status-Changed-At": Timestamp(stat["status_changed_at"]).internal,
        }

    # -- replication -----------------------------------------------------

    rpc: Any = None

    def replicate(self, request: Request) -> Answer:
        """An operation of a peer's replicator."""
        device, partition, name_hash = request.split(3, 3)
        assert device and partition and name_hash
        body = request.env["wsgi.input"].read()
        with self.replications:
            return self.rpc.dispatch(device, partition, name_hash, body)

    def options(self, _request: Request) -> Answer:
        """What this server is and takes."""
        return Answer(200, b"", {"Allow": ", ".join(sorted(self.handlers)),
                                 "Server": f"{self.server_type}-server"})
