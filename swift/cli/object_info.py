# SPDX-License-Identifier: Apache-2.0
"""swift-object-info FILE: what a file of an object server's disk says of itself, and where its
object lives. Nothing is changed."""
from __future__ import annotations

import argparse
import os
import sys
from hashlib import md5

from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError, DiskFileBadMetadata, DiskFileNotExist
from swift.common.ring.format import RingFileError
from swift.common.storage import hash_path
from swift.common.storage_policy import StoragePolicy, policies
from swift.inspection import whereabouts
from swift.inspection.whereabouts import moment
from swift.obj.ondisk import read_metadata

_SECTIONS = (("System Metadata", "X-Object-Sysmeta-"),
             ("Transient System Metadata", "X-Object-Transient-Sysmeta-"),
             ("User Metadata", "X-Object-Meta-"))
_OWN_LINES = ("name", "Content-Type", "X-Timestamp", "ETag", "Content-Length")
_CHUNK = 1 << 20


def print_metadata(metadata: dict[str, str], drop_prefixes: bool) -> None:
    """Everything but what tells the body's size and ETag."""
    name = metadata.get("name")
    if name:
        print(f"Path: {name}")
        for label, part in zip(("Account", "Container", "Object"), name[1:].split("/", 2),
                               strict=False):
            print(f"  {label}: {part}")
        print(f"  Object hash: {hash_path(*name[1:].split('/', 2))}")
    else:
        print("Path: Not found in metadata")
    if "Content-Type" in metadata:
        print(f"Content-Type: {metadata['Content-Type']}")
    else:
        print("Content-Type: Not found in metadata")
    stamp = metadata.get("X-Timestamp")
    print(f"Timestamp: {moment(stamp) if stamp else 'Not found in metadata'}")
    rest = {key: value for key, value in metadata.items() if key not in _OWN_LINES}
    for title, prefix in _SECTIONS:
        found = {key: rest.pop(key) for key in sorted(rest) if key.startswith(prefix)}
        _print_section(title, {key.removeprefix(prefix) if drop_prefixes else key: value
                               for key, value in found.items()})
    _print_section("Other Metadata", rest)


def _print_section(title: str, values: dict[str, str]) -> None:
    print(f"{title}:")
    for key, value in sorted(values.items()):
        print(f"  {key}: {value}")
    if not values:
        print("  No metadata found")


def print_body(path: str, metadata: dict[str, str], check_etag: bool) -> None:
    """ETag and length, and whether the body agrees with them."""
    etag = metadata.get("ETag")
    if etag is None:
        print("ETag: Not found in metadata")
    elif not check_etag:
        print(f"ETag: {etag} (not checked)")
    else:
        digest = md5(usedforsecurity=False)
        with open(path, "rb") as body:
            while chunk := body.read(_CHUNK):
                digest.update(chunk)
        found = digest.hexdigest()
        print(f"ETag: {etag} (valid)" if found == etag else
              f"ETag: {etag} doesn't match file hash of {found}!")
    length, size = metadata.get("Content-Length"), os.stat(path).st_size
    if length is None:
        print("Content-Length: Not found in metadata")
    else:
        print(f"Content-Length: {length} (valid)" if length == str(size) else
              f"Content-Length: {length} doesn't match file length of {size}")


def policy_of(path: str, wanted: str | None) -> StoragePolicy | None:
    """The policy whose directory the file is in; for a file elsewhere the one named, or the first.

    A name that contradicts is told, and does not count: the file is where it is.
    """
    found = None
    for part in os.path.abspath(path).split("/"):
        base, _, index = part.partition("-")
        if base == "objects" and (not index or index.isdigit()):
            found = policies().by_index(index)
    policy = policies().by_index(0) if wanted is None else policies().by_name(wanted)
    if policy is None:
        print(f"Warning: there is no policy named {wanted!r}")
    elif found is not None and wanted is not None and found != policy:
        print(f"Warning: the file is stored in policy {found.name!r}, not {policy.name!r}")
    return found or policy


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-object-info", description=__doc__)
    parser.add_argument("file")
    parser.add_argument("-n", "--no-check-etag", action="store_true",
                        help="do not read the body")
    parser.add_argument("-d", "--swift-dir", default=os.environ.get("SWIFT_DIR", SWIFT_DIR),
                        help="where rings and swift.conf are")
    parser.add_argument("--drop-prefixes", action="store_true",
                        help="leave X-Object-Meta- and the like away")
    parser.add_argument("-P", "--policy-name", help="the storage policy the object is in")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_args(argv)
    os.environ["SWIFT_DIR"] = args.swift_dir
    sys.stdout.reconfigure(errors="surrogateescape")     # type: ignore[union-attr]
    try:
        metadata = read_metadata(args.file)
        policy = policy_of(args.file, args.policy_name)
        print_metadata(metadata, args.drop_prefixes)
        print_body(args.file, metadata, not args.no_check_etag)
        ring = policy and whereabouts.open_ring(args.swift_dir, policy.ring_name)
        names = metadata.get("name", "")[1:].split("/", 2)
        if policy and ring and len(names) == 3:
            whereabouts.show(ring, "object", names, index=policy.index)
    except DiskFileNotExist:
        print(f"ERROR: {args.file} does not exist", file=sys.stderr)
        return 1
    except (DiskFileBadMetadata, ConfigError, RingFileError, ValueError) as exc:
        print(f"ERROR: {args.file}: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"ERROR: {args.file}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
