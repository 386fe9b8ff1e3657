# SPDX-License-Identifier: Apache-2.0
"""All of nova in one process, with messages that never leave it."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare("memory://")
    return list(services.everything())


def main() -> None:
    sys.exit(service.daemon("nova-all", make))


if __name__ == "__main__":
    main()
