# SPDX-License-Identifier: Apache-2.0
"""swift-orphans: list, and if asked signal, servers and daemons that no pid file names.

    swift-orphans -a 2 -k TERM

They are left over when a pid file was lost or a reload did not end its old processes. Passes with
`once` do not count.
"""
from __future__ import annotations

import argparse
import signal

from swift.operations import lost
from swift.operations.servers import RUN_DIR


def signal_number(text: str) -> int:
    """15 for 15, TERM, SIGTERM; ValueError for what is no signal."""
    if text.isdigit():
        return int(signal.Signals(int(text)))
    name = text.upper()
    try:
        return int(signal.Signals[name if name.startswith("SIG") else "SIG" + name])
    except KeyError:
        raise ValueError(f"no signal is called {text!r}") from None


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-orphans", description=__doc__, formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-a", "--age", type=float, default=24, metavar="HOURS",
                        help="processes at least that old (24)")
    parser.add_argument("-k", "--kill", type=signal_number, metavar="SIGNAL",
                        help="send them that signal, by number or name")
    parser.add_argument("-w", "--wide", action="store_true", help="do not cut lines at 80 columns")
    parser.add_argument("-r", "--run-dir", default=RUN_DIR,
                        help=f"where pid files are ({RUN_DIR})")
    args = parser.parse_args(argv)
    found = lost.orphans(args.run_dir, args.age)
    if found:
        print(lost.table(found, args.wide))
        if args.kill is not None:
            print(f"Sending signal {signal.Signals(args.kill).name} to {len(found)} processes")
            lost.kill(found, args.kill)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
