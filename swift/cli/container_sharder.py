# SPDX-License-Identifier: Apache-2.0
"""swift-container-sharder CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.container.sharder import ContainerSharder
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerSharder, "swift-container-sharder")


if __name__ == "__main__":
    raise SystemExit(main())
