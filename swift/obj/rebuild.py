# SPDX-License-Identifier: Apache-2.0
"""Makes a fragment archive that is missing from those of other nodes."""
from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from swift.common import ec, node_client
from swift.common.concurrency import Timeout
from swift.common.exceptions import DiskFileNotRebuilt
from swift.common.http_client import Pool, Reply
from swift.common.ring import Ring
from swift.common.storage_policy import StoragePolicy
from swift.common.timestamp import Timestamp
from swift.obj.ec_backend import EcDiskFile
from swift.obj.ondisk import read_metadata
from swift.obj.sweep import Node, address

_READ = 65536


@dataclass(frozen=True)
class Solitude:
    """When fragments are the last of an object that can never be read again: at most `threshold`
    (0: never) are found on `nodes(replicas)` nodes, all others are sure to have nothing, and the
    object is older than `age` seconds. They were left over by a node that was away too long."""

    threshold: int
    age: float
    nodes: Callable[[float], int]


class Rebuilder:
    """Rebuilds fragments `index` of one partition for the node `target`.

    Primaries are asked first, then as many handoffs. A fragment in `solitude` goes to quarantine,
    where it is not tried again in each pass.
    """

    def __init__(self, policy: StoragePolicy, ring: Ring, partition: str, logger: logging.Logger,
                 conn_timeout: float, node_timeout: float, index: int, target: Node,
                 solitude: Solitude) -> None:
        assert policy.coding is not None
        self.policy, self.coding, self.ring = policy, policy.coding, ring
        self.partition, self.logger = partition, logger
        self.index, self.target, self.solitude = index, target, solitude
        self.node_timeout = node_timeout
        self.pool: Any = Pool(conn_timeout)

    def __call__(self, diskfile: EcDiskFile) -> tuple[dict[str, str], int, Iterator[bytes]]:
        """(metadata, size, pieces) of the fragment of an open object.

        Raises DiskFileNotRebuilt when not enough other fragments of the same version are found;
        the pieces end early when one of their nodes fails.
        """
        metadata = read_metadata(diskfile.fd)
        sources = self._sources(diskfile, metadata)
        if len(sources) < self.coding.data:
            for source in sources.values():
                source.close()
            if self._is_solitary(diskfile, len(sources)):
                where = diskfile.quarantine()
                raise DiskFileNotRebuilt(
                    f"{diskfile.name} at {diskfile.data_timestamp.internal} can never be read "
                    f"again: quarantined its solitary fragment #{diskfile.frag_index} to {where}")
            raise DiskFileNotRebuilt(
                f"{len(sources)} other fragments of {diskfile.name} at "
                f"{diskfile.data_timestamp.internal} were found, {self.coding.data} are needed")
        metadata[ec.FRAG_INDEX] = str(self.index)
        metadata.pop("ETag", None)            # the receiver computes that of its own
        size = diskfile.content_length
        return metadata, size, self._pieces(list(sources.values()), size)

    def _sources(self, diskfile: EcDiskFile, metadata: dict[str, str]) -> dict[int, Reply]:
        """Answers that give the same version's fragments, by index."""
        moment = diskfile.data_timestamp
        found: dict[int, Reply] = {}
        for node in self._nodes(2 * len(self.ring.get_part_nodes(int(self.partition)))):
            if len(found) == self.coding.data:
                break
            reply = self._get(node, diskfile, [self.index])
            if reply is None:
                continue
            headers = reply.headers
            have = headers.get(ec.FRAG_INDEX.lower(), "")
            if reply.status == 200 and have.isdigit() and int(have) != self.index and \
                    int(have) not in found and reply.left == diskfile.content_length and \
                    headers.get(ec.ETAG.lower()) == metadata.get(ec.ETAG) and \
                    Timestamp(headers.get("x-backend-data-timestamp", "0")) == moment:
                found[int(have)] = reply
            else:
                reply.drain()
        return found

    def _is_solitary(self, diskfile: EcDiskFile, known: int) -> bool:
        """Whether an open object's fragment is in solitude; `known` are those just found.

        Strict: an answer that is neither the same version nor a 404 may hide a fragment.
        """
        solitude, moment = self.solitude, diskfile.data_timestamp
        if not known <= solitude.threshold or time.time() - float(moment) <= solitude.age:
            return False
        found = []
        replicas = len(self.ring.get_part_nodes(int(self.partition)))
        for node in self._nodes(max(replicas, solitude.nodes(replicas))):
            reply = self._get(node, diskfile, [])
            if reply is None:
                return False
            headers = reply.headers
            reply.drain()
            if reply.status == 200 and \
                    Timestamp(headers.get("x-backend-data-timestamp", "0")) == moment:
                found.append(headers.get(ec.FRAG_INDEX.lower()))
            elif reply.status != 404:
                return False
        return len(found) <= min(solitude.threshold, self.coding.data - 1) and \
            str(diskfile.frag_index) in found

    def _nodes(self, count: int) -> Iterator[Node]:
        """Primaries without the target, then handoffs: `count` with the target."""
        primaries = self.ring.get_part_nodes(int(self.partition))
        yield from (node for node in primaries if node["id"] != self.target["id"])
        yield from itertools.islice(self.ring.get_more_nodes(int(self.partition)),
                                    count - len(primaries))

    def _get(self, node: Node, diskfile: EcDiskFile, exclude: list[int]) -> Reply | None:
        """A node's answer when asked for a fragment of the object's version but `exclude`."""
        host, port = address(node)
        preferences = json.dumps([{"timestamp": diskfile.data_timestamp.internal,
                                   "exclude": exclude}])
        path = quote((diskfile.name or "").encode("utf-8", "surrogateescape"))
        conn = None
        try:
            conn = self.pool.connect((host, port), fresh=True)
            conn.send(f"GET {node_client.path_of(node['device'], self.partition)}{path} HTTP/1.1"
                      f"\r\nHost: {host}:{port}\r\n"
                      f"X-Backend-Storage-Policy-Index: {self.policy.index}\r\n"
                      "X-Backend-Replication: True\r\n"
                      f"X-Backend-Fragment-Preferences: {preferences}\r\n"
                      "User-Agent: object-reconstructor\r\n\r\n".encode("latin-1"),
                      self.node_timeout)
            return conn.read_head(self.node_timeout)
        except (OSError, Timeout) as exc:
            if conn is not None:
                conn.close()
            self.logger.error("ERROR GET %s:%s/%s%s: %s", host, port, node["device"], path,
                              exc or type(exc).__name__)
            return None

    def _pieces(self, sources: list[Reply], size: int) -> Iterator[bytes]:
        try:
            while size > 0:
                want = min(size, self.coding.fragment_size)
                fragments = [self._read(source, want) for source in sources]
                yield self.coding.rebuild(fragments, self.index)
                size -= want
        except (OSError, Timeout, ec.BadFragment) as exc:
            self.logger.error("ERROR rebuilding fragment %s: %s", self.index,
                              exc or type(exc).__name__)
        finally:
            for source in sources:
                source.close()

    def _read(self, source: Reply, size: int) -> bytes:
        """`size` bytes; OSError when they do not come."""
        parts = []
        deadline = time.monotonic() + self.node_timeout
        while size:
            data = source.read(min(size, _READ), max(0.001, deadline - time.monotonic()))
            if not data:
                raise OSError("a fragment archive is too short")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)
