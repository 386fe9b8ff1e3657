# SPDX-License-Identifier: Apache-2.0
"""What is in an object's directory: file names that sort by time, metadata in extended attributes.

An object is the newest `.data` file; a `.ts` file (tombstone) that is newer hides it; a `.meta`
file that is newer replaces its user metadata, and its content type if that carries a newer time.

    1234567890.12345.data
    1234567899.00000.meta           metadata only
    1234567899.00000-7d0.meta       metadata, and a content type set 0x7d0 ticks earlier
    1234567900.00000.ts
"""
from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from hashlib import md5
from pickle import UnpicklingError
from typing import Any

from swift.common import safe_pickle
from swift.common.backend_server import text_of, wire
from swift.common.exceptions import (
    DiskFileBadMetadata,
    DiskFileMetadataTooLarge,
    DiskFileNoSpace,
    DiskFileNotExist,
)
from swift.common.timestamp import Timestamp, decode_timestamps, encode_timestamps

METADATA_KEY = "user.swift.metadata"
CHECKSUM_KEY = "user.swift.metadata_checksum"
XATTR_SIZE = 65536
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# What a .meta file never replaces.
DATA_SYSTEM_META = frozenset(("content-length", "deleted", "etag", "x-static-large-object"))
# How every pickle of bytes begins that Python 3 wrote; see `decode_metadata`.
_PYTHON3_MARK = b"_codecs\nencode"


@dataclass(slots=True)
class FileInfo:
    """One file name taken apart."""

    name: str
    timestamp: Timestamp
    ext: str
    ctype_timestamp: Timestamp | None = None
    durable: bool = True
    frag_index: int | None = None


def parse_name(name: str) -> FileInfo | None:
    """The parts of an on-disk name; None for anything that is none of ours."""
    base, dot, ext = name.rpartition(".")
    if not dot or ext not in ("data", "meta", "ts"):
        return None
    try:
        if ext == "meta":
            t1, t2, _ = decode_timestamps(base, explicit=True)
            return FileInfo(name, t1, ".meta", t2)
        # A fragment of an erasure coded object has #index (and #d) after its time.
        return FileInfo(name, Timestamp(base.partition("#")[0]), "." + ext)
    except ValueError:
        return None


def make_name(timestamp: Timestamp, ext: str, ctype_timestamp: Timestamp | None = None) -> str:
    """The name of a file; `ctype_timestamp` only for `.meta`."""
    if ctype_timestamp is not None:
        return encode_timestamps(timestamp, ctype_timestamp, explicit=True) + ext
    return timestamp.internal + ext


@dataclass(slots=True)
class Chosen:
    """The files that make the object's state, and those that could go."""

    data: FileInfo | None = None
    meta: FileInfo | None = None
    ctype: FileInfo | None = None        # a .meta with a newer content type than `meta`'s, or same
    ts: FileInfo | None = None
    obsolete: tuple[FileInfo, ...] = ()


def choose(names: list[str]) -> Chosen:
    """Which of a directory's files count. Unknown names are left alone."""
    if len(names) == 1:
        only = parse_name(names[0])
        if only is None:
            return Chosen()
        if only.ext == ".data":
            return Chosen(data=only)
        if only.ext == ".ts":
            return Chosen(ts=only)
        return Chosen()
    infos = [info for name in names if (info := parse_name(name)) is not None]
    # Newest first; at the same time a tombstone beats data (one of them came from elsewhere).
    rank = {".ts": 2, ".data": 1, ".meta": 0}
    infos.sort(key=lambda i: (i.timestamp.raw, i.timestamp.offset, rank[i.ext]), reverse=True)
    chosen = Chosen()
    obsolete: list[FileInfo] = []
    metas: list[FileInfo] = []
    base: FileInfo | None = None
    for info in infos:
        if info.ext == ".meta":
            (metas if base is None else obsolete).append(info)
        elif base is None:
            base = info
        else:
            obsolete.append(info)
    if base is not None and base.ext == ".ts":
        chosen.ts = base
    elif base is not None:
        chosen.data = base
    _choose_metas(chosen, metas, obsolete)
    chosen.obsolete = tuple(obsolete)
    return chosen


def _choose_metas(chosen: Chosen, metas: list[FileInfo], obsolete: list[FileInfo]) -> None:
    """The newest metadata counts, and the newest content type if another file carries it."""
    if not metas:
        return
    at = max(range(len(metas)), key=lambda i: (metas[i].timestamp, metas[i].ctype_timestamp
                                               or Timestamp(0)))
    chosen.meta = metas[at]
    typed = [info for info in metas if info.ctype_timestamp]
    if typed:
        newest = max(typed, key=lambda i: (i.ctype_timestamp, i.timestamp))
        data = chosen.data
        if data is None or newest.ctype_timestamp > data.timestamp:  # type: ignore[operator]
            chosen.ctype = newest
    obsolete.extend(info for info in metas
                    if info is not chosen.meta and info is not chosen.ctype)


# -- metadata ------------------------------------------------------------

def encode_metadata(metadata: dict[str, str]) -> bytes:
    """The pickle of names and values as bytes.

    As OpenStack Swift under Python 3 writes it: the object's name is UTF-8, everything else is the
    header's bytes taken for Latin-1 and then made UTF-8. ASCII is the same either way.
    """
    if "".join(metadata).isascii() and "".join(metadata.values()).isascii():
        # XFS keeps up to 255 bytes in the inode, more in a block of their own.
        return safe_pickle.dumps_bytes({key.encode(): value.encode()
                                        for key, value in metadata.items()})
    return safe_pickle.dumps({
        wire(key).encode(): (value.encode("utf-8", "surrogateescape") if key == "name"
                             else wire(value).encode()) for key, value in metadata.items()})


def _text(value: Any, twice: bool) -> str:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        raise DiskFileBadMetadata(f"metadata holds a {type(value).__name__}")
    text = value.decode("utf-8", "surrogateescape")
    if twice and not text.isascii():
        try:
            return text_of(text)
        except UnicodeEncodeError:
            pass                      # written by Python 2, then written again by Python 3
    return text


def decode_metadata(data: bytes) -> dict[str, str]:
    """The inverse, also of what Swift under Python 2 wrote (plain UTF-8).

    DiskFileBadMetadata for what is no dictionary of strings.
    """
    try:
        value = safe_pickle.loads(data, encoding="bytes")
    except UnpicklingError as exc:
        raise DiskFileBadMetadata(str(exc)) from exc
    if not isinstance(value, dict):
        raise DiskFileBadMetadata("metadata is no dictionary")
    try:
        text = {key.decode(): item.decode() for key, item in value.items()}
        if "".join(text).isascii() and "".join(text.values()).isascii():
            return text
    except (AttributeError, UnicodeDecodeError):
        pass                          # text, or what is neither
    twice = _PYTHON3_MARK in data[:32]
    return {_text(key, twice): _text(item, twice and key != b"name")
            for key, item in value.items()}


def write_metadata(fd: int, metadata: dict[str, str]) -> None:
    """Store `metadata` on an open file.

    DiskFileNoSpace when the disk is full; DiskFileMetadataTooLarge when it is not, but its file
    system has less room for attributes (ext4: one block, about 4 KB; XFS: as much as it takes).
    """
    data = encode_metadata(metadata)
    checksum = md5(data, usedforsecurity=False).hexdigest().encode()
    try:
        os.setxattr(fd, METADATA_KEY, data[:XATTR_SIZE])
        for number, start in enumerate(range(XATTR_SIZE, len(data), XATTR_SIZE), 1):
            os.setxattr(fd, f"{METADATA_KEY}{number}", data[start:start + XATTR_SIZE])
        os.setxattr(fd, CHECKSUM_KEY, checksum)
    except OSError as exc:
        if exc.errno == errno.ENOSPC and len(data) < os.fstatvfs(fd).f_bavail * 512:
            raise DiskFileMetadataTooLarge(str(exc)) from exc
        if exc.errno == errno.E2BIG:
            raise DiskFileMetadataTooLarge(str(exc)) from exc
        if exc.errno in _NO_SPACE:
            raise DiskFileNoSpace(str(exc)) from exc
        raise


def read_metadata(source: int | str) -> dict[str, str]:
    """The metadata of an open file or a path.

    Raises DiskFileNotExist when the path is gone, DiskFileBadMetadata when attributes are
    missing, broken or do not match their checksum, OSError when the disk fails.
    """
    try:
        data = os.getxattr(source, METADATA_KEY)
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            raise DiskFileNotExist() from exc
        if exc.errno == errno.ENODATA:
            raise DiskFileBadMetadata("no metadata") from exc
        raise
    try:
        checksum = os.getxattr(source, CHECKSUM_KEY)
    except OSError as exc:
        if exc.errno not in (errno.ENODATA, errno.ENOENT):
            raise
        checksum = None                         # written before there were checksums
    if checksum is not None and _md5(data) == checksum:
        return decode_metadata(data)
    return decode_metadata(_read_more(source, data, checksum))


def _md5(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).hexdigest().encode()


def _read_more(source: int | str, data: bytes, checksum: bytes | None) -> bytes:
    """All pieces of metadata that was cut into several attributes."""
    number = 1
    while True:
        try:
            data += os.getxattr(source, f"{METADATA_KEY}{number}")
        except OSError as exc:
            if exc.errno == errno.ENODATA:
                break
            raise
        number += 1
    if checksum is not None and _md5(data) != checksum:
        raise DiskFileBadMetadata("metadata does not match its checksum")
    return data


def merge_metadata(data: dict[str, str], meta: dict[str, str] | None,
                   ctype: dict[str, str] | None) -> dict[str, str]:
    """The object's metadata out of its .data file's and those of its chosen .meta files."""
    merged = dict(data)
    if meta is not None:
        merged = dict(meta)
        for key, value in data.items():
            lower = key.lower()
            if lower in DATA_SYSTEM_META or lower.startswith("x-object-sysmeta-"):
                merged[key] = value
        merged.setdefault("name", data.get("name", ""))
        merged["Content-Type"] = data.get("Content-Type", "")
        merged.pop("Content-Type-Timestamp", None)
    if ctype is not None and "Content-Type" in ctype:
        merged["Content-Type"] = ctype["Content-Type"]
        if "Content-Type-Timestamp" in ctype:
            merged["Content-Type-Timestamp"] = ctype["Content-Type-Timestamp"]
    return merged
