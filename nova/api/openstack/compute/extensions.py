# SPDX-License-Identifier: Apache-2.0
"""Which extensions of the Compute API are here."""

from typing import Any

from nova import exception
from nova.api.openstack.wsgi import Request, Resource, route

# alias -> (name, what it brings)
_KNOWN = {
    "os-availability-zone": ("AvailabilityZone", "Zones of hosts, and servers in a zone."),
    "os-config-drive": ("ConfigDrive", "A disk with the metadata for a server."),
    "os-console-output": ("ConsoleOutput", "The console log of a server."),
    "OS-DCF": ("DiskConfig", "How a server's disk is set up."),
    "os-extended-server-attributes": ("ExtendedServerAttributes", "Host and name of a server."),
    "OS-EXT-STS": ("ExtendedStatus", "States of a server in detail."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "The zone a server is in."),
    "OS-EXT-IPS": ("ExtendedIps", "Kinds of addresses."),
    "OS-EXT-IPS-MAC": ("ExtendedIpsMac", "MAC addresses."),
    "OS-EXT-IMG-SIZE": ("ImageSize", "Sizes of images."),
    "OS-SRV-USG": ("ServerUsage", "When a server was launched."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Flavors that are not offered any more."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "Ephemeral disks of flavors."),
    "os-flavor-access": ("FlavorAccess", "Flavors for some projects only."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Keys and values of flavors."),
    "os-flavor-manage": ("FlavorManage", "Making and removing flavors."),
    "os-flavor-rxtx": ("FlavorRxtx", "Network share of flavors."),
    "os-floating-ips": ("FloatingIps", "Public addresses of servers."),
    "os-floating-ip-pools": ("FloatingIpPools", "Where public addresses come from."),
    "os-hosts": ("Hosts", "Hosts and what they give."),
    "os-hypervisors": ("Hypervisors", "Hypervisors and what they offer."),
    "os-instance-actions": ("InstanceActions", "What was asked of a server."),
    "os-keypairs": ("Keypairs", "Keys that servers let in."),
    "os-multiple-create": ("MultipleCreate", "Several servers in one request."),
    "os-networks": ("Networks", "Networks, for reading."),
    "os-quota-sets": ("Quotas", "Limits of projects."),
    "os-security-groups": ("SecurityGroups", "What may reach a server."),
    "os-server-start-stop": ("ServerStartStop", "Powering servers off and on."),
    "os-services": ("Services", "The daemons of the cloud."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "What projects use."),
    "os-tenant-networks": ("OSTenantNetworks", "A project's networks, for reading."),
    "os-used-limits": ("UsedLimits", "Usage beside limits."),
    "os-extended-volumes": ("ExtendedVolumes", "The volumes of a server."),
    "os-block-device-mapping-v2-boot": ("BlockDeviceMappingV2Boot",
                                        "Booting from and with volumes."),
    "os-user-data": ("UserData", "Data for a server's first boot."),
    "OS-SCH-HNT": ("SchedulerHints", "Hints for the choice of a host."),
}
_UPDATED = "2014-12-03T00:00:00Z"


def _view(alias: str) -> dict[str, Any]:
    name, description = _KNOWN[alias]
    return {"alias": alias, "name": name, "description": description, "updated": _UPDATED,
            "namespace": f"https://docs.openstack.org/compute/ext/{alias}/api/v2", "links": []}


class Extensions(Resource):
    """``/extensions``"""

    @route("GET", "/extensions", policy="compute:extensions:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"extensions": [_view(alias) for alias in sorted(_KNOWN)]}

    @route("GET", "/extensions/{alias}", policy="compute:extensions:list")
    def show(self, req: Request, alias: str) -> dict[str, Any]:
        if alias not in _KNOWN:
            raise exception.NotFound(f"There is no extension {alias[:64]!r}.")
        return {"extension": _view(alias)}
