# SPDX-License-Identifier: Apache-2.0
"""swift-account-replicator CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.account.replicator import AccountReplicator
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(AccountReplicator, "swift-account-replicator")


if __name__ == "__main__":
    raise SystemExit(main())
