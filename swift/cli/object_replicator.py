# SPDX-License-Identifier: Apache-2.0
"""swift-object-replicator CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.obj.replicator import ObjectReplicator
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ObjectReplicator, "swift-object-replicator")


if __name__ == "__main__":
    raise SystemExit(main())
