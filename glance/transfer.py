# SPDX-License-Identifier: Apache-2.0
"""Image data into files, and how far it is.

A file gets its name only when it is whole and has the recorded hash; until then it is NAME.part.
What of it arrived before a download broke off can be kept, and the rest asked for later.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any, TextIO

from glance import client

CHUNK = 1 << 20
BAR = 30

Report = Callable[[int], None]


def bar(size: int, out: TextIO | None = None) -> Report:
    """A function that draws how many of `size` bytes are done; without a size it only counts."""
    out = out or sys.stderr

    def show(done: int) -> None:
        if not size:
            print(f"\r{done:>14} bytes", end="", file=out, flush=True)
            return
        share = min(done / size, 1.0)
        filled = int(BAR * share)
        drawn = ("=" * filled + ">" * (filled < BAR)).ljust(BAR)
        print(f"\r[{drawn}] {int(100 * share):3d} %", end="\n" if done >= size else "", file=out,
              flush=True)

    return show


def download(images: client.Client, image_id: str, path: str, *, resume: bool = False,
             report: Report | None = None) -> None:
    """Download an image to `path`.

    :param resume: go on where an earlier call broke off, and leave what arrived if this one does.
    :raises client.CorruptDownload: the data does not have the hash the service recorded; nothing
        of it stays.
    """
    partial = pathlib.Path(f"{path}.part")
    meta = images.get_image(image_id)
    digest = hashlib.new(meta["os_hash_algo"]) if meta.get("os_hash_algo") else None
    try:
        with open(partial, "r+b" if resume and partial.exists() else "wb") as target:
            seen = _hashed(target, digest)
            if seen > (meta.get("size") or 0):  # of something else
                target.truncate(0)
                target.seek(0)
                seen, digest = 0, digest and hashlib.new(digest.name)
            if report is not None and seen:
                report(seen)
            if seen < (meta.get("size") or 0) or not seen:
                _fetch(images, image_id, target, seen, digest, report)
            target.flush()
            os.fsync(target.fileno())
        if digest is not None and digest.hexdigest() != meta["os_hash_value"]:
            resume = False
            raise client.CorruptDownload("the downloaded data does not have the recorded hash")
    except BaseException:  # also an interrupted download must not pass for a whole one
        if not resume:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
        raise
    os.replace(partial, path)


def _hashed(target: Any, digest: Any) -> int:
    """How many bytes are there already; they are hashed."""
    seen = 0
    while piece := target.read(CHUNK) if target.readable() else b"":
        seen += len(piece)
        if digest is not None:
            digest.update(piece)
    return seen


def _fetch(images: client.Client, image_id: str, target: Any, seen: int, digest: Any,
           report: Report | None) -> None:
    pieces, _ = images.download(image_id, offset=seen, verify=False)
    for piece in pieces:
        target.write(piece)
        seen += len(piece)
        if digest is not None:
            digest.update(piece)
        if report is not None:
            report(seen)
