# SPDX-License-Identifier: Apache-2.0
"""Whole images kept on the local disk of a glance-api, so that stores are read once.

An image is cached while it is downloaded as a whole, or when it is queued for it.  The copy gets
its name only after its hash was compared with the image's, and is found only for an image of that
very hash.  Who may download is asked before the cache is: it is a shortcut to the bytes, not to
the image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import time
import uuid
from collections.abc import Iterator

from isal import isal_zlib
from oslo_config import cfg

from glance import concurrency, exceptions
from glance.cache.drivers import DRIVERS, Driver, Entry
from glance.registry.types import Image
from glance.store.base import SAFE_ID
from glance.store.blocks import Reading
from glance.store.checked import checked

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("image_cache_dir",
               help="Directory of cached images, local to the machine; without it nothing is "
                    "cached."),
    cfg.StrOpt("image_cache_driver", default="sqlite", choices=sorted(DRIVERS),
               help="Where the cache keeps its books: a database file, or attributes of the "
                    "image files."),
    cfg.IntOpt("image_cache_max_size", default=10 << 30, min=0,
               help="Bytes that glance-cache-pruner leaves in the cache."),
    cfg.IntOpt("image_cache_stall_time", default=86400, min=0,
               help="Seconds after which glance-cache-cleaner takes an unfinished copy for "
                    "abandoned."),
]


class ImageCache:
    """The cache of one machine; its processes share it.

    :param directory: made, for the service alone, if missing.
    """

    def __init__(self, directory: str | os.PathLike[str], driver: str = "sqlite",
                 max_size: int = 10 << 30, stall_time: float = 86400.0) -> None:
        self.directory = pathlib.Path(directory).absolute()
        self.incomplete = self.directory / "incomplete"
        self.queue = self.directory / "queue"
        for path in (self.directory, self.incomplete, self.queue):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        self.books: Driver = DRIVERS[driver](self.directory)
        self.max_size = max_size
        self.stall_time = stall_time

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> ImageCache | None:
        """The cache `conf` describes, None without ``image_cache_dir``."""
        conf.register_opts(OPTIONS)
        if not conf.image_cache_dir:
            return None
        try:
            return cls(conf.image_cache_dir, conf.image_cache_driver, conf.image_cache_max_size,
                       conf.image_cache_stall_time)
        except OSError as error:
            raise exceptions.ConfigurationError(f"image_cache_dir: {error}") from None

    def _path(self, image_id: str) -> pathlib.Path:
        if not SAFE_ID.fullmatch(image_id):
            raise exceptions.NotFound(f"no image with id {image_id[:64]!r} was found")
        return self.directory / image_id

    # Reading

    def read(self, image: Image, offset: int, length: int) -> Iterator[bytes] | None:
        """The asked-for bytes, or None when this image, with this hash, is not here."""
        entry = self._valid(image)
        if entry is None:
            return None
        try:
            descriptor = os.open(self._path(image["id"]), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        self.books.hit(image["id"])
        pieces = Reading(descriptor, offset, length, keep=True)
        if (offset, length) != (0, entry.size):
            return pieces
        return checked(pieces, length, entry.crc32,
                       functools.partial(self._drop_bad, image["id"]))

    def _drop_bad(self, image_id: str, problem: str) -> None:
        LOG.error("image %s: removed from the cache: %s", image_id, problem)
        self.delete(image_id)

    def _valid(self, image: Image) -> Entry | None:
        """The entry of an image, if it is of its hash and the file is of its size."""
        entry = self.books.get(image["id"])
        if entry is None:
            return None
        try:
            size = self._path(image["id"]).stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            size = -1
        if entry.os_hash != image["os_hash_value"] or entry.size != size or size != image["size"]:
            LOG.warning("image %s: its entry in the cache is not valid; removed", image["id"])
            self.delete(image["id"])
            return None
        return entry

    # Filling

    def tee(self, image: Image, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, kept on the way; a reader who stops early leaves nothing.

        Trouble with the cache's own disk ends the copy, never the download.
        """
        if image["os_hash_algo"] not in hashlib.algorithms_guaranteed:
            return pieces
        return self._kept(image, pieces)

    def _kept(self, image: Image, pieces: Iterator[bytes]) -> Iterator[bytes]:
        copy: _Copy | None = _Copy(self.incomplete / f"{image['id']}.{uuid.uuid4().hex}",
                                   image["os_hash_algo"])
        try:
            for piece in pieces:
                if copy is not None and not copy.write(piece):
                    copy.drop()
                    copy = None
                yield piece
            if copy is not None:
                self._publish(image, copy)
        finally:
            if copy is not None:
                copy.drop()

    def _publish(self, image: Image, copy: _Copy) -> None:
        if copy.hexdigest() != image["os_hash_value"]:
            LOG.error("image %s: what was read does not have its hash; not cached", image["id"])
            return
        try:
            os.replace(copy.path, self._path(image["id"]))
            self.books.put(Entry(image["id"], image["os_hash_value"], copy.size, copy.crc32))
        except OSError as error:
            LOG.error("image %s cannot be cached: %s", image["id"], error)
        self.unqueue(image["id"])

    def is_cached(self, image_id: str) -> bool:
        """Whether there is an entry."""
        return self.books.get(image_id) is not None

    # The queue

    def enqueue(self, image_id: str) -> None:
        """Ask for an image to be cached when there is time."""
        self._path(image_id)
        (self.queue / image_id).touch(mode=0o600)

    def unqueue(self, image_id: str) -> bool:
        """Take that back; whether it was queued."""
        self._path(image_id)
        try:
            (self.queue / image_id).unlink()
        except FileNotFoundError:
            return False
        return True

    def queued(self) -> list[str]:
        """Ids of queued images, the longest waiting first."""
        found = [(entry.stat().st_mtime, entry.name) for entry in os.scandir(self.queue)
                 if SAFE_ID.fullmatch(entry.name)]
        return [name for _, name in sorted(found)]

    # Housekeeping

    def entries(self) -> list[Entry]:
        """What is cached, the least recently used first."""
        return self.books.entries()

    def delete(self, image_id: str) -> bool:
        """Remove a copy; whether there was one."""
        path = self._path(image_id)
        known = self.books.get(image_id) is not None
        self.books.delete(image_id)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return known

    def clear(self, *, cached: bool = True, queued: bool = True) -> int:
        """Empty the cache, the queue, or both; how many went."""
        gone = sum(self.delete(entry.image_id) for entry in self.entries()) if cached else 0
        return gone + (sum(self.unqueue(name) for name in self.queued()) if queued else 0)

    def prune(self) -> tuple[int, int]:
        """Remove what was not used for longest until the rest fits; (images, bytes) removed."""
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self.max_size
        gone = freed = 0
        for entry in entries:
            if freed >= excess:
                break
            self.delete(entry.image_id)
            gone, freed = gone + 1, freed + entry.size
        return gone, freed

    def clean(self) -> int:
        """Remove abandoned copies, entries without a file and files without an entry."""
        done = 0
        oldest = time.time() - self.stall_time
        for path in list(self.incomplete.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime <= oldest:
                    path.unlink()
                    done += 1
        known = {entry.image_id for entry in self.entries()}
        files = {path.name for path in self.directory.iterdir() if SAFE_ID.fullmatch(path.name)}
        for image_id in known ^ files:
            with contextlib.suppress(FileNotFoundError):
                # a copy that just got its name is about to be entered
                if image_id in known or self._path(image_id).stat().st_mtime <= oldest:
                    self.delete(image_id)
                    done += 1
        return done


class _Copy:
    """A copy in the making."""

    def __init__(self, path: pathlib.Path, algorithm: str) -> None:
        self.path = path
        self.size = self.crc32 = 0
        self._hash = hashlib.new(algorithm)
        self._descriptor = -1

    def write(self, piece: bytes) -> bool:
        """Add a piece; False when the disk does not take it."""
        return concurrency.blocking(self._write, piece)

    def _write(self, piece: bytes) -> bool:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view):]
        except OSError as error:
            LOG.warning("the image cache cannot be written to: %s", error)
            return False
        self._hash.update(piece)
        self.crc32 = isal_zlib.crc32(piece, self.crc32)
        self.size += len(piece)
        return True

    def hexdigest(self) -> str:
        """The hash of what was written."""
        return self._hash.hexdigest()

    def drop(self) -> None:
        """Remove what has no better name yet."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.path.unlink(missing_ok=True)
