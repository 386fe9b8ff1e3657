# SPDX-License-Identifier: Apache-2.0
"""swift-account-server CONFIG [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.process import parse_args
from swift.common.runner import run_server


def main() -> int:
    """Run the account server of a configuration file."""
    args = parse_args("swift-account-server", "Keeps the databases of accounts")
    return run_server(args.config, "account-server", 6202, args.verbose, args.test_config)


if __name__ == "__main__":
    raise SystemExit(main())
