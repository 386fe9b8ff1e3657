# SPDX-License-Identifier: Apache-2.0
"""The worker that owns this host's bridges, addresses and rules."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare()
    return [services.network()]


def main() -> None:
    sys.exit(service.daemon("nova-network", make))


if __name__ == "__main__":
    main()
