# SPDX-License-Identifier: Apache-2.0
"""swift-container-auditor CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.container.auditor import ContainerAuditor
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerAuditor, "swift-container-auditor")


if __name__ == "__main__":
    raise SystemExit(main())
