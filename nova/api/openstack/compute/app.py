# SPDX-License-Identifier: Apache-2.0
"""The Compute API as one WSGI application: which resources there are.

    [app:compute]
    paste.app_factory = nova.api.openstack.compute.app:factory
"""

from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from nova.api.openstack.compute import policies  # noqa: F401  (defines the rules)
from nova.api.openstack.compute.extensions import Extensions
from nova.api.openstack.compute.flavors import Flavors
from nova.api.openstack.compute.images import Images
from nova.api.openstack.compute.keypairs import KeyPairs
from nova.api.openstack.compute.limits import Limits, QuotaSets, SimpleTenantUsage
from nova.api.openstack.compute.network_proxies import FloatingIps, Networks
from nova.api.openstack.compute.security_groups import SecurityGroups
from nova.api.openstack.compute.server_actions import ServerActions
from nova.api.openstack.compute.server_metadata import ServerMetadata
from nova.api.openstack.compute.server_parts import (
    InstanceActions,
    Interfaces,
    ServerAddresses,
    ServerGroupsOf,
)
from nova.api.openstack.compute.servers import BootVolumes, Servers
from nova.api.openstack.compute.services import AvailabilityZones, Hosts, Hypervisors, Services
from nova.api.openstack.compute.unsupported import EmptyLists, Missing
from nova.api.openstack.compute.versions import (
    PREFIXES,
    Versions,
    VersionsBelow,
    check_version,
)
from nova.api.openstack.compute.volume_attachments import VolumeAttachments
from nova.api.openstack.faults import compute_fault
from nova.api.openstack.wsgi import DEFAULT_BODY_LIMIT, Application
from nova.compute.api import API

OPTS = [
    cfg.IntOpt("max_request_body_size", default=DEFAULT_BODY_LIMIT, min=1024,
               help="The largest body, in bytes, that the APIs accept."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS)


def make_app(compute: API | None = None) -> Application:
    """Return the application; ``compute`` is what it works on, by default the real thing."""
    compute = compute or API()
    servers = Servers(compute)
    return Application(
        [servers, BootVolumes(servers), ServerActions(compute), ServerMetadata(compute),
         ServerAddresses(compute), InstanceActions(), Interfaces(compute),
         ServerGroupsOf(compute), VolumeAttachments(compute), Flavors(), KeyPairs(),
         Images(compute.images), Limits(), QuotaSets(), SimpleTenantUsage(), Services(),
         Hosts(), Hypervisors(compute), AvailabilityZones(), Networks(), SecurityGroups(compute),
         FloatingIps(compute), Extensions(), VersionsBelow(), EmptyLists(), Missing()],
        write_fault=compute_fault, prefixes=PREFIXES, roots=[Versions()], project_in_path=True,
        check=check_version, body_limit=CONF.max_request_body_size)


def factory(_global_conf: dict[str, str], **_local: Any) -> Callable:
    """Return the application, as paste.deploy wants it."""
    return make_app()
