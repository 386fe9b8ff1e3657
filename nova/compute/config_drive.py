# SPDX-License-Identifier: Apache-2.0
"""What a config drive holds: what the metadata service would say, as files."""

import base64
import binascii
import json
from typing import Any

from nova.db.models import Instance


def files_of(row: Instance) -> dict[str, bytes]:
    """Return ``{path: content}`` of an instance's config drive, OpenStack's and EC2's layout."""
    files = {
        "openstack/latest/meta_data.json": _dump(_openstack(row)),
        "ec2/latest/meta-data.json": _dump(_ec2(row)),
    }
    user_data = _decoded(row.user_data)
    if user_data is not None:
        files["openstack/latest/user_data"] = user_data
        files["ec2/latest/user-data"] = user_data
    return files


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _decoded(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        return text.encode()


def _openstack(row: Instance) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uuid": row.id, "name": row.display_name, "hostname": row.hostname,
        "launch_index": row.launch_index, "project_id": row.project_id,
        "availability_zone": row.availability_zone or "nova",
        "meta": dict(row.metadata_ or {})}
    if row.key_data:
        found["public_keys"] = {row.key_name: row.key_data}
        found["keys"] = [{"name": row.key_name, "type": "ssh", "data": row.key_data}]
    return found


def _ec2(row: Instance) -> dict[str, Any]:
    found: dict[str, Any] = {
        "hostname": row.hostname, "local-hostname": row.hostname,
        "ami-launch-index": row.launch_index, "reservation-id": row.reservation_id,
        "instance-type": row.flavor_name,
        "placement": {"availability-zone": row.availability_zone or "nova"}}
    if row.key_data:
        found["public-keys"] = {"0": {"_name": f"0={row.key_name}", "openssh-key": row.key_data}}
    return found
