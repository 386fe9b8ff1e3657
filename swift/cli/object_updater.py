# SPDX-License-Identifier: Apache-2.0
"""swift-object-updater CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.obj.updater import ObjectUpdater
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ObjectUpdater, "swift-object-updater")


if __name__ == "__main__":
    raise SystemExit(main())
