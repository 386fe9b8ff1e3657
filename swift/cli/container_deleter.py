# SPDX-License-Identifier: Apache-2.0
"""swift-container-deleter ACCOUNT CONTAINER: have the object expirer delete a container's objects.

Names are chosen as in listings, by --prefix, --marker and --end-marker. Objects stay in listings
until they are deleted; what is put after --timestamp stays. If it fails on the way, give the last
object it told of as --marker.
"""
from __future__ import annotations

from swift.common import concurrency

concurrency.patch()

import argparse
import os
import sys

from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.internal_client import InternalClient
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.common.storage import validate_configuration
from swift.common.timestamp import Timestamp
from swift.operations.async_delete import AsyncDeletion, NotMarked


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-container-deleter", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("account")
    parser.add_argument("container")
    parser.add_argument("--config", help="an internal-client.conf (default: that of swift_dir, or "
                        "a proxy without filters)")
    parser.add_argument("--request-tries", type=int, default=3, metavar="N")
    parser.add_argument("--prefix", default="", help="only objects whose names begin so")
    parser.add_argument("--marker", default="", help="only objects after this one")
    parser.add_argument("--end-marker", default="", help="only objects before this one")
    parser.add_argument("--timestamp", type=Timestamp, default=Timestamp.now(),
                        help="delete what was there at this time (default: now)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; 1 when not all could be marked."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.request_tries < 1:
        parser.error("--request-tries must be at least 1")
    swift_dir = os.environ.get("SWIFT_DIR", SWIFT_DIR)
    config = args.config or f"{swift_dir}/internal-client.conf"
    if args.config and not os.path.exists(config):
        parser.error(f"--config: there is no {config}")
    last = args.marker
    try:
        validate_configuration()
        client = InternalClient.of({"internal_client_conf_path": config, "swift_dir": swift_dir})
        deletion = AsyncDeletion(client, Ring(swift_dir, ring_name="container"), args.account,
                                 args.container, args.timestamp, args.request_tries)
        for count, name in deletion.mark(args.marker, args.end_marker, args.prefix):
            last = name or last
            print(f"Finished. Marked {count} objects for deletion." if name is None else
                  f"Marked {count} objects for deletion, through {name!r}", flush=True)
    except (ConfigError, RingFileError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    except NotMarked as exc:
        print(f"ERROR: {exc}" + (f"; go on with --marker {last!r}" if last else ""),
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
