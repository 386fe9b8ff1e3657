# SPDX-License-Identifier: Apache-2.0
"""What the object replicator packs together for one rsync, and partitions on their way home."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from swift.common.storage_policy import StoragePolicy

PARCEL = 100                  # suffixes that go by one rsync,
PARCEL_BYTES = 256 << 20      # unless they are as large as this: rsync_timeout is for all of them
Node = dict[str, Any]


@dataclass
class Handoff:
    """A partition that is to leave this device, once enough primaries have all that is in it."""

    part_dir: str
    hashes: dict[str, Any]        # what was found in it
    needed: int                   # so many must have it
    safe: int = 0                 # so many do
    open: int = 1                 # what may still raise that: parcels, and who packs them

    def close(self, arrived: bool = False) -> bool:
        """One of the open things has come to an end; whether it was the last and all is well."""
        self.safe += arrived
        self.open -= 1
        return not self.open and self.safe >= self.needed


@dataclass
class Parcel:
    """Suffixes of some partitions of a device here that another device lacks."""

    source: str                   # the directory of the partitions here
    policy: StoragePolicy
    node: Node
    suffixes: dict[str, list[str]] = field(default_factory=dict)   # by partition
    handoffs: dict[str, Handoff] = field(default_factory=dict)     # those of them that are one
    bytes: int = 0

    def add(self, partition: str, suffixes: list[str], handoff: Handoff | None = None) -> None:
        """Put suffixes of a partition in."""
        self.suffixes[partition] = suffixes
        self.bytes += sum(_bytes_below(f"{self.source}/{partition}/{suffix}")
                          for suffix in suffixes)
        if handoff is not None:
            self.handoffs[partition] = handoff
            handoff.open += 1

    def full(self) -> bool:
        """Whether it is time to send it."""
        return self.bytes >= PARCEL_BYTES or \
            sum(map(len, self.suffixes.values())) >= PARCEL


def _bytes_below(directory: str) -> int:
    """The size of all files below a directory, of those that stay while it is looked at."""
    total = 0
    for base, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(f"{base}/{name}").st_size
            except FileNotFoundError:
                pass
    return total
