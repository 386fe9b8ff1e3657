# SPDX-License-Identifier: Apache-2.0
"""swift-object-reconstructor CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.obj.reconstructor import ObjectReconstructor
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ObjectReconstructor, "swift-object-reconstructor")


if __name__ == "__main__":
    raise SystemExit(main())
