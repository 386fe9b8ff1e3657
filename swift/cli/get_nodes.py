# SPDX-License-Identifier: Apache-2.0
"""swift-get-nodes: which devices are responsible for a name or a partition.

    swift-get-nodes /etc/swift/object.ring.gz AUTH_a photos cat.jpg
    swift-get-nodes -P gold AUTH_a/photos/cat.jpg
    swift-get-nodes /etc/swift/container.ring.gz -p 17
"""
from __future__ import annotations

import argparse
import os
import sys
from urllib.parse import quote, unquote

from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.common.storage_policy import policies
from swift.inspection import whereabouts

_LABELS = ("Account  ", "Container", "Object   ")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-get-nodes", description=__doc__, formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="[RING.gz] [ACCOUNT [CONTAINER [OBJECT]]]")
    parser.add_argument("-a", "--all", action="store_true", help="show all handoffs")
    parser.add_argument("-p", "--partition", type=int, help="a partition instead of names")
    parser.add_argument("-P", "--policy-name", help="the policy whose ring to use")
    parser.add_argument("-d", "--swift-dir", default=os.environ.get("SWIFT_DIR", SWIFT_DIR),
                        help="where rings and swift.conf are")
    parser.add_argument("-Q", "--quoted", action="store_true", help="names are percent-encoded")
    return parser


def parse_names(words: list[str], quoted: bool = False) -> list[str]:
    """One to three names, given apart or joined by slashes; ValueError otherwise."""
    names = words[:2] + ["/".join(words[2:])] if len(words) > 2 else list(words)
    if len(names) == 1:
        names = names[0].lstrip("/").split("/", 2)
    if quoted:
        names = [unquote(name, errors="surrogateescape") for name in names]
    while names and not names[-1]:
        names.pop()
    if not all(names) or "/" in "".join(names[:2]):
        raise ValueError("an account or container name is empty or holds a slash")
    return names


def find_ring(args: argparse.Namespace, names: list[str]) -> tuple[Ring, str, int | None]:
    """(ring, kind, policy index to tell) out of the arguments; ValueError when they contradict."""
    path = given = args.words.pop(0) if args.words and args.words[0].endswith(".ring.gz") else None
    index = None
    if args.policy_name:
        policy = policies().by_name(args.policy_name)
        if policy is None:
            raise ValueError(f"No policy named {args.policy_name!r}")
        index = policy.index
        path = path or f"{args.swift_dir}/{policy.ring_name}.ring.gz"
    names += parse_names(args.words, args.quoted)
    if path is None:
        raise ValueError("Need to specify policy_name or <ring.gz>")
    if len(names) in (1, 2) and not given:           # accounts and containers have no policy
        return Ring(f"{args.swift_dir}/{whereabouts.kind_of(names)}.ring.gz"), \
            whereabouts.kind_of(names), None
    kind, ring_index = whereabouts.split_ring_name(path)
    if index is not None and (kind, ring_index) != ("object", index):
        raise ValueError(f"{path} is not the ring of policy {args.policy_name!r}")
    if kind == "object" and ring_index:
        index = ring_index
    return Ring(path), kind, index


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_intermixed_args(argv)
    os.environ["SWIFT_DIR"] = args.swift_dir
    names: list[str] = []
    try:
        ring, kind, index = find_ring(args, names)
        if bool(names) == (args.partition is not None):
            raise ValueError("Give either names or --partition")
        if args.partition is not None and not 0 <= args.partition < ring.partition_count:
            raise ValueError(f"--partition: the ring has 0 to {ring.partition_count - 1}")
        for label, name in zip(_LABELS, names, strict=False):
            shown = quote(name.encode("utf-8", "surrogateescape"))
            print(("\n" if label == _LABELS[0] else "") + f"{label}\t{shown}")
        if names and whereabouts.kind_of(names) != kind:
            print(f"Attention! mismatch between ring and item: this is a ring of {kind}s")
            kind = whereabouts.kind_of(names)        # where a server of its kind would have it
        if len(names) > 2:
            print("\n")
        whereabouts.show(ring, kind, names, args.partition, index, args.all)
    except (ValueError, ConfigError, RingFileError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"ERROR: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
