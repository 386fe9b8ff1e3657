# SPDX-License-Identifier: Apache-2.0
"""swift-container-reconciler CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.daemon import run
from swift.container.reconciler import ContainerReconciler


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerReconciler, "swift-container-reconciler")


if __name__ == "__main__":
    raise SystemExit(main())
