# SPDX-License-Identifier: Apache-2.0
"""swift-container-server CONFIG [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.process import parse_args
from swift.common.runner import run_server


def main() -> int:
    """Run the container server of a configuration file."""
    args = parse_args("swift-container-server", "Keeps the databases of containers")
    return run_server(args.config, "container-server", 6201, args.verbose, args.test_config)


if __name__ == "__main__":
    raise SystemExit(main())
