# SPDX-License-Identifier: Apache-2.0
"""swift-manage-shard-ranges DATABASE SUB-COMMAND ...

Divides a container among shards by hand, and repairs what is divided badly. It works on one
replica's database file; the container replicator brings the changes to the others.

    swift-manage-shard-ranges /srv/node/sda/containers/.../HASH.db find_and_replace 500000 --enable
"""
from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable

from swift.common.conf import read_conf
from swift.common.exceptions import ConfigError, DatabaseConnectionError, LockTimeout
from swift.container.backend import ContainerBroker
from swift.container.sharder_conf import SharderConf
from swift.inspection import shard_ranges, shard_repair
from swift.inspection.shard_ranges import BAD_ARGUMENTS, FAILED, Refused, say

_YOUNG = 4 * 3600
# Options that, when not given, are those of [container-sharder] in --config, or its defaults.
_FROM_CONF = ("rows_per_shard", "minimum_shard_size", "shrink_threshold", "expansion_limit",
              "max_shrinking", "max_expanding")


class _Database(ContainerBroker):
    """A database an operator named: what is none, or broken, stays where it is."""

    def quarantine(self, reason: str) -> str:
        raise Refused(FAILED, f"{self.db_file} is no good database: {reason}")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swift-manage-shard-ranges",
                                     description="Manage the shard ranges of a container")
    parser.add_argument("path_to_file", help="a container's database, or for analyze a file of "
                                             "shard ranges")
    parser.add_argument("--config", dest="conf_file",
                        help="file with a [container-sharder] section, whose sizes count unless "
                             "others are given")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    commits = parser.add_mutually_exclusive_group()
    commits.add_argument("--skip-commits", action="store_true",
                         help="leave rows that wait in the .pending file there")
    commits.add_argument("--force-commits", action="store_false", dest="skip_commits",
                         default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="subcommand", metavar="SUB-COMMAND", required=True)

    def command(name: str, function: Callable) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=(function.__doc__ or "").partition("\n")[0],
                                   description=function.__doc__)
        made.set_defaults(func=function, shards_account_prefix=".shards_", enable_timeout=300)
        return made

    _size_arguments(command("find", shard_ranges.find))
    command("delete", shard_ranges.delete).add_argument(
        "-f", "--force", action="store_true", help="do not ask")
    _show_arguments(command("show", shard_ranges.show))
    command("info", shard_ranges.info)
    merge = command("merge", shard_ranges.merge)
    merge.add_argument("input", metavar="FILE", help="- for standard input")
    merge.add_argument("--replace-timeout", type=_not_negative, default=600)
    _prefix_argument(merge)
    _prompt_arguments(merge)
    replace = command("replace", shard_ranges.replace)
    replace.add_argument("input", metavar="FILE", help="- for standard input")
    _replace_arguments(replace)
    both = command("find_and_replace", shard_ranges.find_and_replace)
    _size_arguments(both)
    _replace_arguments(both)
    _replace_arguments(command("enable", shard_ranges.enable))
    compact = command("compact", shard_repair.compact)
    _prompt_arguments(compact)
    for name in ("shrink-threshold", "expansion-limit", "max-shrinking", "max-expanding"):
        compact.add_argument("--" + name, type=_positive, nargs="?")
    repair = command("repair", shard_repair.repair)
    _prompt_arguments(repair)
    repair.add_argument("--gaps", action="store_true", help="fill gaps instead")
    repair.add_argument("--max-expanding", type=_positive, nargs="?")
    for made, age in ((repair, _YOUNG), (command("analyze", shard_repair.analyze), 0)):
        made.add_argument("--min-shard-age", type=_not_negative, default=age,
                          help="seconds below which ranges are left alone")
    return parser


def _size_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows_per_shard", type=_positive, nargs="?")
    parser.add_argument("--minimum-shard-size", type=_positive,
                        help="the last shard has at least so many rows")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--include_deleted", action="store_true")
    parser.add_argument("-b", "--brief", action="store_true", help="only the bounds")
    parser.add_argument("--includes", help="only the range with this object")
    parser.add_argument("-Q", "--quoted", action="store_true", help="--includes is URL-encoded")


def _prefix_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shards_account_prefix", default=".shards_")


def _replace_arguments(parser: argparse.ArgumentParser) -> None:
    _prefix_argument(parser)
    parser.add_argument("--replace-timeout", type=_not_negative, default=600,
                        help="seconds to wait for the database")
    parser.add_argument("--enable-timeout", type=_not_negative, default=300)
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--enable", action="store_true", help="let the sharder use them at once")


def _prompt_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-y", "--yes", action="store_true", help="do not ask")
    group.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")


def _complete(args: argparse.Namespace, conf: dict[str, str]) -> None:
    """Fill in sizes that were not given; ConfigError when they contradict each other."""
    given = {name: str(getattr(args, name)) for name in _FROM_CONF
             if getattr(args, name, None) is not None}
    sizes = SharderConf.of({**conf, **given}, {name for name in _FROM_CONF
                                               if hasattr(args, name)})
    for name in _FROM_CONF:
        if hasattr(args, name) and getattr(args, name) is None:
            setattr(args, name, getattr(sizes, name))


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; the exit code."""
    args = _parser().parse_args(argv)
    try:
        conf = read_conf(args.conf_file, "container-sharder") if args.conf_file else {}
    except ConfigError as exc:
        say(f"ERROR: {exc}")
        return FAILED
    try:
        _complete(args, conf)
    except ConfigError as exc:
        say(f"Invalid configuration: {exc}")
        return BAD_ARGUMENTS
    try:
        if args.subcommand == "analyze":
            return args.func(args)
        if not os.path.exists(args.path_to_file):
            raise Refused(FAILED, f"{args.path_to_file} does not exist")
        broker = _Database(os.path.realpath(args.path_to_file), keep=False)
        broker.skip_pending = args.skip_commits
        say(f"Database of {broker.path}")
        return args.func(broker, args)
    except Refused as exc:
        code, reason = exc.args
        say(f"Nothing was changed: {reason}.")
        return code
    except (sqlite3.Error, OSError, DatabaseConnectionError, LockTimeout, TypeError) as exc:
        say(f"ERROR: {args.path_to_file}: {exc}")
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
