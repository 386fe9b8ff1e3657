# SPDX-License-Identifier: Apache-2.0
"""The worker that runs guests on this host."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare()
    return [services.compute()]


def main() -> None:
    sys.exit(service.daemon("nova-compute", make))


if __name__ == "__main__":
    main()
