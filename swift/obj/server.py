# SPDX-License-Identifier: Apache-2.0
"""The object server: PUT, GET, HEAD, POST, DELETE of objects on its devices, and REPLICATE
and SSYNC.

    PUT /sda/12/AUTH_a/c/o        X-Timestamp decides: not newer than what is here is a 409
"""
from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any

from swift.common import ec, safe_pickle
from swift.common.backend_server import Answer, BackendApp, Request, header_name, text_of, wire
from swift.common.concurrency import Semaphore
from swift.common.conditional import (
    Unsatisfiable,
    http_date,
    parse_range,
    precondition,
)
from swift.common.conf import config_float, config_int, config_list, config_percent
from swift.common.exceptions import (
    DiskFileCollision,
    DiskFileDeleted,
    DiskFileExpired,
    DiskFileMetadataTooLarge,
    DiskFileNoSpace,
    DiskFileNotExist,
    DiskFileQuarantined,
    InsufficientStorage,
)
from swift.common.expiry import queue_container
from swift.common.storage_policy import StoragePolicy, policies
from swift.common.timestamp import Timestamp
from swift.obj import partition_power, ssync_receiver
from swift.obj.backend import DiskFile, Manager, Reader
from swift.obj.container_update import container_update, delete_at_update
from swift.obj.ec_backend import EcDiskFile, parse_preferences
from swift.obj.put import Put

DEFAULT_ALLOWED_HEADERS = ("Content-Disposition, Content-Encoding, X-Delete-At, X-Object-Manifest,"
                           " X-Static-Large-Object, Cache-Control, Content-Language, Expires,"
                           " X-Robots-Tag")
_NEVER_ALLOWED = frozenset(("content-type", "content-length", "etag", "deleted", "x-timestamp",
                            "name"))
# environ prefixes of metadata that a POST replaces
_POST_PREFIXES = ("HTTP_X_OBJECT_META_", "HTTP_X_OBJECT_TRANSIENT_SYSMETA_")
_SHOWN_PREFIXES = ("x-object-meta-", "x-object-sysmeta-", "x-object-transient-sysmeta-")
Names = tuple[str, str, str]
UNLIMITED = 1 << 30           # requests at a time


class ObjectApp(BackendApp):
    """The WSGI application. Options: see etc/swift/object-server.conf-sample."""

    server_type = "object"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.manager = Manager(conf, self.logger)
        self.manager.statsd = self.statsd
        self.policies = policies()
        self.node_timeout = config_float(conf, "node_timeout", 3)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.container_update_timeout = config_float(conf, "container_update_timeout", 1)
        self.max_upload_time = config_int(conf, "max_upload_time", 86400)
        self.network_chunk_size = config_int(conf, "network_chunk_size", 524288, 1)
        self.max_file_size = config_int(conf, "max_file_size", 5368709122)
        self.expiring_account = conf.get("auto_create_account_prefix", ".") + \
            conf.get("expiring_objects_account_name", "expiring_objects")
        self.expirer_divisor = config_int(conf, "expiring_objects_container_divisor", 86400, 1)
        allowed = config_list(conf.get("allowed_headers", DEFAULT_ALLOWED_HEADERS))
        self.allowed_headers = {name.lower() for name in allowed} - _NEVER_ALLOWED
        self._allowed_keys = frozenset(
            "HTTP_" + name.upper().replace("-", "_") for name in self.allowed_headers)
        at_once = config_int(conf, "replication_concurrency", 4) or UNLIMITED
        self._replications, self.ssyncs = Semaphore(at_once), Semaphore(at_once)
        self.ssyncs_per_device = config_int(conf, "replication_concurrency_per_device", 1)
        self.ssync_lock_timeout = config_float(conf, "replication_lock_timeout", 15)
        self._checked_share = config_percent(conf, "etag_validate_pct", 100)
        # What gives the body of a whole object: decided here, not for each of them.
        self._whole: Callable[[DiskFile], bytes | Reader] = \
            DiskFile.read_whole if self._checked_share == 1 else self._read_some_checked
        self.failure_threshold = config_int(conf, "replication_failure_threshold", 100)
        self.failure_ratio = config_float(conf, "replication_failure_ratio", 1.0)
        self.handlers = {"PUT": self.put, "GET": self.get, "HEAD": self.get, "POST": self.post,
                         "DELETE": self.delete, "REPLICATE": self.replicate, "SSYNC": self.ssync,
                         "OPTIONS": self.options}

    # -- common ----------------------------------------------------------

    def _policy(self, request: Request) -> StoragePolicy:
        index = request.env.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
        policy = self.policies.by_index(index)
        if policy is None:
            raise Answer(503, f"No policy with index {index[:20] if index else index}")
        return policy

    def _measured(self, env: dict[str, Any], status: str, sent: int, start: float,
                  end: float) -> None:
        """Tells as well how long a device took for a thousand bytes."""
        super()._measured(env, status, sent, start, end)
        size = int(env.get("CONTENT_LENGTH") or 0)
        if size and status[:3] == "201" and env["REQUEST_METHOD"] == "PUT":
            assert self.statsd is not None
            device = env["PATH_INFO"].split("/", 2)[1]
            self.statsd.timing(f"PUT.{device}.timing", (end - start) * 1000 / size)

    def diskfile_of(self, request: Request, open_expired: bool = False
                    ) -> tuple[DiskFile, str, Names]:
        """(object, device, names) of the request's path."""
        device, partition, account, container, obj = request.split(5, 5)
        assert device and partition and account and container and obj
        diskfile = self.manager.diskfile(device, partition, account, container, obj,
                                         self._policy(request), open_expired)
        diskfile.next_part_power = partition_power.parse(
            request.env.get("HTTP_X_BACKEND_NEXT_PART_POWER"))
        return diskfile, device, (account, container, obj)

    def expirer_container(self, delete_at: int, account: str, container: str, obj: str) -> str:
        """Which container of the expiring account queues an object."""
        return queue_container(delete_at, self.expirer_divisor, account, container, obj)

    @staticmethod
    def delete_at_of(request: Request, timestamp: Timestamp) -> int:
        """X-Delete-At, 0 without; 400 when it is no time or not in the future of the request."""
        value = request.env.get("HTTP_X_DELETE_AT")
        if value is None:
            return 0
        try:
            at = int(value)
        except ValueError:
            raise Answer(400, "Non-integer X-Delete-At") from None
        if not 0 <= at <= 9999999999:
            raise Answer(400, "X-Delete-At is out of range")
        if at < int(timestamp) and not request.is_backend_open_expired:
            raise Answer(400, "X-Delete-At in past")
        return at

    def metadata_of(self, request: Request, prefixes: tuple[str, ...]) -> dict[str, str]:
        """Headers of a PUT or POST that are kept with the object."""
        env = request.env
        metadata = {header_name(key): text_of(env[key]) for key in env
                    if key.startswith(prefixes)}
        for key in self._allowed_keys & env.keys():
            if env[key]:
                metadata[header_name(key)] = text_of(env[key])
        return metadata

    # -- PUT -------------------------------------------------------------

    def put(self, request: Request) -> Answer:
        """Store a new version."""
        return Put(self, request).answer()

    @staticmethod
    def too_much_metadata() -> Answer:
        """Not a 507: for that a proxy would stop asking this device, which is well."""
        return Answer(400, "Metadata too large: this file system's extended attributes cannot "
                           "hold it (ext4 holds about 4 KB, XFS what Swift allows)")

    def update_expirer(self, request: Request, new: int, old: int, device: str, names: Names,
                       policy: StoragePolicy, size: int) -> None:
        """Have the expirer's queue say `new` instead of `old` (0: nothing)."""
        if new == old:
            return
        if new:
            delete_at_update(self, request, "PUT", new, device, names, policy, size)
        if old:
            delete_at_update(self, request, "DELETE", old, device, names, policy)

    # -- GET and HEAD ----------------------------------------------------

    def get(self, request: Request) -> Answer:
        """The object, or some ranges of it, if its conditions hold."""
        diskfile, _, _ = self.diskfile_of(request, request.is_backend_open_expired)
        env = request.env
        if isinstance(diskfile, EcDiskFile):
            self._prefer(request, diskfile)
        try:
            diskfile.open()
        except (DiskFileNotExist, DiskFileQuarantined, DiskFileCollision) as exc:
            raise self._absent(request, exc) from None
        try:
            headers = self._headers_of(diskfile)
            metadata = diskfile.metadata
            status = 200
            if any(key.startswith("HTTP_IF_") for key in env):
                status = precondition(env, self._etags(request, metadata),
                                      Timestamp(metadata["X-Timestamp"]).ceil())
            if status != 200:
                headers["Content-Length"] = "0"
                return Answer(status, b"", headers)
            if request.method == "HEAD":
                headers["Content-Length"] = str(diskfile.content_length)
                return Answer(200, b"", headers)
            return self._body_of(request, diskfile, headers)
        except DiskFileQuarantined as exc:
            raise self._absent(request, exc) from None
        finally:
            diskfile.close()              # unless a reader took the file over

    @staticmethod
    def _prefer(request: Request, diskfile: EcDiskFile) -> None:
        """Which fragment the proxy would like, and whether it has to be durable."""
        try:
            diskfile.preferences = parse_preferences(
                request.get("X_BACKEND_FRAGMENT_PREFERENCES"))
        except ValueError as exc:
            raise Answer(400, f"Bad X-Backend-Fragment-Preferences: {exc}") from None

    @staticmethod
    def _absent(request: Request, exc: Exception) -> Answer:
        headers = {}
        if isinstance(exc, DiskFileDeleted):
            headers["X-Backend-Timestamp"] = Timestamp(exc.timestamp).internal
            if isinstance(exc, DiskFileExpired):
                headers["X-Backend-Expired"] = "true"
        if precondition(request.env, set(), 0, exists=False) == 412:
            return Answer(412, b"", headers)
        return Answer(404, "The resource could not be found.", headers)

    @staticmethod
    def _etags(request: Request, metadata: dict[str, str]) -> set[str]:
        """What counts as the object's ETag: its own, and metadata the proxy points at."""
        etag = metadata.get("ETag", "")
        for name in (request.get("X_BACKEND_ETAG_IS_AT") or "").split(","):
            value = metadata.get(name.strip().title())
            if value:
                etag = value.strip('"')
                break
        return {etag}

    def _headers_of(self, diskfile: DiskFile) -> dict[str, str]:
        metadata = diskfile.metadata
        stamp = Timestamp(metadata["X-Timestamp"])
        headers = {
            "Content-Type": wire(metadata.get("Content-Type", "application/octet-stream")),
            "ETag": f'"{metadata["ETag"]}"',
            "Last-Modified": http_date(stamp.ceil()),
            "X-Timestamp": stamp.normal,
            "X-Backend-Timestamp": stamp.internal,
            **diskfile.state_headers(),
        }
        allowed = self.allowed_headers
        for key, value in metadata.items():
            lower = key.lower()
            if lower.startswith(_SHOWN_PREFIXES) or lower in allowed:
                headers[wire(key)] = wire(value)
        return headers

    def _body_of(self, request: Request, diskfile: DiskFile, headers: dict[str, str]) -> Answer:
        size = diskfile.content_length
        range_header = request.env.get("HTTP_RANGE")
        ranges = None
        if range_header is not None and self._range_applies(request, diskfile):
            try:
                ranges = parse_range(range_header, size)
            except Unsatisfiable:
                headers["Content-Range"] = f"bytes */{size}"
                return Answer(416, "The Range requested is not available.", headers)
        if ranges is None:
            body = self._whole(diskfile)
            headers["Content-Length"] = str(size)
            return Answer(200, body, headers)
        if len(ranges) == 1:
            start, stop = ranges[0]
            headers["Content-Length"] = str(stop - start)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            return Answer(206, diskfile.reader(start, stop), headers)
        return self._multipart(diskfile, ranges, headers)

    def _read_some_checked(self, diskfile: DiskFile) -> bytes | Reader:
        """A whole body, checked as often as etag_validate_pct says."""
        return diskfile.read_whole(random.random() < self._checked_share)

    def _range_applies(self, request: Request, diskfile: DiskFile) -> bool:
        """RFC 9110 If-Range: a range of another version than the client has is no use to it."""
        value = request.env.get("HTTP_IF_RANGE")
        if value is None:
            return True
        metadata = diskfile.metadata
        return value.strip('"') in self._etags(request, metadata) or \
            value == http_date(Timestamp(metadata["X-Timestamp"]).ceil())

    @staticmethod
    def _multipart(diskfile: DiskFile, ranges: list[tuple[int, int]], headers: dict[str, str]
                   ) -> Answer:
        boundary = os.urandom(16).hex()
        size = diskfile.content_length
        part_type = headers["Content-Type"]
        heads = [(f"--{boundary}\r\nContent-Type: {part_type}\r\n"
                  f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n").encode("latin-1")
                 for start, stop in ranges]
        tail = f"--{boundary}--".encode()
        headers["Content-Type"] = f"multipart/byteranges;boundary={boundary}"
        headers["Content-Length"] = str(len(tail) + sum(
            len(head) + stop - start + 2 for head, (start, stop) in zip(heads, ranges,
                                                                        strict=True)))
        pieces: list[tuple[int, int] | bytes] = []
        for head, part in zip(heads, ranges, strict=True):
            pieces += [head, part, b"\r\n"]
        return Answer(206, Reader(diskfile, [*pieces, tail]), headers)

    # -- POST and DELETE -------------------------------------------------

    def post(self, request: Request) -> Answer:
        """Replace the user metadata, and the content type if one is given."""
        timestamp = request.timestamp()
        delete_at = self.delete_at_of(request, timestamp)
        diskfile, device, names = self.diskfile_of(request, request.is_backend_open_expired)
        try:
            with diskfile.open():
                pass
        except (DiskFileNotExist, DiskFileQuarantined, DiskFileCollision) as exc:
            raise self._absent(request, exc) from None
        old = diskfile.metadata
        if diskfile.timestamp >= timestamp:
            raise Answer(409, "There was a conflict when trying to complete your request.",
                         {"X-Backend-Timestamp": diskfile.timestamp.internal})
        metadata = {"X-Timestamp": timestamp.internal}
        metadata.update(self.metadata_of(request, _POST_PREFIXES))
        content_type, type_time = self._new_type(request, diskfile, timestamp, metadata)
        try:
            diskfile.write_metadata(metadata)
        except DiskFileMetadataTooLarge:
            raise self.too_much_metadata() from None
        except DiskFileNoSpace as exc:
            raise InsufficientStorage(device) from exc
        self.update_expirer(request, delete_at, int(old.get("X-Delete-At") or 0), device, names,
                             diskfile.policy, int(old["Content-Length"]))
        row = {"X-Size": old.get(ec.LENGTH, old["Content-Length"]), "X-Content-Type": content_type,
               "X-Timestamp": diskfile.data_timestamp.internal,
               "X-Content-Type-Timestamp": type_time.internal,
               "X-Meta-Timestamp": timestamp.internal, "X-Etag": old.get(ec.ETAG, old["ETag"])}
        for key, value in old.items():
            _, found, name = key.lower().partition("x-object-sysmeta-container-update-override-")
            if found:
                row["X-" + name.title()] = value
        container_update(self, request, "PUT", device, names, diskfile.policy, row)
        headers = {"X-Backend-Content-Type": wire(content_type)}
        headers.update((wire(key), wire(value)) for key, value in old.items()
                       if key.lower().startswith("x-object-sysmeta-"))
        return Answer(202, "The request is accepted for processing.", headers)

    @staticmethod
    def _new_type(request: Request, diskfile: DiskFile, timestamp: Timestamp,
                  metadata: dict[str, str]) -> tuple[str, Timestamp]:
        """The content type after a POST and since when; puts it into `metadata` if it is new.

        A type set by an earlier POST is carried along, so that older files can go.
        """
        given = request.env.get("CONTENT_TYPE")
        since = diskfile.content_type_timestamp
        if given and since < timestamp:
            metadata["Content-Type"] = text_of(given)
            metadata["Content-Type-Timestamp"] = timestamp.internal
            return text_of(given), timestamp
        content_type = diskfile.metadata["Content-Type"]
        if since != diskfile.data_timestamp:
            metadata["Content-Type"] = content_type
            metadata["Content-Type-Timestamp"] = since.internal
        return content_type, since

    def delete(self, request: Request) -> Answer:
        """Put a tombstone in its place."""
        timestamp = request.timestamp()
        diskfile, device, names = self.diskfile_of(request, open_expired=True)
        metadata: dict[str, str] = {}
        stored = Timestamp(0)
        expired = False
        try:
            with diskfile.open():
                metadata, stored = diskfile.metadata, diskfile.data_timestamp
            at = int(metadata.get("X-Delete-At") or 0)
            expired = 0 < at <= time.time()
        except DiskFileDeleted as exc:
            stored = Timestamp(exc.timestamp)
        except (DiskFileNotExist, DiskFileQuarantined):
            pass
        except DiskFileCollision:
            raise Answer(403, "Another object of the same hash is stored") from None
        self._check_delete_at(request, metadata, stored, timestamp)
        if stored >= timestamp and not metadata:
            raise Answer(404, "It was deleted later.", {"X-Backend-Timestamp": stored.internal})
        if stored >= timestamp:
            raise Answer(409, "There was a conflict when trying to complete your request.",
                         {"X-Backend-Timestamp": stored.internal})
        try:
            diskfile.delete(timestamp)
        except DiskFileNoSpace as exc:
            raise InsufficientStorage(device) from exc
        old_delete_at = int(metadata.get("X-Delete-At") or 0)
        if old_delete_at:
            delete_at_update(self, request, "DELETE", old_delete_at, device, names,
                             diskfile.policy)
        container_update(self, request, "DELETE", device, names, diskfile.policy,
                         {"X-Timestamp": timestamp.internal})
        headers = {"X-Backend-Timestamp": timestamp.internal,
                   "X-Backend-Content-Type": wire(metadata.get("Content-Type", ""))}
        if (metadata and not expired) or "HTTP_X_IF_DELETE_AT" in request.env:
            return Answer(204, b"", headers)
        return Answer(404, "The resource could not be found.", headers)

    @staticmethod
    def _check_delete_at(request: Request, metadata: dict[str, str], stored: Timestamp,
                         timestamp: Timestamp) -> None:
        """X-If-Delete-At, by which the expirer deletes only what it means.

        Our expirer writes whole seconds, OpenStack Swift's a timestamp.
        """
        wanted = request.env.get("HTTP_X_IF_DELETE_AT")
        if wanted is None:
            return
        try:
            at = Timestamp(wanted)
        except ValueError:
            raise Answer(400, "Bad X-If-Delete-At header value") from None
        if not stored.raw:
            raise Answer(404, "The resource could not be found.")
        if stored >= timestamp:
            raise Answer(409, "There was a conflict when trying to complete your request.",
                         {"X-Backend-Timestamp": stored.internal})
        if Timestamp(int(metadata.get("X-Delete-At") or 0)) != at:
            raise Answer(412, "X-If-Delete-At and X-Delete-At do not match")

    # -- replication -----------------------------------------------------

    def replicate(self, request: Request) -> Answer:
        """The pickled hashes of a partition, those of named suffixes computed anew."""
        device, partition, suffixes = request.split(2, 3)
        assert device and partition
        policy = self._policy(request)
        wanted = [suffix for suffix in (suffixes or "").split("-") if suffix]
        with self._replications:
            _, found = self.manager.get_hashes(device, partition, wanted, policy)
        return Answer(200, safe_pickle.dumps(found), content_type="application/octet-stream")

    def ssync(self, request: Request) -> Answer:
        """Take what a peer's replicator has and this device lacks."""
        return ssync_receiver.answer(self, request, self._policy(request))

    def options(self, _request: Request) -> Answer:
        """What this server is and takes."""
        return Answer(200, b"", {"Allow": ", ".join(sorted(self.handlers)),
                                 "Server": "object-server"})


def app_factory(global_conf: dict[str, str], **local_conf: str) -> ObjectApp:
    """PasteDeploy's way to make the application."""
    return ObjectApp({**global_conf, **local_conf})
