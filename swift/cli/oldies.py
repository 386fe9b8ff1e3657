# SPDX-License-Identifier: Apache-2.0
"""swift-oldies: list servers and daemons that have run for long, such as ones a restart forgot."""
from __future__ import annotations

import argparse

from swift.operations import lost


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-oldies", description=__doc__)
    parser.add_argument("-a", "--age", type=float, default=720, metavar="HOURS",
                        help="processes at least that old (720: thirty days)")
    parser.add_argument("-p", "--pids", action="store_true", help="only process ids")
    args = parser.parse_args(argv)
    found = lost.processes(args.age)
    if args.pids:
        print("\n".join(str(one.pid) for one in found))
    elif found:
        print(lost.table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
