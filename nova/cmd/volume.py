# SPDX-License-Identifier: Apache-2.0
"""The worker that keeps volumes on this host."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare()
    return [services.volume()]


def main() -> None:
    sys.exit(service.daemon("nova-volume", make))


if __name__ == "__main__":
    main()
