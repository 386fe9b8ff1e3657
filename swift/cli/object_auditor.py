# SPDX-License-Identifier: Apache-2.0
"""swift-object-auditor CONFIG [once] [verbose]"""
from swift.common import concurrency

concurrency.patch()

from swift.obj.auditor import ObjectAuditor
from swift.common.daemon import run


def main() -> int:
    """Run the daemon of a configuration file."""
    return run(ObjectAuditor, "swift-object-auditor")


if __name__ == "__main__":
    raise SystemExit(main())
