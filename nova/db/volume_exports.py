# SPDX-License-Identifier: Apache-2.0
"""Rows of exports: who may reach which volume and with which secret.  The volume worker's alone.
"""

import random
from itertools import islice
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.session import affected, reader, retry, writer
from nova.db.volume_models import Volume, VolumeExport
from nova.db.volumes import move
from nova.volume.states import VolumeStatus

_REACHABLE = (VolumeStatus.ATTACHING, VolumeStatus.IN_USE)
_TRIES = 20     # of volumes that take the same number at once
_SPREAD = 8     # so many more free numbers each try chooses from


def ensure(volume_id: str, host: str, **values: Any) -> VolumeExport:
    """Return the export of a volume that is being attached or is attached, made if need be.

    ``values`` are ``initiator`` and ``address``, which a row that is there gets too, and
    ``auth_user`` and ``auth_secret``, which it keeps.  InvalidVolume for any other volume.
    """
    for attempt in range(_TRIES):
        try:
            return _ensure(volume_id, host, values, attempt)
        except IntegrityError:      # somebody took the number
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("not reached")


@retry
def _ensure(volume_id: str, host: str, values: dict[str, Any], attempt: int) -> VolumeExport:
    with writer() as session:
        move(session, volume_id, [Volume.status.in_(_REACHABLE), Volume.host == host], "reach", {})
        row = session.get(VolumeExport, volume_id)
        if row is None:
            row = VolumeExport(volume_id=volume_id, host=host,
                               target_number=_free_number(session, host, attempt),
                               **values)
            session.add(row)
        else:
            row.initiator, row.address = values["initiator"], values["address"]
        return row


def _free_number(session: Session, host: str, attempt: int) -> int:
    """Return the first free number or, after a collision, one of the first few.

    All who collided would take the same one again, and one of them only would get it.
    """
    taken = set(session.scalars(
        select(VolumeExport.target_number).where(VolumeExport.host == host)))
    few = 1 + attempt * _SPREAD
    free = (number for number in range(1, len(taken) + few + 1) if number not in taken)
    return random.choice(list(islice(free, few)))


@retry
def get(volume_id: str) -> VolumeExport | None:
    """Return the export of a volume, if it has one."""
    with reader() as session:
        return session.get(VolumeExport, volume_id)


@retry
def get_of_host(host: str) -> list[VolumeExport]:
    """Return every export of a host."""
    with reader() as session:
        return list(session.scalars(select(VolumeExport).where(VolumeExport.host == host)))


@retry
def remove(volume_id: str) -> bool:
    """Forget an export whose target is gone; False when it was forgotten already."""
    with writer() as session:
        return bool(affected(
            session, delete(VolumeExport).where(VolumeExport.volume_id == volume_id)))
