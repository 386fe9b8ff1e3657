# SPDX-License-Identifier: Apache-2.0
"""Hashes of suffix directories with erasure coded objects: one for each fragment index.

Under an index the md5 over the times of the fragments of that index, under None the one over what
all nodes have alike: durable versions, metadata, tombstones.
"""
from __future__ import annotations

import os
import time
from collections import defaultdict
from hashlib import md5

from swift.common.durable import rmdir_quietly, unlink_quietly
from swift.obj.ec_ondisk import ChosenFragment, choose_fragment
from swift.obj.hashes import objects_of
from swift.obj.ondisk import FileInfo


class FragmentHasher:
    """Hashes suffix directories of a policy with `unique` fragments, and cleans them up.

    Goes: what lost; tombstones and stray fragments older than `reclaim_age`, the latter also not
    written within the last `commit_window` seconds (an old object may be on its way to us).
    """

    def __init__(self, unique: int, reclaim_age: float, commit_window: float) -> None:
        self.unique, self.reclaim_age = unique, reclaim_age
        self.commit_window = commit_window

    def __call__(self, suffix_dir: str) -> dict[int | None, str] | None:
        digests: dict[int | None, bytes] = defaultdict(bytes)
        empty = True
        for chosen in objects_of(suffix_dir, self.clean_up):
            empty = False
            for info in (chosen.meta, chosen.ts):
                if info is not None:
                    digests[None] += (info.timestamp.internal + info.ext).encode()
            for fragments in chosen.fragments.values():
                for info in fragments:
                    digests[info.frag_index] += info.timestamp.internal.encode()
            if chosen.durable is not None and chosen.data is not None:
                # However it was marked, so that both kinds of marks hash the same.
                digests[None] += chosen.durable.internal.encode() + b".durable"
            if chosen.ctype is not None and chosen.ctype.ctype_timestamp is not None:
                digests[None] += chosen.ctype.ctype_timestamp.internal.encode() + b"_ctype"
        if empty:
            return None
        return {index: md5(data, usedforsecurity=False).hexdigest()
                for index, data in digests.items()}

    def clean_up(self, hash_dir: str) -> tuple[ChosenFragment, list[str]]:
        """Remove what may go from an object's directory; (what counts, all names left)."""
        try:
            names = os.listdir(hash_dir)
        except FileNotFoundError:
            return ChosenFragment(), []
        chosen = choose_fragment(names, self.unique)
        gone = list(chosen.obsolete)
        if chosen.ts is not None and self._is_old(chosen.ts):
            gone.append(chosen.ts)
            chosen.ts = None
        gone += [info for info in chosen.reclaimable
                 if self._is_old(info) and self._is_settled(hash_dir, info)]
        for info in gone:
            unlink_quietly(f"{hash_dir}/{info.name}")
            names.remove(info.name)
        if not names:
            rmdir_quietly(hash_dir)
        return chosen, names

    def _is_old(self, info: FileInfo) -> bool:
        return time.time() - float(info.timestamp) > self.reclaim_age

    def _is_settled(self, hash_dir: str, info: FileInfo) -> bool:
        return info.durable or is_older(f"{hash_dir}/{info.name}", self.commit_window)


def is_older(path: str, seconds: float) -> bool:
    """Whether a file was not written for so long; also when it is gone."""
    try:
        return seconds <= 0 or time.time() - os.stat(path).st_mtime > seconds
    except FileNotFoundError:
        return True
