# SPDX-License-Identifier: Apache-2.0
"""Version documents and extensions.  Microversion 3.0 is there and no other."""

from typing import Any

from nova.api.openstack import faults
from nova.api.openstack.wsgi import Request, Resource, route

VERSION = "3.0"
UPDATED = "2016-02-08T12:20:21Z"


def check_version(req: Request) -> None:
    """Refuse a microversion that is not here: what it would change would be missing silently."""
    for item in req.environ.get("HTTP_OPENSTACK_API_VERSION", "").split(","):
        service, _, version = item.strip().partition(" ")
        version = version.strip()
        if service.lower() == "volume" and version.lower() not in (VERSION, "latest"):
            raise faults.NotAcceptable(
                f"Version {version[:32]!r} of the Volume API is not here; only {VERSION} is.")


def _documents(req: Request) -> dict[str, Any]:
    return {"versions": [{
        "id": "v3.0", "status": "CURRENT", "version": VERSION, "min_version": VERSION,
        "updated": UPDATED,
        "links": [{"rel": "describedby", "type": "text/html",
                   "href": "https://docs.openstack.org/"},
                  {"rel": "self", "href": f"{req.root}/v3/"}],
        "media-types": [{"base": "application/json",
                         "type": "application/vnd.openstack.volume+json;version=3"}]}]}


class Versions(Resource):
    """What is served at the root, before any token."""

    @route("GET", "/", status=300, public=True)
    def index(self, req: Request) -> dict[str, Any]:
        return _documents(req)

    @route("GET", "/v3", public=True)
    def show(self, req: Request) -> dict[str, Any]:
        return _documents(req)


# alias -> (name, what it brings)
_KNOWN = {
    "os-availability-zone": ("AvailabilityZones", "Zones of volumes."),
    "os-extended-snapshot-attributes": ("ExtendedSnapshotAttributes",
                                        "Owner and progress of snapshots."),
    "os-quota-sets": ("Quotas", "Limits of projects."),
    "os-services": ("Services", "The daemons of volumes."),
    "os-types-extra-specs": ("TypesExtraSpecs", "Keys and values of volume types."),
    "os-types-manage": ("TypesManage", "Making and removing volume types."),
    "os-used-limits": ("UsedLimits", "Usage beside limits."),
    "os-vol-host-attr": ("VolumeHostAttribute", "The host of a volume, for administrators."),
    "os-vol-image-meta": ("VolumeImageMetadata", "What a volume has of its image."),
    "os-vol-tenant-attr": ("VolumeTenantAttribute", "The project of a volume."),
    "scheduler-stats": ("Scheduler_stats", "Where volumes can be and how much room there is."),
}


class Extensions(Resource):
    """``/extensions``"""

    @route("GET", "/extensions", policy="volume:extensions:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"extensions": [
            {"alias": alias, "name": name, "description": text, "updated": UPDATED, "links": []}
            for alias, (name, text) in sorted(_KNOWN.items())]}
