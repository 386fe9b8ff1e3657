# SPDX-License-Identifier: Apache-2.0
"""Attachments of volumes to instances; volume and attachment move in one transaction.

::

    volume      available -> reserved -> attaching -> in-use <-> detaching -> available
    attachment            reserved -> attaching -> attached <-> detaching -> (row gone)

A volume becomes available again only when nobody can reach it: while it is exported,
:func:`finish_detach` refuses.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.models import new_id, utcnow
from nova.db.session import affected, again, reader, retry, writer
from nova.db.volume_models import Volume, VolumeAttachment, VolumeExport
from nova.db.volumes import ANY, check_not_copied, move
from nova.exception import InUse, InvalidVolume, VolumeAttachmentNotFound
from nova.volume.states import AttachStatus, VolumeStatus

# How the volume's status follows its attachment's.
_VOLUME_IS = {
    AttachStatus.RESERVED: VolumeStatus.RESERVED,
    AttachStatus.ATTACHING: VolumeStatus.ATTACHING,
    AttachStatus.ATTACHED: VolumeStatus.IN_USE,
    AttachStatus.DETACHING: VolumeStatus.DETACHING,
}


# ---------------------------------------------------------------- finding

@retry
def get(attachment_id: str) -> VolumeAttachment:
    """Return one attachment or raise VolumeAttachmentNotFound."""
    with reader() as session:
        row = session.get(VolumeAttachment, attachment_id)
    if row is None:
        raise VolumeAttachmentNotFound(attachment_id=attachment_id)
    return row


def get_of_volume(volume_id: str) -> VolumeAttachment | None:
    """Return the attachment of a volume, if it has one."""
    found = _select(volume_id=[volume_id])
    return found[0] if found else None


def get_of_volumes(volume_ids: Collection[str]) -> dict[str, VolumeAttachment]:
    """Return the attachments of volumes by the volume's id; those without one are not in it."""
    ids = list(volume_ids)
    return {row.volume_id: row for start in range(0, len(ids), 500)
            for row in _select(volume_id=ids[start:start + 500])}


def get_of_instance(instance_id: str) -> list[VolumeAttachment]:
    """Return the attachments of an instance, in order of their devices."""
    return _select(instance_id=[instance_id])


def get_of_instances(instance_ids: Collection[str]) -> dict[str, list[VolumeAttachment]]:
    """Return the attachments of instances by the instance's id; those without are not in it."""
    found: dict[str, list[VolumeAttachment]] = {}
    ids = list(instance_ids)
    for start in range(0, len(ids), 500):
        for row in _select(instance_id=ids[start:start + 500]):
            found.setdefault(row.instance_id, []).append(row)
    return found


def get_of_host(host: str) -> list[VolumeAttachment]:
    """Return the attachments whose compute host this is."""
    return _select(host=[host])


def get_of_project(project_id: str) -> list[VolumeAttachment]:
    """Return the attachments of a project's volumes."""
    return _select(project_id=[project_id])


def get_all() -> list[VolumeAttachment]:
    """Return every attachment."""
    return _select()


@retry
def _select(**columns: Sequence[str]) -> list[VolumeAttachment]:
    query = select(VolumeAttachment).order_by(
        VolumeAttachment.instance_id, VolumeAttachment.device)
    for name, values in columns.items():
        query = query.where(getattr(VolumeAttachment, name).in_(values))
    with reader() as session:
        return list(session.scalars(query))


# ---------------------------------------------------------------- moving

def reserve(volume_id: str, instance_id: str, project_id: str, device: str, *,
            boot_index: int | None = None,
            delete_on_termination: bool = False) -> VolumeAttachment:
    """Take an available volume for an instance; InvalidVolume for any other.

    InUse when the instance has something at that device already.
    """
    return _reserve(reservation(
        volume_id, instance_id, project_id, device, boot_index=boot_index,
        delete_on_termination=delete_on_termination))


def reservation(volume_id: str, instance_id: str, project_id: str, device: str, *,
                boot_index: int | None = None,
                delete_on_termination: bool = False) -> VolumeAttachment:
    """Return the row of a new attachment, not added yet: see add()."""
    return VolumeAttachment(
        id=new_id(), volume_id=volume_id, instance_id=instance_id, project_id=project_id,
        device=device, boot_index=boot_index, delete_on_termination=delete_on_termination,
        status=AttachStatus.RESERVED, created_at=utcnow())


def add(session: Session, attachment: VolumeAttachment) -> VolumeAttachment:
    """Reserve a volume within a transaction that does more than that; InvalidVolume."""
    move(session, attachment.volume_id, [Volume.status == VolumeStatus.AVAILABLE],
         "attach", {"status": VolumeStatus.RESERVED}, _about(attachment))
    check_not_copied(session, attachment.volume_id, "attach")
    made = session.merge(attachment)
    session.flush()
    return made


@retry
def _reserve(attachment: VolumeAttachment) -> VolumeAttachment:
    try:
        with writer() as session:
            if again() and (made := session.get(VolumeAttachment, attachment.id)) is not None:
                return made     # by a try whose answer got lost
            return add(session, attachment)
    except IntegrityError as error:
        raise InUse(kind="Device", name=attachment.device) from error


def begin_attach(attachment_id: str, host: str) -> VolumeAttachment:
    """Note that a host is attaching a reserved volume; doing it again there is no error."""
    return _step(attachment_id, (AttachStatus.RESERVED, AttachStatus.ATTACHING),
                 AttachStatus.ATTACHING, "attach", from_host=(None, host), host=host)


def finish_attach(attachment_id: str) -> VolumeAttachment:
    """Note that the guest has the volume; doing it again is no error."""
    return _step(attachment_id, (AttachStatus.ATTACHING, AttachStatus.ATTACHED),
                 AttachStatus.ATTACHED, "attach", attached_at=utcnow())


def begin_detach(attachment_id: str) -> VolumeAttachment:
    """Start to take a volume away from its instance; doing it again is no error."""
    return _step(
        attachment_id, (AttachStatus.ATTACHING, AttachStatus.ATTACHED, AttachStatus.DETACHING),
        AttachStatus.DETACHING, "detach")


def undo_detach(attachment_id: str) -> VolumeAttachment:
    """Note that the guest kept its volume: it is in-use as before; again is no error."""
    return _step(attachment_id, (AttachStatus.DETACHING, AttachStatus.ATTACHED),
                 AttachStatus.ATTACHED, "keep")


@retry
def take_over(attachment_id: str, from_host: str, host: str) -> VolumeAttachment:
    """Note that an attachment is another host's from now on, as far as it had come.

    InvalidVolume when it is not ``from_host``'s any more; doing it again is no error.
    """
    with writer() as session:
        row = _lock(session, attachment_id)
        if row.host not in (from_host, host):
            raise InvalidVolume(action="take over", volume_id=row.volume_id, status=row.status)
        row.host = host
        return row


@retry
def _step(attachment_id: str, starts_from: Collection[AttachStatus], ends_in: AttachStatus,
          verb: str, *, from_host: Any = ANY, **values: Any) -> VolumeAttachment:
    with writer() as session:
        row = _lock(session, attachment_id)
        wrong_host = from_host is not ANY and row.host not in from_host
        if row.status not in starts_from or wrong_host:
            raise InvalidVolume(action=verb, volume_id=row.volume_id, status=row.status)
        if row.status != ends_in:
            move(session, row.volume_id, [Volume.status == _VOLUME_IS[AttachStatus(row.status)]],
                 verb, {"status": _VOLUME_IS[ends_in]}, _about(row))
            row.status = ends_in
            for name, value in values.items():
                setattr(row, name, value)
        return row


def _about(row: VolumeAttachment) -> dict[str, Any]:
    return {"instance_id": row.instance_id, "device": row.device}


def _lock(session: Session, attachment_id: str) -> VolumeAttachment:
    row = session.get(VolumeAttachment, attachment_id)
    if row is None:
        raise VolumeAttachmentNotFound(attachment_id=attachment_id)
    # The volume's row is the lock of both; it comes first everywhere.
    affected(session, update(Volume).where(Volume.id == row.volume_id).values(
        transition_id=new_id()))
    row = session.get(VolumeAttachment, attachment_id, populate_existing=True)
    if row is None:
        raise VolumeAttachmentNotFound(attachment_id=attachment_id)
    return row


@retry
def undo_reserve(attachment_id: str) -> bool:
    """Give a volume back that no host has begun to attach; False when that was done already.

    InvalidVolume when a host has.
    """
    return _release(attachment_id, (AttachStatus.RESERVED,), "unreserve")


@retry
def finish_detach(attachment_id: str) -> bool:
    """Make a volume available whose guest let it go; False when that was done already.

    InvalidVolume before begin_detach(), and while the volume can still be reached by anybody.
    """
    return _release(attachment_id, (AttachStatus.DETACHING,), "detach")


def _release(attachment_id: str, starts_from: Collection[AttachStatus], verb: str) -> bool:
    with writer() as session:
        try:
            row = _lock(session, attachment_id)
        except VolumeAttachmentNotFound:
            return False
        if row.status not in starts_from:
            raise InvalidVolume(action=verb, volume_id=row.volume_id, status=row.status)
        if session.get(VolumeExport, row.volume_id) is not None:
            raise InvalidVolume(action=verb, volume_id=row.volume_id, status="exported")
        affected(session, delete(VolumeAttachment).where(VolumeAttachment.id == attachment_id))
        move(session, row.volume_id, [Volume.status == _VOLUME_IS[AttachStatus(row.status)]], verb,
             {"status": VolumeStatus.AVAILABLE}, _about(row))
        return True


@retry
def set_delete_on_termination(attachment_id: str, value: bool) -> VolumeAttachment:
    """Say whether the volume goes with its instance."""
    with writer() as session:
        row = session.get(VolumeAttachment, attachment_id)
        if row is None:
            raise VolumeAttachmentNotFound(attachment_id=attachment_id)
        row.delete_on_termination = value
        return row
