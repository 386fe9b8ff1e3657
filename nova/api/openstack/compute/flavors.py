# SPDX-License-Identifier: Apache-2.0
"""Flavors: the sizes servers can have."""

from typing import Any

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.compute.links import both
from nova.api.openstack.validation import (
    BOOLEAN,
    Schema,
    as_bool,
    integer,
    obj,
    string,
)
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import scope_of
from nova.db import flavors
from nova.db.models import Flavor, new_id

_MAX_FACTOR = 3.40282e38
_SORT_KEYS = {"flavorid": "flavorid", "id": "id", "name": "name", "memory_mb": "memory_mb",
              "root_gb": "root_gb", "vcpus": "vcpus", "swap": "swap",
              "ephemeral_gb": "ephemeral_gb", "rxtx_factor": "rxtx_factor",
              "is_public": "is_public", "disabled": "disabled", "created_at": "created_at"}

NAME = string(255, 1, format="stripped-name")
CREATE = Schema(obj({"flavor": obj({
    "name": NAME,
    "id": {"anyOf": [string(255, 1, pattern=r"^(?! )[a-zA-Z0-9. _-]+(?<! )\Z"),
                     {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, {"type": "null"}]},
    "ram": integer(1), "vcpus": integer(1), "disk": integer(0), "swap": {
        "anyOf": [integer(0), {"const": ""}]},
    "OS-FLV-EXT-DATA:ephemeral": integer(0),
    "rxtx_factor": {"type": ["number", "string"], "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?\Z",
                    "exclusiveMinimum": 0, "maximum": _MAX_FACTOR},
    "os-flavor-access:is_public": BOOLEAN,
}, ("name", "ram", "vcpus", "disk"))}, ("flavor",)))
SPECS = {"type": "object", "maxProperties": 128, "propertyNames": string(
    255, 1, pattern=r"^[a-zA-Z0-9-_:. ]+\Z"), "additionalProperties": {
        "anyOf": [string(255), {"type": "number", "minimum": -2**31, "maximum": 2**31}]}}
CREATE_SPECS = Schema(obj({"extra_specs": {**SPECS, "minProperties": 1}}, ("extra_specs",)))
UPDATE_SPEC = Schema({**SPECS, "minProperties": 1, "maxProperties": 1})
_ACCESS = obj({"tenant": string(255, 1)}, ("tenant",))


def basic(req: Request, flavor: Flavor) -> dict[str, Any]:
    """Return what a list shows of a flavor."""
    return {"id": flavor.flavorid, "name": flavor.name,
            "links": both(req, f"flavors/{flavor.flavorid}")}


def detailed(req: Request, flavor: Flavor) -> dict[str, Any]:
    """Return all of a flavor."""
    return {
        "id": flavor.flavorid, "name": flavor.name, "ram": flavor.memory_mb,
        "disk": flavor.root_gb, "vcpus": flavor.vcpus, "swap": flavor.swap_mb or "",
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": flavor.disabled,
        "os-flavor-access:is_public": flavor.is_public, "rxtx_factor": flavor.rxtx_factor,
        "links": both(req, f"flavors/{flavor.flavorid}"),
    }


class Flavors(Resource):
    """``/flavors``"""

    @route("GET", "/flavors", policy="compute:flavors:list")
    def index(self, req: Request) -> dict[str, Any]:
        return self._list(req, "/flavors", basic)

    @route("GET", "/flavors/detail", policy="compute:flavors:list")
    def detail(self, req: Request) -> dict[str, Any]:
        return self._list(req, "/flavors/detail", detailed)

    def _list(self, req: Request, path: str, view: Any) -> dict[str, Any]:
        limit = paging.limit_of(req)
        found = flavors.get_all(
            marker=paging.marker_of(req), limit=limit,
            min_memory_mb=paging.integer_of(req, "minRam"),
            min_root_gb=paging.integer_of(req, "minDisk"),
            sort=paging.sort_of(req, _SORT_KEYS, (("flavorid", "asc"),)),
            **self._public_filter(req))
        body: dict[str, Any] = {"flavors": [view(req, flavor) for flavor in found]}
        if found and len(found) == limit:
            body["flavors_links"] = [paging.next_link(req, path, found[-1].flavorid)]
        return body

    @staticmethod
    def _public_filter(req: Request) -> dict[str, Any]:
        """An administrator chooses; anybody else sees what is public or granted."""
        project_id = req.project_id
        if not req.context.is_admin:
            return {"project_id": project_id}
        raw = req.last("is_public")
        if raw is None:
            return {"project_id": project_id}
        if raw.lower() == "none":
            return {}
        if raw.lower() not in ("true", "false", "1", "0", "t", "f", "yes", "no", "on", "off"):
            raise exception.BadRequest(f"is_public: {raw[:32]!r} is neither true, false nor none.")
        return {"is_public": as_bool(raw)}

    @route("GET", "/flavors/{flavor_id}", policy="compute:flavors:show")
    def show(self, req: Request, flavor_id: str) -> dict[str, Any]:
        return {"flavor": detailed(req, flavors.get(flavor_id, scope_of(req.context)))}

    @route("POST", "/flavors", body=CREATE, policy="compute:flavors:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["flavor"]
        given = wanted.get("id")
        flavor = flavors.create({
            "flavorid": new_id() if given in (None, "auto") else str(given),
            "name": wanted["name"].strip(), "memory_mb": int(wanted["ram"]),
            "vcpus": int(wanted["vcpus"]), "root_gb": int(wanted["disk"]),
            "swap_mb": int(wanted.get("swap") or 0),
            "ephemeral_gb": int(wanted.get("OS-FLV-EXT-DATA:ephemeral", 0)),
            "rxtx_factor": float(wanted.get("rxtx_factor", 1.0)),
            "is_public": as_bool(wanted.get("os-flavor-access:is_public", True)),
        })
        return {"flavor": detailed(req, flavor)}

    @route("DELETE", "/flavors/{flavor_id}", status=202, policy="compute:flavors:delete")
    def delete(self, req: Request, flavor_id: str) -> None:
        flavors.delete_one(flavor_id)

    # ------------------------------------------------------------ extra specs

    @route("GET", "/flavors/{flavor_id}/os-extra_specs", policy="compute:flavors:extra_specs:show")
    def specs(self, req: Request, flavor_id: str) -> dict[str, Any]:
        return {"extra_specs": flavors.get(flavor_id, scope_of(req.context)).extra_specs}

    @route("POST", "/flavors/{flavor_id}/os-extra_specs", body=CREATE_SPECS,
           policy="compute:flavors:extra_specs:change")
    def add_specs(self, req: Request, flavor_id: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted = {key: str(value) for key, value in body["extra_specs"].items()}
        flavors.change_extra_specs(flavor_id, wanted)
        return {"extra_specs": wanted}

    @route("GET", "/flavors/{flavor_id}/os-extra_specs/{key}",
           policy="compute:flavors:extra_specs:show")
    def spec(self, req: Request, flavor_id: str, key: str) -> dict[str, Any]:
        specs = flavors.get(flavor_id, scope_of(req.context)).extra_specs
        if key not in specs:
            raise exception.NotFound(f"Flavor {flavor_id} has no extra spec {key[:255]!r}.")
        return {key: specs[key]}

    @route("PUT", "/flavors/{flavor_id}/os-extra_specs/{key}", body=UPDATE_SPEC,
           policy="compute:flavors:extra_specs:change")
    def set_spec(self, req: Request, flavor_id: str, key: str,
                 body: dict[str, Any]) -> dict[str, Any]:
        if key not in body:
            raise exception.BadRequest("Request body and URI mismatch: the key has to be the same.")
        flavors.change_extra_specs(flavor_id, {key: str(body[key])})
        return {key: str(body[key])}

    @route("DELETE", "/flavors/{flavor_id}/os-extra_specs/{key}",
           policy="compute:flavors:extra_specs:change")
    def delete_spec(self, req: Request, flavor_id: str, key: str) -> None:
        flavors.change_extra_specs(flavor_id, remove=key)

    # ------------------------------------------------------------ access

    @route("GET", "/flavors/{flavor_id}/os-flavor-access", policy="compute:flavors:access:list")
    def access(self, req: Request, flavor_id: str) -> dict[str, Any]:
        if flavors.get(flavor_id, scope_of(req.context)).is_public:
            raise exception.NotFound(f"Access list not available for public flavor {flavor_id}.")
        return self._access(flavor_id)

    @staticmethod
    def _access(flavor_id: str) -> dict[str, Any]:
        return {"flavor_access": [{"flavor_id": flavor_id, "tenant_id": project_id}
                                  for project_id in flavors.access_of(flavor_id)]}

    @route("POST", "/flavors/{flavor_id}/action", policy="compute:flavors:access:change",
           body=Schema({"type": "object", "minProperties": 1, "maxProperties": 1,
                        "additionalProperties": False,
                        "properties": {"addTenantAccess": _ACCESS,
                                       "removeTenantAccess": _ACCESS}}))
    def change_access(self, req: Request, flavor_id: str, body: dict[str, Any]) -> dict[str, Any]:
        if "addTenantAccess" in body:
            if flavors.get(flavor_id).is_public:
                raise exception.Conflict("Can not add access to a public flavor.")
            flavors.add_access(flavor_id, body["addTenantAccess"]["tenant"])
        else:
            flavors.remove_access(flavor_id, body["removeTenantAccess"]["tenant"])
        return self._access(flavor_id)
