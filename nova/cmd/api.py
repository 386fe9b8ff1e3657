# SPDX-License-Identifier: Apache-2.0
"""The web front ends: Compute, Network and metadata, together or each alone."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare()
    return services.apis()


def main() -> None:
    sys.exit(service.daemon("nova-api", make))


if __name__ == "__main__":
    main()
