# SPDX-License-Identifier: Apache-2.0
"""Images as files: ``DATADIR/<id>``, written under ``DATADIR/.partial/`` until they are whole.

With several directories an image goes into the first one that has room: higher priorities first,
more free space first among equals.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_config import cfg

from glance import concurrency, exceptions
from glance.store import blocks
from glance.store.base import SAFE_ID, Fillable, Store, Stored, checked_id

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("filesystem_store_datadir", default="/var/lib/glance/images",
               help="Directory that holds the image files; made if missing."),
    cfg.MultiStrOpt("filesystem_store_datadirs", default=[],
                    help="Several directories instead, each as DIRECTORY or DIRECTORY:PRIORITY; "
                         "may be repeated.  Higher priorities (0 by default) are filled first."),
    cfg.StrOpt("filesystem_store_file_perm", default="600", regex="^0?[0-7]{3}$",
               help="Permission bits of image files, in octal."),
]
PARTIAL = ".partial"
#: seconds within which a second reader makes an image worth the page cache
DEMAND = 3600.0
#: images whose readers are remembered
REMEMBERED = 1000


class FilesystemStore(Store):
    """Files in directories of a local (or cluster) file system.

    :param datadirs: directories, each with its priority.
    """

    schemes = ("file", "filesystem")
    kind = "filesystem"

    def __init__(self, name: str, *datadirs: str | os.PathLike[str] | tuple[str, int],
                 file_mode: int = 0o600) -> None:
        super().__init__(name)
        pairs = [given if isinstance(given, tuple) else (os.fspath(given), 0)
                 for given in datadirs]
        self._directories = [(pathlib.Path(path).absolute(), priority)
                             for path, priority in pairs]
        self.file_mode = file_mode
        self._read_at: dict[str, float] = {}

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, name: str) -> FilesystemStore:
        """The store that section ``[name]`` describes."""
        conf.register_opts(OPTIONS, name)
        group = conf[name]
        wanted = group.filesystem_store_datadirs or [group.filesystem_store_datadir]
        return cls(name, *[_with_priority(text, name) for text in wanted],
                   file_mode=int(group.filesystem_store_file_perm, 8))

    def details(self) -> dict[str, Any]:
        return {"chunk_size": blocks.CHUNK, "directories": len(self._directories)}

    def check(self) -> None:
        for path, _ in self._directories:
            try:
                (path / PARTIAL).mkdir(mode=0o750, parents=True, exist_ok=True)
            except OSError as error:
                raise exceptions.ConfigurationError(
                    f"[{self.name}] filesystem_store_datadir: {error}") from None
            if not os.access(path / PARTIAL, os.W_OK | os.X_OK):
                raise exceptions.Unavailable(f"store {self.name} cannot be written to")

    def _choose(self, size: int | None) -> pathlib.Path:
        """The directory a new image goes to."""
        if len(self._directories) == 1:
            return self._directories[0][0]
        ranked = []
        for path, priority in self._directories:
            try:
                free = shutil.disk_usage(path).free
            except OSError as error:
                LOG.error("store %s: a directory cannot be used: %s", self.name, error)
                continue
            if free > (size or 0):
                ranked.append((priority, free, path))
        if not ranked:
            raise exceptions.StorageFull(f"store {self.name} has no room for this image")
        return max(ranked)[2]

    def _find(self, image_id: str) -> pathlib.Path:
        """The file of an image, in whichever directory it lies; in the first if in none."""
        for path, _ in self._directories:
            if os.path.lexists(path / image_id):
                return path / image_id
        return self._directories[0][0] / image_id

    def add(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> Stored:
        if os.path.lexists(self._find(checked_id(image_id))):
            raise exceptions.Duplicate(f"image {image_id} has data in store {self.name} already")
        directory = self._choose(size)
        final = directory / image_id
        partial = directory / PARTIAL / f"{image_id}.{uuid.uuid4().hex}"
        try:
            written = self._write(partial, chunks, size)
            if size is not None and written != size:
                raise exceptions.ClientDisconnected(
                    f"image data: {size} bytes were announced, {written} arrived")
            concurrency.blocking(_publish, partial, final)
        except OSError as error:
            raise self._translate(error, image_id) from None
        finally:
            concurrency.blocking(partial.unlink, missing_ok=True)
        return Stored(url=final.as_uri(), size=written)

    def adopt(self, image_id: str, make: Callable[[pathlib.Path], None]) -> None:
        """Store what `make` writes into the new file it is given: the whole of it, or nothing."""
        directory = self._choose(None)
        partial = directory / PARTIAL / f"{checked_id(image_id)}.{uuid.uuid4().hex}"
        try:
            make(partial)
            concurrency.blocking(_sync, partial)
            concurrency.blocking(_publish, partial, directory / image_id)
        except OSError as error:
            raise self._translate(error, image_id) from None
        finally:
            concurrency.blocking(partial.unlink, missing_ok=True)

    def _write(self, path: pathlib.Path, chunks: Iterable[bytes], size: int | None) -> int:
        written = 0
        with contextlib.closing(blocks.Writer(path, self.file_mode)) as target:
            if size:
                target.reserve(size)
            if isinstance(chunks, Fillable):
                written = target.fill(chunks.readinto)
            else:
                for chunk in chunks:
                    target.write(chunk)
                    written += len(chunk)
            target.finish()
        return written

    def read(self, url: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        path = self.path(url)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise self._translate(error, path.name) from None
        if length is None:
            length = max(0, os.fstat(descriptor).st_size - offset)
        return blocks.Reading(descriptor, offset, length, keep=self._is_in_demand(path.name))

    def _is_in_demand(self, image_id: str) -> bool:
        """Whether an image that is about to be read was read lately, too."""
        now = time.monotonic()
        before = self._read_at.pop(image_id, None)
        self._read_at[image_id] = now  # at the end: the first is the one read longest ago
        if len(self._read_at) > REMEMBERED:
            del self._read_at[next(iter(self._read_at))]
        return before is not None and now - before < DEMAND

    def size(self, url: str) -> int:
        path = self.path(url)
        try:
            return path.stat(follow_symlinks=False).st_size
        except OSError as error:
            raise self._translate(error, path.name) from None

    def delete(self, url: str) -> None:
        path = self.path(url)
        try:
            concurrency.blocking(path.unlink)  # many gigabytes take their time to go, too
        except OSError as error:
            raise self._translate(error, path.name) from None
        concurrency.blocking(_sync_directory, path.parent)

    def discard(self, image_id: str) -> None:
        checked_id(image_id)
        for directory, _ in self._directories:
            for leftover in (*(directory / PARTIAL).glob(f"{image_id}.*"), directory / image_id):
                try:
                    concurrency.blocking(leftover.unlink)
                    LOG.info("store %s: removed unfinished data of image %s", self.name, image_id)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise self._translate(error, image_id) from None
            concurrency.blocking(_sync_directory, directory)

    def list_ids(self) -> Iterator[str]:
        seen = set()
        for top, _ in self._directories:
            for directory in (top, top / PARTIAL):
                for entry in os.scandir(directory) if directory.is_dir() else ():
                    image_id = entry.name.partition(".")[0]
                    if SAFE_ID.fullmatch(image_id) and image_id not in seen:
                        seen.add(image_id)
                        yield image_id

    def path(self, url: str) -> pathlib.Path:
        """The file behind one of our own URLs: always an id directly under a data directory,
        whatever directory the URL speaks of, so no URL can reach another file."""
        parsed = urllib.parse.urlsplit(url)
        name = parsed.path.rpartition("/")[2]
        if parsed.scheme not in self.schemes or not SAFE_ID.fullmatch(name):
            raise exceptions.NotFound(f"no image data in store {self.name}")
        return self._find(name)

    def _translate(self, error: OSError, image_id: str) -> exceptions.GlanceError:
        """What a client may know of a file system error; the rest goes to the log."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            LOG.warning("store %s is full: %s", self.name, error)
            return exceptions.StorageFull(f"store {self.name} has no room for this image")
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return exceptions.NotFound(f"no data of image {image_id} in store {self.name}")
        if error.errno == errno.EEXIST:
            return exceptions.Duplicate(
                f"image {image_id} has data in store {self.name} already")
        LOG.error("store %s: %s", self.name, error)
        return exceptions.Unavailable(f"store {self.name} cannot be used now")


def _with_priority(text: str, name: str) -> tuple[str, int]:
    """``DIRECTORY[:PRIORITY]``."""
    path, colon, priority = text.rpartition(":")
    if not colon:
        return text, 0
    if not path or not priority.isascii() or not priority.isdigit():
        raise exceptions.ConfigurationError(
            f"[{name}] filesystem_store_datadirs: {text!r} is not DIRECTORY or DIRECTORY:PRIORITY")
    return path, int(priority)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: pathlib.Path) -> None:
    _sync(directory)


def _publish(partial: pathlib.Path, final: pathlib.Path) -> None:
    """Give a whole file its name, atomically and only if nobody has that name; then make the
    name itself durable."""
    os.link(partial, final)  # unlike rename this refuses to replace data that is there
    partial.unlink()
    _sync_directory(final.parent)
