# SPDX-License-Identifier: Apache-2.0
"""swift-container-sync CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.daemon import run
from swift.container.sync import ContainerSync


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerSync, "swift-container-sync")


if __name__ == "__main__":
    raise SystemExit(main())
