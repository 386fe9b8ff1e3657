# SPDX-License-Identifier: Apache-2.0
"""swift-object-server CONFIG [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.process import parse_args
from swift.common.runner import run_server


def main() -> int:
    """Run the object server of a configuration file."""
    args = parse_args("swift-object-server", "Stores objects on the devices of this node")
    return run_server(args.config, "object-server", 6200, args.verbose, args.test_config)


if __name__ == "__main__":
    raise SystemExit(main())
