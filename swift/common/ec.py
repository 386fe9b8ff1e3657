# SPDX-License-Identifier: Apache-2.0
"""Erasure coding of objects: the numbers of a scheme, and its codec (PyECLib, loaded when needed).

An object is cut into segments, each segment into fragments: `data` of them hold its bytes, `parity`
more let any of the others be missing. Fragment number i of all segments, one after the other, is a
fragment archive; it is what one device stores.

    coding = Coding("liberasurecode_rs_vand", data=4, parity=2)
    fragments = coding.encode(segment)          # six
    coding.decode(fragments[2:]) == segment
"""
from __future__ import annotations

import os
from typing import Any

from swift.common.conf import config_true
from swift.common.exceptions import ConfigError, SwiftException

SEGMENT_SIZE = 1048576
MAX_FRAGMENTS = 32            # liberasurecode's own limit
ETAG = "X-Object-Sysmeta-Ec-Etag"
LENGTH = "X-Object-Sysmeta-Ec-Content-Length"
FRAG_INDEX = "X-Object-Sysmeta-Ec-Frag-Index"
SCHEME = "X-Object-Sysmeta-Ec-Scheme"
SEGMENT = "X-Object-Sysmeta-Ec-Segment-Size"
PREFIX = "x-object-sysmeta-ec-"
LEGACY_CRC = "LIBERASURECODE_WRITE_LEGACY_CRC"      # the library looks at it for each fragment


def set_checksum(conf: dict[str, str]) -> None:
    """Have new fragments carry the checksum that write_legacy_ec_crc asks for: true for nodes whose
    liberasurecode is older than 1.6, false for zlib's; without it the environment decides."""
    wanted = conf.get("write_legacy_ec_crc", "").strip()
    if wanted and config_true(wanted):
        os.environ[LEGACY_CRC] = "1"
    elif wanted:
        os.environ.pop(LEGACY_CRC, None)


class BadFragment(SwiftException):
    """A fragment is broken, or fragments do not make a segment."""


class Coding:
    """One scheme; ConfigError for numbers that make none, or when PyECLib cannot do it.

    `quorum` is how many devices must have stored an object durably before a client hears so.
    """

    def __init__(self, kind: str, data: int, parity: int, segment_size: int = SEGMENT_SIZE,
                 duplication: int = 1) -> None:
        if data < 1 or parity < 1 or segment_size < 1 or duplication < 1:
            raise ConfigError("erasure coding: numbers of fragments, segment size and duplication "
                              "factor must be at least 1")
        if data + parity > MAX_FRAGMENTS:
            raise ConfigError(f"erasure coding: more than {MAX_FRAGMENTS} fragments")
        self.kind, self.data, self.parity = kind, data, parity
        self.segment_size, self.duplication = segment_size, duplication
        self._errors: tuple[type[Exception], ...] = ()
        self._driver = self._load()
        self.fragment_size: int = self._size(segment_size)
        self.quorum: int = (data + self._driver.min_parity_fragments_needed()) * duplication

    def _load(self) -> Any:
        try:
            from pyeclib.ec_iface import ECDriver, ECDriverError
        except ImportError as exc:
            raise ConfigError("an erasure coding policy is configured, and the library pyeclib "
                              f"cannot be loaded ({exc}): pip install pyeclib") from exc
        self._errors = (ECDriverError,)
        try:
            return ECDriver(k=self.data, m=self.parity, ec_type=self.kind)
        except ECDriverError as exc:
            raise ConfigError(f"ec_type {self.kind} {self.data}+{self.parity}: {exc}") from exc

    # -- numbers ---------------------------------------------------------

    @property
    def unique(self) -> int:
        """Fragments of a segment."""
        return self.data + self.parity

    @property
    def replicas(self) -> int:
        """Fragment archives of an object, and so the replicas of the policy's ring."""
        return self.unique * self.duplication

    @property
    def description(self) -> str:
        """As objects carry it."""
        return f"{self.kind} {self.data}+{self.parity}"

    def index_of(self, node_index: int) -> int:
        """Which fragment belongs to a partition's n-th primary."""
        return node_index % self.unique

    def _size(self, length: int) -> int:
        return int(self._driver.get_segment_info(length, self.segment_size)["fragment_size"])

    def archive_size(self, length: int) -> int:
        """Bytes of a fragment archive of an object of `length` bytes."""
        whole, rest = divmod(length, self.segment_size)
        return whole * self.fragment_size + (self._size(rest) if rest else 0)

    # -- the codec -------------------------------------------------------

    def encode(self, segment: bytes) -> list[bytes]:
        """All fragments of a segment of at least one byte, by index."""
        return list(self._driver.encode(segment))

    def decode(self, fragments: list[bytes]) -> bytes:
        """The segment of at least `data` different fragments; BadFragment."""
        try:
            return bytes(self._driver.decode(fragments))
        except self._errors as exc:
            raise BadFragment(str(exc)) from exc

    def rebuild(self, fragments: list[bytes], index: int) -> bytes:
        """Fragment number `index` from at least `data` others; BadFragment."""
        try:
            return bytes(self._driver.reconstruct(fragments, [index])[0])
        except self._errors as exc:
            raise BadFragment(str(exc)) from exc

    def check(self, fragment: bytes) -> None:
        """BadFragment when the fragment's own header or checksum says that it is broken."""
        try:
            self._driver.get_metadata(fragment)
        except self._errors as exc:
            raise BadFragment(str(exc)) from exc
