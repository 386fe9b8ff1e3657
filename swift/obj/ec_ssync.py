# SPDX-License-Identifier: Apache-2.0
"""SSYNC of fragments: gives a peer the one that belongs there, rebuilt if it is not here."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from swift.common.conf import config_true
from swift.common.storage_policy import StoragePolicy
from swift.obj.backend import DiskFile, Manager
from swift.obj.ec_backend import EcDiskFile
from swift.obj.ec_ondisk import ChosenFragment, choose_fragment
from swift.obj.ssync_sender import Sender

# (metadata, size, pieces) of another fragment of an open object; raises DiskFileNotRebuilt
Rebuild = Callable[[EcDiskFile], tuple[dict[str, str], int, Iterable[bytes]]]


class FragmentSender(Sender):
    """Offers objects of which fragment `index` is here (None: tombstones) to a peer that should
    have fragment `target`.

    With `rebuild` what the peer lacks is made from fragments of others. With `stray` fragments that
    are not durable are offered as well.
    """

    def __init__(self, manager: Manager, logger: logging.Logger, conn_timeout: float,
                 node_timeout: float, index: int | None, target: int, *, stray: bool = False,
                 rebuild: Rebuild | None = None, limit: int = 0) -> None:
        super().__init__(manager, logger, conn_timeout, node_timeout, limit)
        self.index, self.target = index, target
        self.stray, self.rebuild = stray, rebuild

    def choose(self, names: list[str], policy: StoragePolicy) -> ChosenFragment:
        assert policy.coding is not None
        return choose_fragment(names, policy.coding.unique, self.index,
                               [] if self.stray else None)

    def request_lines(self) -> str:
        # The second name is for releases before 2.21.
        return (f"X-Backend-Ssync-Frag-Index: {self.target}\r\n"
                f"X-Backend-Ssync-Node-Index: {self.target}\r\n")

    def heed(self, reply: Any) -> None:
        if self.stray and not config_true(reply.headers.get("x-backend-accept-no-commit", "")):
            self.stray = False            # it would take them for durable

    def diskfile(self, hash_dir: str, device_path: str, policy: StoragePolicy) -> DiskFile:
        diskfile = super().diskfile(hash_dir, device_path, policy)
        assert isinstance(diskfile, EcDiskFile)
        diskfile.frag_index = self.index
        diskfile.preferences = [] if self.stray else None
        return diskfile

    def body_of(self, diskfile: DiskFile) -> tuple[dict[str, str], int, Iterable[bytes]]:
        assert isinstance(diskfile, EcDiskFile)
        if self.rebuild is not None:
            return self.rebuild(diskfile)
        metadata, size, pieces = super().body_of(diskfile)
        if diskfile.durable_timestamp != diskfile.data_timestamp:
            metadata["X-Backend-No-Commit"] = "True"
        return metadata, size, pieces
