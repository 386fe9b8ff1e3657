# SPDX-License-Identifier: Apache-2.0
"""What stores have in common that keep images as objects of one container, across a network.

For `SwiftStore` and `S3Store`: options of the connection, addresses without credentials, and the
rules that no URL leads to another container and nothing unfinished stays behind.
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Iterator
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.store.base import SAFE_ID, Store

LOG = logging.getLogger(__name__)

CHUNK = 1 << 20
MIB = 1 << 20


def connection_options(prefix: str) -> list[cfg.Opt]:
    """Whom to trust and how long to wait, as options that begin with `prefix`."""
    return [
        cfg.StrOpt(f"{prefix}_cacert", help="Certificate authorities to trust for https."),
        cfg.IntOpt(f"{prefix}_connect_timeout", default=10, min=1,
                   help="Seconds to wait for a connection."),
        cfg.IntOpt(f"{prefix}_timeout", default=60, min=1,
                   help="Seconds to wait for each piece of an answer."),
    ]


def require(conf: cfg.ConfigOpts, section: str, *names: str) -> None:
    """Raise `ConfigurationError` for the first of these options that is not set."""
    for name in names:
        if not conf[section][name]:
            raise exceptions.ConfigurationError(f"[{section}] {name}: must be set")


class ObjectStore(Store):
    """A store whose images are objects, named by their ids, of one container."""

    def __init__(self, name: str, container: str) -> None:
        super().__init__(name)
        self._container = container

    def _url(self, image_id: str) -> str:
        """``SCHEME://STORE/CONTAINER/ID``: where, but neither who nor by which key."""
        store, container = (urllib.parse.quote(part, safe="")
                            for part in (self.name, self._container))
        return f"{self.schemes[0]}://{store}/{container}/{image_id}"

    def _image_id(self, url: str) -> str:
        """The object behind one of our own URLs; never one of another name or container."""
        parsed = urllib.parse.urlsplit(url)
        container, _, name = parsed.path.strip("/").rpartition("/")
        if (parsed.scheme not in self.schemes or not SAFE_ID.fullmatch(name)
                or urllib.parse.unquote(container) != self._container):
            raise exceptions.NotFound(f"no image data in store {self.name}")
        return name

    def _duplicate(self, image_id: str) -> exceptions.Duplicate:
        return exceptions.Duplicate(f"image {image_id} has data in store {self.name} already")

    def _missing(self, image_id: str) -> exceptions.NotFound:
        return exceptions.NotFound(f"no data of image {image_id} in store {self.name}")

    def _remove_leftover(self, image_id: str) -> None:
        """After an `add` that failed: what is there goes, or the log says that it does not."""
        try:
            self.discard(image_id)
        except exceptions.GlanceError as error:
            LOG.error("store %s: the rest of image %s could not be removed: %s", self.name,
                      image_id, error.message)

    def _counted(self, pieces: Iterator[bytes], wanted: int | None,
                 errors: tuple[type[Exception], ...], close: Any) -> Iterator[bytes]:
        """`pieces`, ending with `CorruptData` when they break off or are not `wanted` bytes."""
        seen = 0
        try:
            for piece in pieces:
                seen += len(piece)
                yield piece
        except errors as error:
            LOG.error("store %s broke off after %d bytes: %s", self.name, seen,
                      type(error).__name__)
            raise exceptions.CorruptData(
                f"image data from store {self.name} broke off after {seen} bytes") from None
        finally:
            close()
        if wanted is not None and seen != wanted:
            raise exceptions.CorruptData(
                f"image data from store {self.name}: {seen} instead of {wanted} bytes came")
