# SPDX-License-Identifier: Apache-2.0
"""Types of volumes and their extra specs.  Types that are not public are the administrators'."""

from typing import Any

from nova import exception, policy
from nova.api.openstack import paging
from nova.api.openstack.validation import BOOLEAN, NAME, Schema, as_bool, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import volume_types
from nova.db.volume_models import VolumeType

_TEXT = {"anyOf": [string(255), {"type": "null"}]}
_SPECS = {"type": "object", "maxProperties": 128, "additionalProperties": string(255),
          "propertyNames": string(255, 1, pattern=r"^[a-zA-Z0-9-_:. ]+\Z")}
CREATE = Schema(obj({"volume_type": obj({
    "name": NAME, "description": _TEXT, "os-volume-type-access:is_public": BOOLEAN,
    "is_public": BOOLEAN, "extra_specs": {"anyOf": [_SPECS, {"type": "null"}]}},
    ("name",))}, ("volume_type",)))
UPDATE = Schema(obj({"volume_type": obj({
    "name": NAME, "description": _TEXT, "is_public": BOOLEAN}, minProperties=1)},
    ("volume_type",)))
SPECS = Schema(obj({"extra_specs": {**_SPECS, "minProperties": 1}}, ("extra_specs",)))
ONE_SPEC = Schema({**_SPECS, "minProperties": 1, "maxProperties": 1})
_IS_PUBLIC = "os-volume-type-access:is_public"
_SPEC = "/types/{type_id}/extra_specs/{key}"


class Types(Resource):
    """``/types``"""

    @staticmethod
    def _view(req: Request, row: VolumeType) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": row.id, "name": row.name, "description": row.description,
            "is_public": row.is_public, _IS_PUBLIC: row.is_public, "qos_specs_id": None}
        if policy.allows(req.context, "volume:types:extra_specs:show"):
            answer["extra_specs"] = row.extra_specs or {}
        return answer

    @staticmethod
    def _get(req: Request, type_id: str) -> VolumeType:
        row = volume_types.get(type_id[:255])
        if row.id != type_id or not (row.is_public or req.context.is_admin):
            raise exception.VolumeTypeNotFound(type_id=type_id[:64])
        return row

    @route("GET", "/types", policy="volume:types:list")
    def index(self, req: Request) -> dict[str, Any]:
        public = True if not req.context.is_admin else _three_ways(req.last("is_public"))
        rows = volume_types.get_all(is_public=public)
        if (name := req.last("name")) is not None:
            rows = [row for row in rows if row.name == name]
        marker = paging.marker_of(req)
        if marker is not None:
            ids = [row.id for row in rows]
            if marker not in ids:
                raise exception.BadRequest(f"marker: {marker[:64]!r} is not in the list.")
            rows = rows[ids.index(marker) + 1:]
        start = paging.integer_of(req, "offset")
        return {"volume_types": [self._view(req, row)
                                 for row in rows[start:start + paging.limit_of(req)]]}

    @route("GET", "/types/default", policy="volume:types:list")
    def default(self, req: Request) -> None:
        raise exception.NotFound("There is no default volume type.")

    @route("GET", "/types/{type_id}", policy="volume:types:show")
    def show(self, req: Request, type_id: str) -> dict[str, Any]:
        return {"volume_type": self._view(req, self._get(req, type_id))}

    @route("POST", "/types", body=CREATE, policy="volume:types:change")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["volume_type"]
        row = volume_types.create(
            asked["name"].strip(), description=asked.get("description"),
            is_public=as_bool(asked.get(_IS_PUBLIC, asked.get("is_public", True))),
            extra_specs=asked.get("extra_specs") or {})
        return {"volume_type": self._view(req, row)}

    @route("PUT", "/types/{type_id}", body=UPDATE, policy="volume:types:change")
    def update(self, req: Request, type_id: str, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["volume_type"]

        def change(row: VolumeType) -> None:
            if "name" in asked:
                row.name = asked["name"].strip()
            if "description" in asked:
                row.description = asked["description"]
            if "is_public" in asked:
                row.is_public = as_bool(asked["is_public"])
        return {"volume_type": self._view(
            req, volume_types.modify(self._get(req, type_id).id, change))}

    @route("DELETE", "/types/{type_id}", status=202, policy="volume:types:change")
    def delete(self, req: Request, type_id: str) -> None:
        volume_types.remove(self._get(req, type_id).id)

    # ------------------------------------------------------------ extra specs

    @route("GET", "/types/{type_id}/extra_specs", policy="volume:types:extra_specs:show")
    def specs(self, req: Request, type_id: str) -> dict[str, Any]:
        return {"extra_specs": self._get(req, type_id).extra_specs or {}}

    @route("POST", "/types/{type_id}/extra_specs", body=SPECS,
           policy="volume:types:extra_specs:change")
    def add_specs(self, req: Request, type_id: str, body: dict[str, Any]) -> dict[str, Any]:
        self._set(req, type_id, lambda old: {**old, **body["extra_specs"]})
        return {"extra_specs": body["extra_specs"]}

    @route("GET", _SPEC, policy="volume:types:extra_specs:show")
    def spec(self, req: Request, type_id: str, key: str) -> dict[str, Any]:
        found = self._get(req, type_id).extra_specs or {}
        if key not in found:
            raise exception.NotFound(f"Volume type {type_id} has no extra spec {key[:255]!r}.")
        return {key: found[key]}

    @route("PUT", _SPEC, body=ONE_SPEC, policy="volume:types:extra_specs:change")
    def set_spec(self, req: Request, type_id: str, key: str,
                 body: dict[str, Any]) -> dict[str, Any]:
        if key not in body:
            raise exception.BadRequest("body: the key has to be the one of the path.")
        self._set(req, type_id, lambda old: {**old, **body})
        return body

    @route("DELETE", _SPEC, status=202, policy="volume:types:extra_specs:change")
    def delete_spec(self, req: Request, type_id: str, key: str) -> None:
        def without(old: dict[str, str]) -> dict[str, str]:
            if key not in old:
                raise exception.NotFound(
                    f"Volume type {type_id} has no extra spec {key[:255]!r}.")
            return {name: value for name, value in old.items() if name != key}
        self._set(req, type_id, without)

    def _set(self, req: Request, type_id: str, change: Any) -> None:
        def apply(row: VolumeType) -> None:
            row.extra_specs = change(dict(row.extra_specs or {}))
        volume_types.modify(self._get(req, type_id).id, apply)

    @route("GET", "/types/{type_id}/encryption", policy="volume:types:extra_specs:show")
    def encryption(self, req: Request, type_id: str) -> dict[str, Any]:
        self._get(req, type_id)
        return {}


def _three_ways(text: str | None) -> bool | None:
    """Return what ``is_public`` asks for: public ones by default, None for all."""
    if text is None:
        return True
    return None if text.lower() in ("none", "null", "") else as_bool(text)


class TypeAccess(Resource):
    """Who may use a type that is not public: administrators, and that cannot be changed."""

    @route("GET", "/types/{type_id}/os-volume-type-access", policy="volume:types:access")
    def index(self, req: Request, type_id: str) -> dict[str, Any]:
        if volume_types.get(type_id[:255]).is_public:
            raise exception.NotFound("Access list not available for public volume types.")
        return {"volume_type_access": []}

    @route("POST", "/types/{type_id}/action", policy="volume:types:access")
    def change(self, req: Request, type_id: str) -> None:
        raise exception.NotSupported(what="Giving single projects a volume type")

    @route("POST", "/types/{type_id}/encryption", policy="volume:unsupported:admin")
    def encrypt(self, req: Request, type_id: str) -> None:
        raise exception.NotSupported(what="Encryption of volumes")
