# SPDX-License-Identifier: Apache-2.0
"""swift-account-audit: whether all copies of accounts, containers and objects say the same.

    swift-account-audit AUTH_a AUTH_b/container
    swift-account-audit -d -e errors.txt AUTH_a
    swift-account-audit < errors.txt

Each copy of what is named and of all below it is asked for. Exit code 1: something differs.
"""
from __future__ import annotations

from swift.common import concurrency

concurrency.patch()

import argparse
import os
import sys

from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.ring.format import RingFileError
from swift.operations.account_audit import AccountAudit


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-account-audit", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="ACCOUNT[/CONTAINER[/OBJECT]]")
    parser.add_argument("-c", "--concurrency", type=int, default=50)
    parser.add_argument("-r", "--ring-dir", default=os.environ.get("SWIFT_DIR", SWIFT_DIR))
    parser.add_argument("-e", "--error-file", help="append paths of what differs to this file")
    parser.add_argument("-d", "--deep", action="store_true", help="read objects, check their MD5")
    args = parser.parse_args(argv)
    if not args.paths and sys.stdin.isatty():
        parser.error("nothing is named")
    os.environ["SWIFT_DIR"] = args.ring_dir
    try:
        audit = AccountAudit(args.ring_dir, print, max(1, args.concurrency), args.deep)
        for path in args.paths or sys.stdin:
            names = path.strip("\r\n").lstrip("/").split("/", 2)
            if names[0]:
                audit.audit(*(name for name in names if name))
        audit.wait()
        if args.error_file and audit.inconsistent:
            with open(args.error_file, "a", encoding="utf-8", errors="surrogateescape") as out:
                out.writelines(f"{path}\n" for path in audit.inconsistent)
    except (ConfigError, RingFileError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    for what, count in sorted(audit.counts.items()):
        print(f"{what.capitalize():>32}: {count}")
    return 1 if audit.inconsistent else 0


if __name__ == "__main__":
    raise SystemExit(main())
