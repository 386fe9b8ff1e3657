# SPDX-License-Identifier: Apache-2.0
"""swift-dispersion-populate [CONFIG]: store samples for swift-dispersion-report.

CONFIG (/etc/swift/dispersion.conf) has a section [dispersion] with the account to store them in;
etc/swift/dispersion.conf-sample tells its options. Run again it adds nothing, unless coverage or
the rings have changed; with --no-overlap it adds dispersion_coverage per cent more.
"""
from __future__ import annotations

from swift.common import concurrency

concurrency.patch()

import argparse
import os
import sys

from swift.common.conf import SWIFT_DIR, config_float, config_int, config_true, read_conf
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.operations import dispersion_options
from swift.operations.account_client import AccountClient, ClientError
from swift.operations.dispersion import Populate, policy_named


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = dispersion_options.make_parser("swift-dispersion-populate", __doc__)
    parser.add_argument("--container-suffix-start", type=int, default=0, metavar="N",
                        help="containers with numbers below N are there already")
    parser.add_argument("--object-suffix-start", type=int, default=0, metavar="N")
    parser.add_argument("--no-overlap", action="store_true",
                        help="only partitions that have no sample yet")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_args(argv)
    try:
        conf = read_conf(args.config, "dispersion")
        swift_dir = conf.get("swift_dir", SWIFT_DIR)
        os.environ["SWIFT_DIR"] = swift_dir
        policy = policy_named(args.policy_name)
        wanted = {kind: config_true(conf.get(f"{kind}_populate", "yes"))
                  for kind in ("container", "object")}
        wanted["object"] &= not args.container_only
        wanted["container"] &= not args.object_only
        if not any(wanted.values()):
            raise ConfigError("neither containers nor objects are to be stored")
        print(f"Using storage policy: {policy.name}")
        tool = Populate(AccountClient(conf, args.insecure), policy,
                        config_float(conf, "dispersion_coverage", 1),
                        config_int(conf, "concurrency", 25, 1), args.no_overlap)
        failed = 0
        if wanted["container"]:
            failed += tool.containers(Ring(swift_dir, ring_name="container"),
                                      args.container_suffix_start)
        if wanted["object"]:
            failed += tool.objects(Ring(swift_dir, ring_name=policy.ring_name),
                                   args.object_suffix_start)
    except (ConfigError, ClientError, RingFileError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
