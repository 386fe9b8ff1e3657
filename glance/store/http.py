# SPDX-License-Identifier: Apache-2.0
"""Images that lie on web servers: read, whole or in ranges, never written or removed.

An address is an ordinary URL.  It is fetched by the rules of `glance.outbound`, on every read: a
name that led to a public address when the location was set may lead inside today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oslo_config import cfg

from glance import exceptions
from glance.outbound import CHUNK, Fetcher
from glance.store.base import Store, Stored


class HttpStore(Store):
    """Every web server the fetcher may reach."""

    schemes = ("http", "https")
    kind = "http"
    read_only = True

    def __init__(self, name: str, fetcher: Fetcher) -> None:
        super().__init__(name)
        self._fetcher = fetcher

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, name: str) -> HttpStore:
        """The store called `name`; what it may fetch is in ``[import_filtering_opts]``."""
        return cls(name, Fetcher.from_conf(conf))

    def check(self) -> None:
        """There is nothing to be set up."""

    def add(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> Stored:
        raise exceptions.Invalid(f"store: {self.name} cannot be written to")

    def read(self, url: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length == 0:
            self.size(url)
            return iter(())
        try:
            answer = self._fetcher.open(url, offset, length)
        except exceptions.Invalid as error:
            raise self._missing(error) from None
        if not answer.partial and (offset or (length is not None and answer.size != length)):
            answer.close()
            raise exceptions.Unavailable(
                f"a server of store {self.name} cannot deliver parts of images")
        wanted = answer.size if length is None else length
        if answer.partial and wanted != answer.size:
            answer.close()
            raise exceptions.CorruptData(
                f"image data in store {self.name} is shorter than it was")
        return self._pieces(answer.pieces(), wanted)

    def _pieces(self, pieces: Iterator[bytes], wanted: int | None) -> Iterator[bytes]:
        seen = 0
        try:
            for piece in pieces:
                seen += len(piece)
                yield piece
        except OSError:
            raise exceptions.CorruptData(
                f"image data from store {self.name} broke off after {seen} bytes") from None
        if wanted is not None and seen != wanted:
            raise exceptions.CorruptData(
                f"image data from store {self.name}: {seen} instead of {wanted} bytes came")

    def size(self, url: str) -> int:
        try:
            return self._fetcher.size(url)
        except exceptions.Invalid as error:
            raise self._missing(error) from None

    def delete(self, url: str) -> None:
        """Nothing: the data is not ours."""

    def discard(self, image_id: str) -> None:
        """Nothing: an `add` never began."""

    def list_ids(self) -> Iterator[str]:
        return iter(())

    def _missing(self, error: exceptions.Invalid) -> exceptions.NotFound:
        return exceptions.NotFound(f"store {self.name}: {error.message}")

    def details(self) -> dict[str, object]:
        return {"chunk_size": CHUNK}
