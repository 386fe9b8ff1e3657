# SPDX-License-Identifier: Apache-2.0
"""swift-account-auditor CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.account.auditor import AccountAuditor
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(AccountAuditor, "swift-account-auditor")


if __name__ == "__main__":
    raise SystemExit(main())
