# SPDX-License-Identifier: Apache-2.0
"""swift-ring-composer: put several builders' rings together, each with its own regions.

    swift-ring-composer multi.composite compose r1.builder r2.builder --output object.ring.gz
    swift-ring-composer multi.composite rebalance
    swift-ring-composer multi.composite compose --output object.ring.gz
    swift-ring-composer multi.composite show

All builders have the same part power and whole numbers of replicas; no region and no device is in
two of them. Their order is that of the replicas: once composed it stays, unless --force is given.
Exit codes: 0 done, 2 refused, nothing was changed.
"""
from __future__ import annotations

import argparse
import json
import os
import sys

from swift.common.ring.builder import RingBuilderError
from swift.common.ring.composite import Composite
from swift.common.ring.format import RingFileError

DONE, ERROR = 0, 2


def show(composite: Composite, args: argparse.Namespace) -> None:
    """what the composite is made of"""
    print(json.dumps(composite.to_dict(), indent=4, sort_keys=True))


def compose(composite: Composite, args: argparse.Namespace) -> None:
    """write the ring"""
    ring = composite.compose(args.builder_files or None, args.force)
    ring.save(args.output, args.format_version)
    composite.save(args.composite_file)


def rebalance(composite: Composite, args: argparse.Namespace) -> None:
    """rebalance the components, moving no partition in two of them at a time"""
    for path, changed, balance in composite.rebalance(args.seed):
        print(f"{path}: reassigned {changed} partitions, balance is now {balance:.2f}")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-ring-composer", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("composite_file", help="where it is kept what the ring is made of")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("show", help=show.__doc__).set_defaults(run=show)
    adding = commands.add_parser("compose", help=compose.__doc__)
    adding.set_defaults(run=compose)
    adding.add_argument("builder_files", nargs="*", metavar="BUILDER",
                        help="those of the last time by default")
    adding.add_argument("--output", required=True, help="the ring file")
    adding.add_argument("--force", action="store_true",
                        help="also when the builders are others, or have not changed")
    adding.add_argument("--format-version", type=int, choices=(1, 2), default=1)
    balancing = commands.add_parser("rebalance", help=rebalance.__doc__)
    balancing.set_defaults(run=rebalance)
    balancing.add_argument("--seed", help="make the outcome repeatable")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_args(argv)
    try:
        known = args.run is not compose or os.path.exists(args.composite_file)
        args.run(Composite.load(args.composite_file) if known else Composite(), args)
    except (RingBuilderError, RingFileError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return ERROR
    except OSError as exc:
        print(f"ERROR: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return ERROR
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
