# SPDX-License-Identifier: Apache-2.0
"""swift-dispersion-report [CONFIG]: how many copies are where the rings say, by samples.

The samples are those of swift-dispersion-populate. Exit codes: 0 reported, whatever was found, even
nothing; 1 it could not be asked.
"""
from __future__ import annotations

from swift.common import concurrency

concurrency.patch()

import argparse
import os
import sys
from typing import Any

from swift.common.conf import SWIFT_DIR, config_int, config_true, read_conf
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.operations import dispersion_options
from swift.operations.account_client import AccountClient, ClientError
from swift.operations.dispersion import Report, policy_named, show


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = dispersion_options.make_parser("swift-dispersion-report", __doc__)
    parser.add_argument("-j", "--dump-json", action="store_true", help="print JSON")
    parser.add_argument("-d", "--debug", action="store_true", help="tell who has no copy, too")
    parser.add_argument("-p", "--partitions", action="store_true",
                        help="tell partitions that miss copies")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_args(argv)
    try:
        conf = read_conf(args.config, "dispersion")
        swift_dir = conf.get("swift_dir", SWIFT_DIR)
        os.environ["SWIFT_DIR"] = swift_dir
        as_json = args.dump_json or config_true(conf.get("dump_json", "no"))
        policy = policy_named(args.policy_name)
        if not as_json:
            print(f"Using storage policy: {policy.name}")
        report = Report(AccountClient(conf, args.insecure), policy, config_int(conf, "retries", 5),
                        config_int(conf, "concurrency", 25, 1),
                        lambda line: print(line, file=sys.stderr), args.debug, args.partitions)
        results: dict[str, Any] = {}
        if config_true(conf.get("container_report", "yes")) and not args.object_only:
            ring = Ring(swift_dir, ring_name="container")
            results["container"] = report.containers(ring), ring
        if config_true(conf.get("object_report", "yes")) and not args.container_only:
            ring = Ring(swift_dir, ring_name=policy.ring_name)
            results["object"] = report.objects(ring), ring
    except (ConfigError, ClientError, RingFileError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    return show(results, as_json)


if __name__ == "__main__":
    raise SystemExit(main())
