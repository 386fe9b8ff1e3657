# SPDX-License-Identifier: Apache-2.0
"""swift-init: start, stop and reload the servers and daemons of this node.

    swift-init main start
    swift-init object-replicator once
    swift-init proxy reload-seamless
    swift-init object.1 restart        the one of /etc/swift/object-server/1.conf

A server is a name with or without -server, a pattern (object-*), or all, main (the four servers),
rest (the daemons). Configuration is found below $SWIFT_DIR (/etc/swift), pid files are kept below
the run directory.
"""
from __future__ import annotations

import argparse
import os
import sys

from swift.common.conf import SWIFT_DIR
from swift.operations.control import COMMANDS, Control, Options
from swift.operations.servers import GROUPS, RUN_DIR, UnknownServer, servers_named


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    commands = "\n".join(f"  {name:16} {getattr(Control, name.replace('-', '_')).__doc__}"
                         for name in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="swift-init", description=__doc__, epilog=f"commands:\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", metavar="SERVER ... COMMAND")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell each signal")
    parser.add_argument("-w", "--no-wait", action="store_false", dest="wait",
                        help="do not wait until servers serve")
    parser.add_argument("-o", "--once", action="store_true", help="daemons: one pass only")
    parser.add_argument("-n", "--no-daemon", action="store_false", dest="daemon",
                        help="stay attached, log to the terminal")
    parser.add_argument("-g", "--graceful", action="store_true",
                        help="servers answer what is in flight before they end")
    parser.add_argument("-c", "--config-num", type=int, default=0, dest="number", metavar="N",
                        help="only the instance of the Nth configuration file")
    parser.add_argument("-k", "--kill-wait", type=float, default=15, metavar="SECONDS",
                        help="how long to wait for processes to end (15)")
    parser.add_argument("--kill-after-timeout", action="store_true",
                        help="SIGKILL what has not ended by then")
    parser.add_argument("-r", "--run-dir", default=RUN_DIR,
                        help=f"where pid files are ({RUN_DIR})")
    parser.add_argument("--strict", action="store_true", default=None,
                        help="fail when a server has no configuration (default, unless servers are "
                             "named by a group or pattern)")
    parser.add_argument("--non-strict", action="store_false", dest="strict")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = make_parser()
    args = parser.parse_intermixed_args(argv)
    words = args.words
    if words[-1] not in COMMANDS and words[0] in COMMANDS:
        words.append(words.pop(0))                # `swift-init start main` means the same
    command = words.pop()
    if command not in COMMANDS or not words:
        parser.error(f"no command {command!r}" if command not in COMMANDS else "no server is named")
    strict = args.strict
    if strict is None:
        strict = not any("*" in word or word in GROUPS for word in words)
    try:
        chosen = servers_named(words, os.environ.get("SWIFT_DIR", SWIFT_DIR), args.run_dir)
    except UnknownServer as exc:
        parser.error(str(exc))
    options = Options(args.wait, args.once, args.daemon, args.graceful, args.number,
                      args.kill_wait, args.kill_after_timeout, strict, args.verbose)
    try:
        return getattr(Control(chosen, options), command.replace("-", "_"))()
    except OSError as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
