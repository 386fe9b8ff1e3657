# SPDX-License-Identifier: Apache-2.0
"""What each daemon runs.  Managers are imported by the daemon that needs them alone."""

from collections.abc import Sequence

from oslo_config import cfg

from nova import config, db, monitoring, notifications, rpc
from nova.db import schema
from nova.service import Service, Worker
from nova.wsgi import WsgiService

CONF = cfg.CONF


def prepare(transport_url: str | None = None) -> None:
    """Connect to what every daemon needs; raises when the database is not the right one."""
    config.check_places()
    db.configure()
    schema.check()
    rpc.configure(transport_url)
    notifications.set_up(rpc.configured_to_reach_others() and transport_url is None)


def apis() -> list[Service]:
    """Return the web servers of ``[api] enabled_apis``."""
    return [WsgiService(name) for name in CONF.api.enabled_apis]


def scheduler() -> Worker:
    """Return the worker that picks hosts."""
    from nova.scheduler.manager import SchedulerManager
    from nova.scheduler.methods import METHODS
    monitoring.count_states()
    return Worker("nova-scheduler", METHODS, SchedulerManager(CONF.host))


def compute() -> Worker:
    """Return the worker that runs guests on this host."""
    from nova.compute.manager import ComputeManager
    from nova.compute.methods import METHODS
    return Worker("nova-compute", METHODS, ComputeManager(CONF.host))


def network() -> Worker:
    """Return the worker that owns this host's networks."""
    from nova.network.manager import NetworkManager
    from nova.network.methods import METHODS
    return Worker("nova-network", METHODS, NetworkManager(CONF.host))


def volume() -> Worker:
    """Return the worker that keeps volumes on this host."""
    from nova.volume.manager import VolumeManager
    from nova.volume.methods import METHODS
    return Worker("nova-volume", METHODS, VolumeManager(CONF.host))


def everything() -> Sequence[Service]:
    """Return all of nova for one process: the network first, it is what the others ask."""
    return [network(), scheduler(), volume(), compute(), *apis()]
