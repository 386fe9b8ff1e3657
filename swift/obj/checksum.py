# SPDX-License-Identifier: Apache-2.0
"""CRC-64/NVME over the bytes of longer objects: fifty times cheaper than md5, and enough to find
what a disk or a network broke.

It is kept in an extended attribute beside the metadata, which OpenStack Swift's servers neither
write nor look at; what has none is checked by its md5, the ETag. Auditors go by the md5 always.
"""
from __future__ import annotations

import errno
import os

from awscrt.checksums import crc64nvme

NAME = "crc64nvme"
KEY = "user.swift.body_crc64nvme"
FROM = 65536                  # bytes; of a shorter body the md5 costs less than an attribute
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.EOPNOTSUPP)

__all__ = ["FROM", "KEY", "NAME", "crc64nvme", "load", "store"]


def store(fd: int, value: int) -> None:
    """Note the checksum of an open file's bytes. Where there is no room, it goes without."""
    try:
        os.setxattr(fd, KEY, b"%016x" % value)
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise


def load(fd: int) -> int | None:
    """The checksum of an open file's bytes; None when there is none to be used."""
    try:
        return int(os.getxattr(fd, KEY), 16)
    except (OSError, ValueError):
        return None
