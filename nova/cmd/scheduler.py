# SPDX-License-Identifier: Apache-2.0
"""The worker that picks a host for each new server."""

from nova import concurrency

concurrency.patch()

import sys

from nova import service
from nova.cmd import services


def make() -> list[service.Service]:
    services.prepare()
    return [services.scheduler()]


def main() -> None:
    sys.exit(service.daemon("nova-scheduler", make))


if __name__ == "__main__":
    main()
