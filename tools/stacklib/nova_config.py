# SPDX-License-Identifier: Apache-2.0
"""The compute cloud of the stack: SQLite, a broker in memory, all workers in one process."""
from . import manage
from .glance_config import authtoken
from .layout import ADDRESS, Cloud, write_atomically
from .packages import CHECKOUT, PRODUCT_VENV
from .probe import http_status
from .supervise import Daemon

CONFIG = """\
[DEFAULT]
"""


def path(cloud: Cloud) -> str:
    return str(cloud.etc / "nova/nova.conf")


def prepare(cloud: Cloud) -> None:
    """Configuration, and the database at this release's schema."""
    (cloud.data / "nova/instances").mkdir(parents=True, exist_ok=True)
    write_atomically(cloud.etc / "nova/nova.conf", CONFIG + authtoken(cloud, "nova"), 0o600)
    manage.run("nova.cmd.manage", "--config-file", path(cloud), "db", "sync")


def fill(cloud: Cloud) -> None:
    """Flavors, the network and a pool of floating addresses exist."""


def daemons(cloud: Cloud) -> list[Daemon]:
    def answers() -> bool:
        return all(http_status(ADDRESS, cloud.port(name), "/") in (200, 300)
                   for name in ("compute", "network", "metadata"))

    return [Daemon(
        "nova-all", "nova",
        [str(PRODUCT_VENV / "bin/python"), "-m", "nova.cmd.all", "--config-file", path(cloud)],
        answers=answers, environment={"PYTHONPATH": str(CHECKOUT)})]
