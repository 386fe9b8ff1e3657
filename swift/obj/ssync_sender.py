# SPDX-License-Identifier: Apache-2.0
"""The sending end of SSYNC: offers the objects of some suffixes to a peer, sends what it lacks."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from swift.common import node_client
from swift.common.backend_server import wire
from swift.common.concurrency import run_in_thread
from swift.common.exceptions import (
    DiskFileBadMetadata,
    DiskFileDeleted,
    DiskFileNotExist,
    DiskFileNotRebuilt,
    DiskFileQuarantined,
)
from swift.common.http_client import Pool
from swift.common.storage import is_hash
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj.backend import DiskFile, Manager
from swift.obj.ondisk import Chosen, choose, read_metadata
from swift.obj.ssync import (
    SsyncError,
    Stream,
    Version,
    decode_wanted,
    encode_missing,
    version_of,
)

BATCH = 65536                 # bytes of lines that go out together


def versions_in(part_dir: str, suffixes: list[str], choose: Callable[[list[str]], Chosen]
                ) -> list[tuple[Version, str]]:
    """(version, directory) of every object below some suffixes, in steady order. Blocks."""
    found = []
    for suffix in suffixes:
        try:
            names = sorted(name for name in os.listdir(f"{part_dir}/{suffix}") if is_hash(name))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            hash_dir = f"{part_dir}/{suffix}/{name}"
            try:
                version = version_of(name, choose(os.listdir(hash_dir)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            if version is not None:
                found.append((version, hash_dir))
    return found


class Sender:
    """One exchange with one peer about one partition.

    `sync` returns how many updates were sent; it raises SsyncError or OSError when the peer did
    not confirm that it has everything. `limit` is how many objects to offer at most, 0 for all.
    """

    def __init__(self, manager: Manager, logger: logging.Logger, conn_timeout: float,
                 node_timeout: float, limit: int = 0) -> None:
        self.manager, self.logger = manager, logger
        self.node_timeout, self.limit = node_timeout, limit
        self.pool: Any = Pool(conn_timeout)
        self.conn: Any = None
        self.offered: dict[str, Version] = {}

    # -- what other policies do their own way -----------------------------

    def choose(self, names: list[str], _policy: StoragePolicy) -> Chosen:
        """Which of an object's files are offered."""
        return choose(names)

    def request_lines(self) -> str:
        """More header lines of the request."""
        return ""

    def heed(self, reply: Any) -> None:
        """Look at the head of the peer's answer."""

    def diskfile(self, hash_dir: str, device_path: str, policy: StoragePolicy) -> DiskFile:
        """What to open of an object that the peer wants."""
        return self.manager.diskfile_from_hash_dir(hash_dir, device_path, policy)

    def body_of(self, diskfile: DiskFile) -> tuple[dict[str, str], int, Iterable[bytes]]:
        """(metadata, size, pieces) of the data to send."""
        return read_metadata(diskfile.fd), diskfile.content_length, diskfile.reader()

    # -- the exchange ------------------------------------------------------

    def sync(self, node: dict[str, Any], part_dir: str, policy: StoragePolicy,
             suffixes: list[str]) -> int:
        """Bring `node` to have what is in these suffixes here; `offered` is then what it has."""
        device_path, _, partition = part_dir.rsplit("/", 2)
        host = node.get("replication_ip") or node["ip"]
        port = node.get("replication_port") or node["port"]
        self.conn = self.pool.connect((host, port), fresh=True)
        try:
            stream = self._begin(node, host, port, partition, policy)
            offers = run_in_thread(versions_in, part_dir, suffixes,
                                   lambda names: self.choose(names, policy))
            if self.limit:
                offers = offers[:self.limit]
            wanted = self._missing_check(stream, [version for version, _ in offers])
            directories = {version.name_hash: hash_dir for version, hash_dir in offers}
            sent = self._updates(stream, wanted, directories, device_path, policy)
            self.conn.send(b"0\r\n\r\n", self.node_timeout)
            self.offered = {version.name_hash: version for version, _ in offers}
            return sent
        finally:
            self.conn.close()

    def _begin(self, node: dict[str, Any], host: str, port: int, partition: str,
               policy: StoragePolicy) -> Stream:
        self.conn.send(
            f"SSYNC {node_client.path_of(node['device'], partition)} HTTP/1.1\r\n"
            f"Host: {host}:{port}\r\nUser-Agent: object-replicator {os.getpid()}\r\n"
            f"X-Backend-Storage-Policy-Index: {policy.index}\r\n{self.request_lines()}"
            "Transfer-Encoding: chunked\r\n\r\n".encode(), self.node_timeout)
        reply = self.conn.read_head(self.node_timeout)
        if reply.status != 200:
            raise SsyncError(reply.status, f"SSYNC was answered {reply.status}")
        self.heed(reply)
        return Stream(lambda most: reply.read(most, self.node_timeout))

    def _chunk(self, data: bytes) -> None:
        if data:
            self.conn.send(b"%x\r\n%b\r\n" % (len(data), data), self.node_timeout)

    # -- what is missing -------------------------------------------------

    def _missing_check(self, stream: Stream, offers: list[Version]) -> list[tuple[str, str]]:
        batch = [b":MISSING_CHECK: START"]
        size = 0
        for version in offers:
            batch.append(encode_missing(version))
            size += len(batch[-1])
            if size > BATCH:
                self._chunk(b"\r\n".join([*batch, b""]))
                batch, size = [], 0
        self._chunk(b"\r\n".join([*batch, b":MISSING_CHECK: END", b""]))
        stream.expect(b":MISSING_CHECK: START")
        wanted = []
        while (line := stream.line()) != b":MISSING_CHECK: END":
            if line:
                wanted.append(decode_wanted(line))
        return wanted

    # -- updates ---------------------------------------------------------

    def _updates(self, stream: Stream, wanted: list[tuple[str, str]],
                 directories: dict[str, str], device_path: str, policy: StoragePolicy) -> int:
        self._chunk(b":UPDATES: START\r\n")
        sent = 0
        for name_hash, parts in wanted:
            hash_dir = directories.get(name_hash)
            if hash_dir is None:
                raise SsyncError(400, f"the peer wants {name_hash}, which was not offered")
            diskfile = self.diskfile(hash_dir, device_path, policy)
            sent += self._send(diskfile, parts)
        self._chunk(b":UPDATES: END\r\n")
        stream.expect(b":UPDATES: START")
        stream.expect(b":UPDATES: END")
        return sent

    def _send(self, diskfile: DiskFile, parts: str) -> int:
        """Send data or a tombstone, and newer metadata; what vanished meanwhile is passed over."""
        try:
            with diskfile.open():
                if "d" in parts:
                    self._send_data(diskfile)
                if "m" in parts and (diskfile.timestamp != diskfile.data_timestamp or
                                     diskfile.content_type_timestamp != diskfile.data_timestamp):
                    self._send_metadata(diskfile)
        except DiskFileDeleted as exc:
            return self._send_tombstone(diskfile, Timestamp(exc.timestamp))
        except (DiskFileNotExist, DiskFileQuarantined):
            return 0
        except DiskFileNotRebuilt as exc:
            self.logger.error("ERROR %s", exc)
            return 0
        return 1

    def _head(self, method: str, name: str, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {quote(name.encode('utf-8', 'surrogateescape'))}".encode()]
        lines += [wire(f"{key}: {value}").encode("latin-1") for key, value in
                  sorted(headers.items()) if key != "name"]
        head = b"\r\n".join([*lines, b"", b""])
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
            raise SsyncError(400, f"metadata of {name} holds a line break")
        return head

    def _send_data(self, diskfile: DiskFile) -> None:
        headers, left, body = self.body_of(diskfile)
        head = self._head("PUT", diskfile.name or "", {**headers, "Content-Length": str(left)})
        for chunk in body:
            left -= len(chunk)
            self._chunk(head + chunk)
            head = b""
        self._chunk(head)                         # of an empty object nothing was sent yet
        if left:
            raise SsyncError(500, f"{diskfile.data_file} is shorter than it was")

    def _send_metadata(self, diskfile: DiskFile) -> None:
        chosen = diskfile.choose(os.listdir(diskfile.datadir))
        if chosen.meta is None:
            return                                # a newer PUT came in between
        headers = read_metadata(f"{diskfile.datadir}/{chosen.meta.name}")
        if chosen.ctype is not None and chosen.ctype is not chosen.meta:
            typed = read_metadata(f"{diskfile.datadir}/{chosen.ctype.name}")
            headers.update({key: typed[key] for key in ("Content-Type", "Content-Type-Timestamp")
                            if key in typed})
        self._chunk(self._head("POST", diskfile.name or "", headers))

    def _send_tombstone(self, diskfile: DiskFile, timestamp: Timestamp) -> int:
        try:
            metadata = read_metadata(f"{diskfile.datadir}/{timestamp.internal}.ts")
            name = metadata["name"]
        except (DiskFileNotExist, DiskFileBadMetadata, KeyError) as exc:
            self.logger.error("ERROR tombstone in %s says not of what it is: %s",
                              diskfile.datadir, exc)
            return 0
        self._chunk(self._head("DELETE", name, {"X-Timestamp": timestamp.internal}))
        return 1

