# SPDX-License-Identifier: Apache-2.0
"""Hashes of suffix directories: how replicas find out cheaply that they hold the same.

`hashes.pkl` in a partition maps each suffix to the md5 over the names that make up the objects
below it. A write appends its suffix to `hashes.invalid` (a line; cheap), and whoever wants hashes
next folds those lines in and computes anew what they name. Both files under the partition's lock.
"""
from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from hashlib import md5
from pickle import UnpicklingError
from typing import Any, TypeVar

from swift.common import safe_pickle
from swift.common.durable import lock_path, rmdir_quietly, unlink_quietly, write_file
from swift.common.exceptions import PathNotDir
from swift.common.storage import is_hash, is_suffix
from swift.obj.ondisk import Chosen, choose

HASH_FILE = "hashes.pkl"
INVALIDATIONS_FILE = "hashes.invalid"
ONE_WEEK = 604800
AnyChosen = TypeVar("AnyChosen", bound=Chosen)
# Hash of a suffix directory; one for each fragment index where objects are erasure coded.
SuffixHash = str | dict[int | None, str] | None


def invalidate(suffix_dir: str) -> None:
    """Note that the hash of a suffix no longer holds."""
    partition_dir, suffix = os.path.split(suffix_dir)
    with lock_path(partition_dir):
        fd = os.open(f"{partition_dir}/{INVALIDATIONS_FILE}",
                     os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(fd, suffix.encode() + b"\n")
        finally:
            os.close(fd)


def read_hashes(partition_dir: str) -> dict[str, Any]:
    """The dictionary in hashes.pkl; one with only `valid: False` when there is none to be used."""
    try:
        with open(f"{partition_dir}/{HASH_FILE}", "rb") as hashes_file:
            hashes = safe_pickle.loads(hashes_file.read())
    except (OSError, UnpicklingError):
        return {"valid": False}
    if not isinstance(hashes, dict):
        return {"valid": False}
    clean: dict[str, Any] = {
        key: value for key, value in hashes.items()
        if isinstance(key, str) and is_suffix(key)
        and (value is None or isinstance(value, (str, dict)))}
    clean["updated"] = hashes.get("updated", -1)
    whole = len(clean) == len(hashes.keys() | {"updated"}) - ("valid" in hashes)
    clean["valid"] = whole and hashes.get("valid", True) is True and isinstance(
        clean["updated"], (int, float))
    return clean


def write_hashes(partition_dir: str, hashes: dict[str, Any], lasting: bool = True) -> None:
    """Store the dictionary; `updated` and `valid` are set."""
    hashes = {**hashes, "updated": time.time(), "valid": hashes.get("valid", True)}
    write_file(f"{partition_dir}/{HASH_FILE}", safe_pickle.dumps(hashes), lasting=lasting)


def consolidate(partition_dir: str) -> dict[str, Any]:
    """Fold hashes.invalid into hashes.pkl; the dictionary, with None for what is to be computed."""
    with lock_path(partition_dir):
        hashes = read_hashes(partition_dir)
        try:
            with open(f"{partition_dir}/{INVALIDATIONS_FILE}") as invalid_file:
                lines = invalid_file.read().split()
        except FileNotFoundError:
            lines = []
        found = [line for line in lines if is_suffix(line)]
        for suffix in found:
            hashes[suffix] = None
        if lines:
            write_hashes(partition_dir, hashes)
            # Only now: before, a crash would lose what was invalid.
            with open(f"{partition_dir}/{INVALIDATIONS_FILE}", "wb"):
                pass
        return hashes


def get_hashes(partition_dir: str, recalculate: list[str] | None = None,
               do_listdir: bool = False, reclaim_age: float = ONE_WEEK,
               hasher: Callable[[str], SuffixHash] | None = None) -> tuple[int, dict[str, Any]]:
    """(suffixes computed, suffix -> hash) of a partition; computes only what changed.

    `hasher` hashes one suffix directory, `hash_suffix` unless given.
    `recalculate` names suffixes to compute in any case; `do_listdir` looks for suffix directories
    nobody told about. Raises OSError when the partition is not there.
    """
    hasher = hasher or (lambda path: hash_suffix(path, reclaim_age))
    while True:
        hashes = consolidate(partition_dir)
        known = hashes["valid"]
        for suffix in recalculate or ():
            if is_suffix(suffix):
                hashes[suffix] = None
        if do_listdir or not known:
            for name in os.listdir(partition_dir):
                if is_suffix(name):
                    hashes.setdefault(name, None)
        hashed, changed = _compute(partition_dir, hashes, hasher)
        stamp = hashes.get("updated", -1)
        hashes["valid"] = True
        if known and not hashed and not changed:
            break
        with lock_path(partition_dir):
            current = read_hashes(partition_dir)
            if not current["valid"] or current.get("updated", -1) == stamp:
                # What a crash brings back is older: it names what was to be computed as such, or
                # says less than there is, and either is computed again. Spares two fsyncs.
                write_hashes(partition_dir, hashes, lasting=False)
                break
        # Someone wrote other hashes meanwhile: what they found must not be lost, so once more.
        recalculate = None
    return hashed, {key: value for key, value in hashes.items() if is_suffix(key)}


def _compute(partition_dir: str, hashes: dict[str, Any],
             hasher: Callable[[str], SuffixHash]) -> tuple[int, bool]:
    hashed, changed = 0, False
    for suffix in [key for key, value in hashes.items() if value is None and is_suffix(key)]:
        suffix_dir = f"{partition_dir}/{suffix}"
        try:
            digest = hasher(suffix_dir)
        except (FileNotFoundError, PathNotDir):
            digest = None
        hashed += 1
        if digest is None:
            del hashes[suffix]
            changed = True
        else:
            hashes[suffix] = digest
    return hashed, changed


def objects_of(suffix_dir: str, clean: Callable[[str], tuple[AnyChosen, list[str]]]
               ) -> Iterator[AnyChosen]:
    """What counts of each object below a suffix, by hash, after `clean` cleaned up; empty
    directories go, and with the last of them the suffix. Raises PathNotDir."""
    empty = True
    try:
        names = sorted(os.listdir(suffix_dir))
    except NotADirectoryError:
        raise PathNotDir(suffix_dir) from None
    for name in names:
        if not is_hash(name):
            continue
        try:
            chosen, files = clean(f"{suffix_dir}/{name}")
        except NotADirectoryError:
            raise PathNotDir(f"{suffix_dir}/{name}") from None
        if not files:
            rmdir_quietly(f"{suffix_dir}/{name}")
            continue
        empty = False
        yield chosen
    if empty:
        rmdir_quietly(suffix_dir)


def hash_suffix(suffix_dir: str, reclaim_age: float = ONE_WEEK) -> str | None:
    """md5 over the names of what counts in a suffix directory; None when nothing is in it.

    Cleans up on the way: files that lost, tombstones older than `reclaim_age`, empty directories.
    """
    digest = None
    for chosen in objects_of(suffix_dir, lambda path: clean_up(path, reclaim_age)):
        digest = digest or md5(usedforsecurity=False)
        for info in (chosen.meta, chosen.ts, chosen.data):
            if info is not None:
                digest.update((info.timestamp.internal + info.ext).encode())
        if chosen.ctype is not None and chosen.ctype.ctype_timestamp is not None:
            digest.update(chosen.ctype.ctype_timestamp.internal.encode() + b"_ctype")
    return None if digest is None else digest.hexdigest()


def clean_up(hash_dir: str, reclaim_age: float = ONE_WEEK, names: list[str] | None = None
             ) -> tuple[Chosen, list[str]]:
    """Remove what lost from an object's directory; (what counts, all names that are left).

    Of the files `names`, if given: what is not among them stays for another time.
    """
    if names is None:
        try:
            names = os.listdir(hash_dir)
        except FileNotFoundError:
            return Chosen(), []
    chosen = choose(names)
    for info in chosen.obsolete:
        unlink_quietly(f"{hash_dir}/{info.name}")
        names.remove(info.name)
    stone = chosen.ts
    if stone is not None and time.time() - float(stone.timestamp) > reclaim_age:
        unlink_quietly(f"{hash_dir}/{stone.name}")
        names.remove(stone.name)
        chosen.ts = None
    if not names:
        rmdir_quietly(hash_dir)
    return chosen, names


def quarantine(hash_dir: str, quarantine_dir: str) -> str:
    """Move an object's directory out of the way and invalidate its suffix; where it is now."""
    target = f"{quarantine_dir}/{os.path.basename(hash_dir)}"
    invalidate(os.path.dirname(hash_dir))
    os.makedirs(quarantine_dir, exist_ok=True)
    try:
        os.rename(hash_dir, target)
    except OSError:
        target = f"{target}-{uuid.uuid4().hex}"
        os.rename(hash_dir, target)
    return target
