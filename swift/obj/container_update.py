# SPDX-License-Identifier: Apache-2.0
"""Telling container servers about an object: at once, or later through async_pending."""
from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from swift.common import node_client
from swift.common.backend_server import Request
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_list
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp

if TYPE_CHECKING:
    from swift.obj.server import ObjectApp

_AGENT = f"object-server {os.getpid()}"
Target = tuple[str, int, str, str]            # host, port, partition, device


@lru_cache(1024)
def parse_targets(hosts: str | None, devices: str | None, partition: str | None
                  ) -> tuple[Target, ...] | None:
    """Servers of X-*-Host, -Device (comma separated, in pairs) and -Partition; None if broken."""
    if not hosts or not devices or not partition:
        return ()
    names, places = config_list(hosts), config_list(devices)
    if len(names) != len(places) or not partition.strip().isdigit():
        return None
    targets = []
    for name, device in zip(names, places, strict=True):
        host, _, port = name.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in device:
            return None
        targets.append((host.strip("[]"), int(port), partition.strip(), device))
    return tuple(targets)


def update_headers(request: Request, policy: StoragePolicy, values: dict[str, str]
                   ) -> dict[str, str]:
    """The headers of an update caused by `request`."""
    env = request.env
    headers = {
        "X-Trans-Id": env.get("HTTP_X_TRANS_ID", "-"),
        "Referer": f"{request.method} {env.get('RAW_PATH_INFO', '')}",
        "User-Agent": _AGENT,
        "X-Backend-Storage-Policy-Index": str(policy.index),
    }
    headers.update(values)
    return headers


def container_update(app: ObjectApp, request: Request, op: str, device: str,
                     names: tuple[str, str, str], policy: StoragePolicy,
                     values: dict[str, str]) -> None:
    """Send the row to the servers the proxy named, waiting for each container_update_timeout.

    What fails becomes an async_pending file before this returns.
    """
    env = request.env
    targets = parse_targets(env.get("HTTP_X_CONTAINER_HOST"), env.get("HTTP_X_CONTAINER_DEVICE"),
                            env.get("HTTP_X_CONTAINER_PARTITION"))
    if targets is None:
        app.logger.error("ERROR container update: host, device and partition headers of %s do "
                         "not fit together", env.get("RAW_PATH_INFO"))
        return
    if not targets:
        return
    headers = update_headers(request, policy, values)
    quoted_path = request.get("X_BACKEND_QUOTED_CONTAINER_PATH")
    path = unquote(quoted_path) if quoted_path else request.get("X_BACKEND_CONTAINER_PATH")
    if path and (path.count("/") != 1 or not all(path.split("/"))):
        app.logger.error("ERROR container update: %r is not the path of a shard", path[:256])
        path = None                                  # the root takes it and moves it later
    send_updates(app, op, names, targets, headers, device, policy, request.timestamp(), path,
                 request.get("X_CONTAINER_ROOT_DB_STATE"))


def send_updates(app: ObjectApp, op: str, names: tuple[str, str, str], targets: Sequence[Target],
                 headers: dict[str, str], device: str, policy: StoragePolicy, timestamp: Timestamp,
                 container_path: str | None = None, db_state: str | None = None) -> None:
    """Send one update to all targets; who does not take it in time gets it from the updater.

    `timestamp` is that of the request: it names the file, so that the latest update counts.
    `container_path` is the shard that takes the container's rows of this name, if it has shards,
    and `db_state` what the proxy knew of that.
    """
    def send(target: Target) -> bool:
        return _send(app, op, names, target, headers, container_path)

    if len(targets) == 1:
        good = send(targets[0])
    else:
        good = all(list(GreenPool(len(targets)).imap(send, targets)))
    if not good:
        _keep_for_later(app, op, names, headers, device, policy, timestamp, container_path,
                        db_state)


def _send(app: ObjectApp, op: str, names: tuple[str, str, str], target: Target,
          headers: dict[str, str], container_path: str | None) -> bool:
    """Whether one server took the update."""
    host, port, partition, device = target
    account, container, obj = names
    if container_path:
        account, _, container = container_path.partition("/")
    try:
        answer = node_client.request(
            host, port, op, node_client.path_of(device, partition, account, container, obj),
            headers, b"", app.conn_timeout, min(app.node_timeout, app.container_update_timeout))
    except (OSError, Timeout) as exc:
        app.logger.error("ERROR container update failed with %s:%s/%s (saving for async update "
                         "later): %s", host, port, device, exc)
        return False
    if answer.status // 100 == 2:
        return True
    app.logger.error("ERROR container update failed (saving for async update later): %d "
                     "response from %s:%s/%s", answer.status, host, port, device)
    return False


def _keep_for_later(app: ObjectApp, op: str, names: tuple[str, str, str],
                    headers: dict[str, str], device: str, policy: StoragePolicy,
                    timestamp: Timestamp, container_path: str | None,
                    db_state: str | None = None) -> None:
    account, container, obj = names
    data: dict[str, Any] = {"op": op, "account": account, "container": container, "obj": obj,
                            "headers": headers, "db_state": db_state}
    if container_path:
        data["container_path"] = container_path
    app.manager.pickle_async_update(device, account, container, obj, data, timestamp, policy)
    if app.statsd is not None:
        app.statsd.count("async_pendings", 1)


def delete_at_update(app: ObjectApp, request: Request, op: str, delete_at: int, device: str,
                     names: tuple[str, str, str], policy: StoragePolicy, size: int = 0) -> None:
    """Enter the object of `size` bytes into, or take it out of, the queue of what expires.

    The proxy names the queue's container and servers to enough of the replicas; one that it did
    not tell leaves the entering to the others. Taking out is left to the updater.
    """
    env = request.env
    if env.get("HTTP_X_BACKEND_CLEAN_EXPIRING_OBJECT_QUEUE", "true").lower() in ("false", "no") \
            and op == "DELETE":
        return
    if op == "PUT" and "HTTP_X_DELETE_AT_HOST" not in env:
        return
    account, container, obj = names
    timestamp = request.timestamp()
    queue = "/".join((f"{delete_at:010d}-{account}", container, obj))
    values = {"X-Timestamp": timestamp.internal}
    targets: Sequence[Target] | None = ()
    if op == "PUT":
        values.update({"X-Size": "0", "X-Content-Type": f"text/plain;swift_expirer_bytes={size}",
                       "X-Content-Type-Timestamp": timestamp.internal,
                       "X-Etag": "d41d8cd98f00b204e9800998ecf8427e"})
        targets = parse_targets(env.get("HTTP_X_DELETE_AT_HOST"),
                                env.get("HTTP_X_DELETE_AT_DEVICE"),
                                env.get("HTTP_X_DELETE_AT_PARTITION"))
    headers = update_headers(request, policy, values)
    headers["X-Backend-Storage-Policy-Index"] = "0"
    queue_container = request.get("X_DELETE_AT_CONTAINER") or app.expirer_container(
        delete_at, account, container, obj)
    queue_names = (app.expiring_account, queue_container, queue)
    zero = app.policies.by_index(0)
    assert zero is not None
    if targets:
        send_updates(app, op, queue_names, targets, headers, device, zero, timestamp)
    else:
        _keep_for_later(app, op, queue_names, headers, device, zero, timestamp, None)
