# SPDX-License-Identifier: Apache-2.0
"""Temporary files on devices, whose makers were killed before they could remove them."""
from __future__ import annotations

import os
import time

from swift.common import durable

SECONDS = 86400               # since the last write: no maker that lives takes that long


def remove(directory: str) -> None:
    """Remove what nobody has written to for a day from a directory of temporary files, if it is
    there: files, and directories with what is in them."""
    try:
        with os.scandir(directory) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        try:
            is_old = time.time() - entry.stat(follow_symlinks=False).st_mtime > SECONDS
        except FileNotFoundError:
            continue                    # its maker lives
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
            if is_old:                  # a young one may have been made for what is yet to come
                durable.rmdir_quietly(entry.path)
        elif is_old:
            durable.unlink_quietly(entry.path)
