# SPDX-License-Identifier: Apache-2.0
"""How a volume looks in the Volume API.  Never how it is reached: that is in none of these rows.
"""

from collections.abc import Sequence
from typing import Any

from nova.api.openstack.compute.links import both, micros
from nova.api.openstack.wsgi import Request
from nova.db import volume_attachments, volume_types
from nova.db.volume_models import Volume, VolumeAttachment
from nova.volume.states import AttachStatus


def basic(req: Request, row: Volume) -> dict[str, Any]:
    """Return what a list shows of a volume."""
    return {"id": row.id, "name": row.name, "links": both(req, f"volumes/{row.id}")}


def detailed(req: Request, rows: Sequence[Volume]) -> list[dict[str, Any]]:
    """Return all of each volume, as the caller may see it; two queries for the whole page."""
    attachments = volume_attachments.get_of_volumes([row.id for row in rows])
    types = {one.id: one.name for one in volume_types.get_all()} \
        if any(row.volume_type_id for row in rows) else {}
    return [_one(req, row, attachments.get(row.id), types.get(row.volume_type_id or ""))
            for row in rows]


def _one(req: Request, row: Volume, attachment: VolumeAttachment | None,
         type_name: str | None) -> dict[str, Any]:
    admin = bool(req.context.is_admin)
    answer: dict[str, Any] = {
        **basic(req, row), "description": row.description, "status": row.status,
        "size": row.size_gb, "availability_zone": row.availability_zone,
        "created_at": micros(row.created_at), "updated_at": micros(row.updated_at),
        "attachments": [attached(attachment, admin)]
        if attachment is not None and attachment.status != AttachStatus.RESERVED else [],
        "bootable": str(bool(row.bootable)).lower(), "encrypted": False,
        "volume_type": type_name, "user_id": row.user_id, "snapshot_id": row.snapshot_id,
        "source_volid": row.source_volume_id, "metadata": row.metadata_ or {},
        "multiattach": False, "replication_status": None, "consistencygroup_id": None,
        "migration_status": None, "os-vol-tenant-attr:tenant_id": row.project_id}
    if row.image_metadata:
        answer["volume_image_metadata"] = {
            name: str(value) for name, value in row.image_metadata.items()}
    if admin:
        answer["os-vol-host-attr:host"] = row.host
        answer["os-vol-mig-status-attr:migstat"] = None
        answer["os-vol-mig-status-attr:name_id"] = None
    return answer


def attached(row: VolumeAttachment, admin: bool) -> dict[str, Any]:
    """Return what a volume shows of its attachment; its host is an administrator's."""
    return {"id": row.volume_id, "attachment_id": row.id, "volume_id": row.volume_id,
            "server_id": row.instance_id, "host_name": row.host if admin else None,
            "device": f"/dev/{row.device}", "attached_at": micros(row.attached_at)}
