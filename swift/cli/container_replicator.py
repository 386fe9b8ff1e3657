# SPDX-License-Identifier: Apache-2.0
"""swift-container-replicator CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.container.replicator import ContainerReplicator
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ContainerReplicator, "swift-container-replicator")


if __name__ == "__main__":
    raise SystemExit(main())
