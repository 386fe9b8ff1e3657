# SPDX-License-Identifier: Apache-2.0
"""Who may reach a volume: the host it is being attached to, for as long as it is attached there.
"""

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from nova.db import volume_attachments, volume_exports, volumes
from nova.db.volume_models import VolumeAttachment
from nova.exception import BadRequest, Conflict, InvalidVolume
from nova.volume.model import Connector, VolumeConnection
from nova.volume.states import AttachStatus
from nova.volume.worker import Worker, disk_of, export_of

LOG = logging.getLogger(__name__)

SECRET_BYTES = 12       # 24 characters; CHAP wants 12 bytes at least


class Connections:
    """Opens and closes the ways to this host's volumes."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def initialize(self, volume_id: str, connector: Connector) -> VolumeConnection:
        """Let the host that attaches a volume, or has it attached, reach it; say how."""
        row = volumes.get(volume_id)
        attachment = volume_attachments.get_of_volume(volume_id)
        if (row.host != self.worker.host or attachment is None
                or attachment.host != connector.host
                or attachment.status not in (AttachStatus.ATTACHING, AttachStatus.ATTACHED)):
            raise InvalidVolume(action="reach", volume_id=volume_id, status=row.status)
        disk = disk_of(row)
        if not self.worker.driver.exports:
            if connector.host != self.worker.host:
                raise Conflict(f"Volume {volume_id} can be attached on its own host alone.")
            return self.worker.driver.connection(disk, None)
        export = export_of(volume_exports.ensure(
            volume_id, self.worker.host, initiator=connector.initiator, address=connector.ip,
            auth_user=secrets.token_hex(8), auth_secret=secrets.token_hex(SECRET_BYTES)))
        self.worker.driver.ensure_export(disk, export)
        LOG.info("Volume %s can be reached from %s", volume_id, connector.host)
        return self.worker.driver.connection(disk, export)

    def terminate(self, volume_id: str, connector: Connector) -> None:
        """End every way to a volume, unless it is attached."""
        attachment = volume_attachments.get_of_volume(volume_id)
        if attachment is not None and self._keeps(attachment, connector):
            raise InvalidVolume(action="disconnect", volume_id=volume_id,
                                status=volumes.get(volume_id).status)
        self.worker.unexport(volume_id)
        LOG.info("Volume %s can be reached by nobody", volume_id)

    @staticmethod
    def _keeps(attachment: VolumeAttachment, connector: Connector) -> bool:
        return (attachment.status == AttachStatus.ATTACHED
                or attachment.host not in (None, connector.host))


def connector_of(values: Mapping[str, Any]) -> Connector:
    """Read a connector off a message; BadRequest for what is none."""
    try:
        connector = Connector.from_dict(values)
    except TypeError as error:
        raise BadRequest("connector: it is not one.") from error
    for value in (connector.host, connector.initiator, connector.ip):
        if value is not None and not (isinstance(value, str) and value and len(value) < 224
                                      and not set(value) & set(",= \n\0")):
            raise BadRequest("connector: a value of it cannot be one.")
    return connector
