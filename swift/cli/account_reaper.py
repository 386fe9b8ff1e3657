# SPDX-License-Identifier: Apache-2.0
"""swift-account-reaper CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.account.reaper import AccountReaper
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(AccountReaper, "swift-account-reaper")


if __name__ == "__main__":
    raise SystemExit(main())
