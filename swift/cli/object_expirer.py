# SPDX-License-Identifier: Apache-2.0
"""swift-object-expirer CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.common.daemon import run
from swift.obj.expirer import ObjectExpirer


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ObjectExpirer, "swift-object-expirer")


if __name__ == "__main__":
    raise SystemExit(main())
