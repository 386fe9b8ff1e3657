# SPDX-License-Identifier: Apache-2.0
"""Base images of a host: each kept once, named by the hash of its bytes, never written again.

    base = cache.fetch(image, source)      # a Verdict; from disk when it is there

A file appears under its final name only after every byte was hashed and compared with what the
image service recorded, and after its format was inspected.  Files belong to root and are readable
by QEMU's group alone.
"""

import contextlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Collection
from pathlib import Path

from nova.exception import ImageUnacceptable
from nova.image import download, inspection
from nova.image.download import expected_hash
from nova.image.inspection import Verdict
from nova.image.model import Image, ImageSource
from nova.linux.files import sync_directory
from nova.virt.libvirt.files import Owner

LOG = logging.getLogger(__name__)

PART_MAX_AGE = 24 * 3600     # seconds; a download that is older has nobody


def base_key(image: Image) -> str:
    """Return the name a base image is kept under: its hash and the format it is declared in.

    ImageUnacceptable for an image without a hash, which cannot be told from another.
    """
    algorithm, value = expected_hash(image)
    if image.disk_format is None or not image.disk_format.isalnum():
        raise ImageUnacceptable(image_id=image.id, reason="it has no disk format")
    return f"{algorithm}-{value}.{image.disk_format}"


class ImageCache:
    """The base images in one directory.  One process uses it."""

    def __init__(self, directory: Path, owner: Owner, max_bytes: int) -> None:
        self.directory = directory
        self.owner = owner
        self.max_bytes = max_bytes
        self._locks: dict[str, threading.Lock] = {}
        self._users: dict[str, int] = {}

    def prepare(self) -> None:
        """Make the directory and forget downloads nobody finished."""
        self.owner.make_directory(self.directory)
        for part in self.directory.glob(".*.part"):
            part.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Return where the base of this name is kept."""
        if "/" in key or key.startswith("."):
            raise ValueError(f"{key!r} is no name of a base image")
        return self.directory / key

    def fetch(self, image: Image, source: ImageSource) -> Verdict:
        """Return an image's base, downloaded when it is not here yet, once however many ask.

        ImageUnacceptable when the bytes are not what the record says or may not boot; what
        ``source`` raises passes through.  Nothing is left behind then.
        """
        key = base_key(image)
        with self._one_at_a_time(key):
            known = self._known(key)
            if known is None:
                known = self._download(image, key, source)
            with contextlib.suppress(OSError):
                os.utime(known.path)      # its age is the time since its last use
            return known

    @contextlib.contextmanager
    def _one_at_a_time(self, key: str):
        lock = self._locks.setdefault(key, threading.Lock())
        self._users[key] = self._users.get(key, 0) + 1
        try:
            with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]

    def _known(self, key: str) -> Verdict | None:
        path = self.path(key)
        try:
            record = json.loads(path.with_name(key + ".json").read_bytes())
            size = path.stat().st_size
        except (FileNotFoundError, ValueError):
            return None
        if record.get("size") != size:
            LOG.error("Base image %s is %s bytes and should be %s: it is fetched anew", key, size,
                      record.get("size"))
            return None
        return Verdict(path, record["format"], record["virtual_size"])

    def _download(self, image: Image, key: str, source: ImageSource) -> Verdict:
        part = self.directory / f".{uuid.uuid4().hex}.part"
        started = time.monotonic()
        try:
            size = download.write(image, part, source, self.max_bytes)
            verdict = inspection.inspect(part, image.disk_format, image.id)
            self.owner.give(part, 0o440)
            path = self.path(key)
            record = part.with_suffix(".json.part")
            record.write_text(json.dumps({
                "size": size, "format": verdict.format, "virtual_size": verdict.virtual_size,
                "image_id": image.id}))
            self.owner.give(record, 0o440)
            # The record comes last: without it the file beside it counts for nothing.
            os.rename(part, path)
            os.rename(record, path.with_name(key + ".json"))
            sync_directory(self.directory)
        finally:
            for left in (part, part.with_suffix(".json.part")):
                left.unlink(missing_ok=True)
        LOG.info("Image %s: %s bytes fetched in %.1f s", image.id, size,
                 time.monotonic() - started)
        return Verdict(path, verdict.format, verdict.virtual_size)

    def age_out(self, in_use: Collection[str], max_age: float) -> list[str]:
        """Remove bases not ``in_use`` whose last use was ``max_age`` seconds ago; say which."""
        removed = []
        now = time.time()
        for path in self.directory.iterdir():
            key = path.name.removesuffix(".json")
            old = max_age
            if path.name.startswith("."):
                key, old = path.name, max(PART_MAX_AGE, max_age)
            if key in in_use or key in self._users or self._age(path, now) < old:
                continue
            base = self.directory / key
            if base.exists() and self._age(base, now) < old:
                continue
            # Record first: a base without one is nobody's.
            base.with_name(key + ".json").unlink(missing_ok=True)
            base.unlink(missing_ok=True)
            removed.append(key)
        return sorted(set(removed))

    @staticmethod
    def _age(path: Path, now: float) -> float:
        try:
            return now - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def audit(self, in_use: Collection[str]) -> list[tuple[str, str]]:
        """Return (name, problem) of bases that are in use and missing or of the wrong size."""
        return [(key, "an instance stands on it and it is missing or damaged")
                for key in sorted(in_use) if self._known(key) is None]
