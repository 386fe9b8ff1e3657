# SPDX-License-Identifier: Apache-2.0
"""The bytes of an image in a file: all of them, and those the image service recorded."""

import hashlib
import os
import re
from pathlib import Path

from nova.exception import ImageUnacceptable
from nova.image.model import Image, ImageSource

_HEX = re.compile(r"[0-9a-f]{32,128}")
_STRONG = ("sha512", "sha384", "sha256", "blake2b")


def expected_hash(image: Image) -> tuple[str, str]:
    """Return (algorithm, hex) of the best hash recorded; ImageUnacceptable when there is none."""
    for algorithm, value in ((image.hash_algorithm, image.hash_value), ("md5", image.checksum)):
        if value and (algorithm in _STRONG or algorithm == "md5") and _HEX.fullmatch(value):
            return str(algorithm), value
    raise ImageUnacceptable(image_id=image.id, reason="the image service records no hash of it")


def write(image: Image, path: Path, source: ImageSource, max_bytes: int) -> int:
    """Write an image's bytes into a new file, mode 0600, and return how many they are.

    They are on disk and compared with the recorded size and hash when this returns;
    ImageUnacceptable when they are not those, or more than ``max_bytes``.  What ``source``
    raises passes through.  The file is the caller's to remove then.
    """
    algorithm, expected = expected_hash(image)
    digest = hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
    limit = max_bytes if image.size is None else min(max_bytes, image.size)
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in source.download(image.id):
            size += len(chunk)
            if size > limit:
                raise ImageUnacceptable(
                    image_id=image.id, reason=f"it is larger than {limit} bytes")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if image.size is not None and size != image.size:
        raise ImageUnacceptable(
            image_id=image.id, reason=f"{size} bytes came of the {image.size} recorded")
    if digest.hexdigest() != expected:
        raise ImageUnacceptable(
            image_id=image.id, reason=f"its {algorithm} is not the one recorded")
    return size
