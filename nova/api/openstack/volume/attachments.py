# SPDX-License-Identifier: Apache-2.0
"""``/attachments``: which server has which volume, to look at.

How a volume is reached is never shown, to nobody.  Changing an attachment is the Compute API's:
see :mod:`nova.api.openstack.volume.volume_actions`.
"""

from typing import Any

from nova import exception, policy
from nova.api.openstack import paging
from nova.api.openstack.compute.links import micros
from nova.api.openstack.validation import as_bool
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import volume_attachments
from nova.db.volume_models import VolumeAttachment

FILTERS = {"volume_id": "volume_id", "instance_id": "instance_id", "status": "status"}
_CONTROL = {"limit", "marker", "offset", "all_tenants", "project_id", "sort_key", "sort_dir",
            "sort"}


def view(row: VolumeAttachment) -> dict[str, Any]:
    """Return an attachment as a list shows it."""
    return {"id": row.id, "volume_id": row.volume_id, "instance": row.instance_id,
            "status": row.status}


def detailed(row: VolumeAttachment) -> dict[str, Any]:
    """Return all that anybody is shown of an attachment."""
    return {**view(row), "attached_at": micros(row.attached_at), "detached_at": None,
            "attach_mode": "rw"}


class Attachments(Resource):
    """Attachments of volumes."""

    @staticmethod
    def _rows(req: Request) -> list[VolumeAttachment]:
        everybody = as_bool(req.last("all_tenants", "")) and bool(req.context.is_admin)
        if everybody:
            policy.authorize(req.context, "volume:attachments:list:all_tenants")
        for name in req.query:
            if name not in FILTERS and name not in _CONTROL:
                raise exception.BadRequest(f"{name[:64]}: there is no such filter.")
        known = volume_attachments.get_all() if everybody \
            else volume_attachments.get_of_project(req.project_id)
        rows = [row for row in known
                if all(req.last(name) in (None, getattr(row, column))
                        for name, column in FILTERS.items())]
        rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)
        marker = paging.marker_of(req)
        if marker is not None:
            ids = [row.id for row in rows]
            if marker not in ids:
                raise exception.BadRequest(f"marker: {marker[:64]!r} is not in the list.")
            rows = rows[ids.index(marker) + 1:]
        start = paging.integer_of(req, "offset")
        return rows[start:start + paging.limit_of(req)]

    @route("GET", "/attachments", policy="volume:attachments:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"attachments": [view(row) for row in self._rows(req)]}

    @route("GET", "/attachments/detail", policy="volume:attachments:list")
    def detail(self, req: Request) -> dict[str, Any]:
        return {"attachments": [detailed(row) for row in self._rows(req)]}

    @staticmethod
    def _get(req: Request, attachment_id: str) -> VolumeAttachment:
        row = volume_attachments.get(attachment_id[:64])
        if not req.context.is_admin and row.project_id != req.context.project_id:
            raise exception.VolumeAttachmentNotFound(attachment_id=attachment_id[:64])
        return row

    @route("GET", "/attachments/{attachment_id}", policy="volume:attachments:show")
    def show(self, req: Request, attachment_id: str) -> dict[str, Any]:
        return {"attachment": detailed(self._get(req, attachment_id))}

    @route("PUT", "/attachments/{attachment_id}", policy="volume:attachments:change")
    @route("DELETE", "/attachments/{attachment_id}", policy="volume:attachments:change")
    @route("POST", "/attachments/{attachment_id}/action", policy="volume:attachments:change")
    def refuse_to_change(self, req: Request, attachment_id: str) -> None:
        row = self._get(req, attachment_id)
        raise exception.Conflict(
            f"Attachment {row.id} of volume {row.volume_id} is server {row.instance_id}'s: it is "
            "changed through the Compute API alone.")

    @route("POST", "/attachments", policy="volume:attachments:change")
    def refuse_to_make(self, req: Request) -> None:
        raise exception.Conflict("Volumes are attached through the Compute API alone.")
