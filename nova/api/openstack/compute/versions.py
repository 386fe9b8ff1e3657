# SPDX-License-Identifier: Apache-2.0
"""Version documents, as keystoneauth's discovery wants them.

Only 2.1 without microversions is there, so the bounds are empty; ``/v2`` and ``/v1.1`` are other
names of the same.
"""

from typing import Any

from nova import exception
from nova.api.openstack import faults
from nova.api.openstack.wsgi import Answer, Request, Resource, route

PREFIXES = ("/v2.1", "/v2", "/v1.1")
_UPDATED = {"v2.1": "2013-07-23T11:33:21Z", "v2": "2011-01-21T11:33:21Z",
            "v1.1": "2011-01-21T11:33:21Z"}
_IDS = {"v2.1": "v2.1", "v2": "v2.0", "v1.1": "v1.1"}


def check_version(req: Request) -> None:
    """Refuse a microversion that is not here: what it would change would be missing silently.

    Only ``/v2.1`` knows microversions; its older names ignore the headers, as ever.
    """
    if not req.environ.get("nova.prefix", "").startswith("/v2.1"):
        return
    asked = req.environ.get("HTTP_X_OPENSTACK_NOVA_API_VERSION", "").strip()
    for item in req.environ.get("HTTP_OPENSTACK_API_VERSION", "").split(","):
        service, _, version = item.strip().partition(" ")
        if service.lower() == "compute":
            asked = version.strip()
    if asked and asked.lower() not in ("2.1", "latest"):
        raise faults.NotAcceptable(
            f"Version {asked[:32]!r} of the Compute API is not here; only 2.1 is.")


def _document(req: Request, name: str) -> dict[str, Any]:
    return {
        "id": _IDS[name], "status": "CURRENT" if name == "v2.1" else "SUPPORTED",
        "version": "", "min_version": "", "updated": _UPDATED[name],
        "links": [{"rel": "self", "href": f"{req.root}/{name}/"}],
    }


def _full(req: Request, name: str) -> dict[str, Any]:
    document = _document(req, name)
    document["links"].append({
        "rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"})
    document["media-types"] = [{
        "base": "application/json",
        "type": f"application/vnd.openstack.compute+json;version={name[1:]}"}]
    return {"version": document}


class Versions(Resource):
    """What is served at the root, before any token."""

    @route("GET", "/", public=True)
    def index(self, req: Request) -> dict[str, Any]:
        return {"versions": [_document(req, name) for name in ("v2", "v2.1")]}

    @route("GET", "/versions", public=True)
    def choices(self, req: Request) -> Answer:
        return Answer(self.index(req))

    @route("GET", "/{version:v2\\.1|v2|v1\\.1}", public=True)
    def show(self, req: Request, version: str) -> dict[str, Any]:
        return _full(req, version)


class VersionsBelow(Resource):
    """The same documents where some clients look for them: below the project."""

    @route("GET", "/versions/{version}", public=True)
    def show(self, req: Request, version: str) -> dict[str, Any]:
        if version not in _IDS:
            raise exception.NotFound(f"There is no version {version[:32]!r}.")
        return _full(req, version)
