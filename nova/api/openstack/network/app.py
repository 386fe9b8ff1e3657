# SPDX-License-Identifier: Apache-2.0
"""The Network API v2.0 as one WSGI application: which resources there are."""

import webob

from nova import exception
from nova.api.openstack.faults import network_fault
from nova.api.openstack.network import policies  # noqa: F401  (defines the rules)
from nova.api.openstack.network.floatingips import FloatingIps
from nova.api.openstack.network.networks import IpAvailabilities, Networks
from nova.api.openstack.network.others import AvailabilityZones, NoneOf
from nova.api.openstack.network.ports import Ports
from nova.api.openstack.network.quotas import Quotas
from nova.api.openstack.network.security_groups import SecurityGroupRules, SecurityGroups
from nova.api.openstack.network.subnets import Subnets
from nova.api.openstack.network.versions import Extensions, Versions
from nova.api.openstack.wsgi import Application, Request
from nova.network.api import API


class OverQuota(exception.Conflict):
    """What exceeds a quota is a conflict in this API."""


class NetworkApplication(Application):
    """Errors as this API's clients know them."""

    def _fault(self, error: Exception, req: Request) -> webob.Response:
        if isinstance(error, exception.OverQuota):
            error = OverQuota(str(error))
        return super()._fault(error, req)


def make_app(api: API | None = None) -> Application:
    """Return the application; ``api`` is what it works on, by default the real thing."""
    api = api or API()
    return NetworkApplication(
        [Networks(api), Subnets(api), Ports(api), FloatingIps(api), SecurityGroups(api),
         SecurityGroupRules(api), Quotas(), Extensions(), NoneOf(), AvailabilityZones(),
         IpAvailabilities()],
        write_fault=network_fault, prefixes=("/v2.0",), roots=[Versions()])
