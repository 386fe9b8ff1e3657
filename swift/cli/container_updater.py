# SPDX-License-Identifier: Apache-2.0
"""swift-container-updater CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.container.updater import ContainerUpdater
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerUpdater, "swift-container-updater")


if __name__ == "__main__":
    raise SystemExit(main())
