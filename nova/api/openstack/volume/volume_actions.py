# SPDX-License-Identifier: Apache-2.0
"""What is done to a volume: ``POST /volumes/ID/action``.

Attaching is not among it: a volume that a user could say to be attached, or to be free, while a
guest has it open would end up with two owners (CVE-2023-2088).  The words for it answer 409.
"""

from collections.abc import Callable, Iterable
from typing import Any

from nova import exception
from nova.api.openstack.validation import BOOLEAN, NOTHING, Schema, as_bool, integer, obj, string
from nova.api.openstack.wsgi import Mark, Request, Resource, action
from nova.volume.api import API
from nova.volume.request import MAX_SIZE_GB

PATH = "/volumes/{volume_id}/action"
EXTEND = Schema(obj({"new_size": integer(1, MAX_SIZE_GB)}, ("new_size",)))
_STATUS = {"anyOf": [string(32), {"type": "null"}]}
RESET = Schema(obj({"status": _STATUS, "attach_status": _STATUS, "migration_status": _STATUS},
                   minProperties=1))
BOOTABLE = Schema(obj({"bootable": BOOLEAN}, ("bootable",)))
EMPTY = Schema(NOTHING)

CONNECT = ("os-attach", "os-detach", "os-reserve", "os-unreserve", "os-begin_detaching",
           "os-roll_detaching", "os-initialize_connection", "os-terminate_connection",
           "os-force_detach")
UNSUPPORTED = ("os-update_readonly_flag", "os-retype", "os-migrate_volume",
               "os-migrate_volume_completion", "os-volume_upload_image", "os-set_image_metadata",
               "os-unset_image_metadata", "os-unmanage", "os-reimage", "revert",
               "os-extend_volume_completion", "os-promote-replica", "os-reenable-replica")


class VolumeActions(Resource):
    """Actions."""

    def __init__(self, api: API) -> None:
        self._api = api

    def handlers(self) -> Iterable[tuple[Mark, Callable]]:
        """Return the marked actions, and those that are refused by name."""
        yield from super().handlers()
        for name in CONNECT:
            yield (Mark("POST", PATH, 202, None, "volume:volumes:connect", False, name),
                   self._refuse_to_connect(name))
        for name in UNSUPPORTED:
            yield (Mark("POST", PATH, 202, None, "volume:unsupported", False, name),
                   self._not_there(name))

    def _refuse_to_connect(self, name: str) -> Callable:
        def refuse(req: Request, volume_id: str) -> None:
            volume = self._api.get(req.context, volume_id[:64])
            raise exception.Conflict(
                f"{name}: volume {volume.id} is {volume.status}; volumes are attached and "
                "detached through the Compute API alone.")
        return refuse

    def _not_there(self, name: str) -> Callable:
        def refuse(req: Request, volume_id: str) -> None:
            self._api.get(req.context, volume_id[:64])
            raise exception.NotSupported(what=name)
        return refuse

    @action(PATH, "os-extend", body=EXTEND, policy="volume:volumes:extend")
    def extend(self, req: Request, volume_id: str, body: dict[str, Any]) -> None:
        self._api.extend(req.context, volume_id[:64], int(body["new_size"]))

    @action(PATH, "os-set_bootable", status=200, body=BOOTABLE,
            policy="volume:volumes:set_bootable")
    def set_bootable(self, req: Request, volume_id: str, body: dict[str, Any]) -> None:
        self._api.set_bootable(req.context, volume_id[:64], as_bool(body["bootable"]))

    @action(PATH, "os-show_image_metadata", status=200, policy="volume:volumes:show")
    def show_image_metadata(self, req: Request, volume_id: str) -> dict[str, Any]:
        row = self._api.get(req.context, volume_id[:64])
        return {"metadata": {name: str(value)
                             for name, value in (row.image_metadata or {}).items()}}

    @action(PATH, "os-reset_status", body=RESET, policy="volume:volumes:reset_status")
    def reset_status(self, req: Request, volume_id: str, body: dict[str, Any]) -> None:
        for name in ("attach_status", "migration_status"):
            if body.get(name) not in (None, "detached", "none", ""):
                raise exception.NotSupported(what=f"os-reset_status.{name}")
        if body.get("status") is not None:
            self._api.reset_status(req.context, volume_id[:64], body["status"])
        else:
            self._api.get(req.context, volume_id[:64])

    @action(PATH, "os-force_delete", body=EMPTY, policy="volume:volumes:force_delete")
    def force_delete(self, req: Request, volume_id: str, body: Any) -> None:
        self._api.delete(req.context, volume_id[:64])
