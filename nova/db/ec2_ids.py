# SPDX-License-Identifier: Apache-2.0
"""The ids of EC2: ``i-``, ``ami-``, ``sg-`` and 17 hexadecimal digits, one for each UUID.

The digits are the UUID's first ones unless another thing of the kind has them already.  The row
makes the way back possible and is written when a thing is first shown; whose the thing is, is
for whoever looks it up to check.
"""

import secrets
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.models import Ec2Id, Instance
from nova.db.session import reader, retry, writer

DIGITS = 17
_AT_ONCE = 500


@retry
def known(kind: str, uuids: Collection[str]) -> dict[str, str]:
    """Return ``{uuid: EC2 id}`` of those that have one already."""
    wanted, found = list(dict.fromkeys(uuids)), {}
    with reader() as session:
        for start in range(0, len(wanted), _AT_ONCE):
            for row in session.scalars(select(Ec2Id).where(
                    Ec2Id.kind == kind, Ec2Id.uuid.in_(wanted[start:start + _AT_ONCE]))):
                found[row.uuid] = row.ec2_id
    return found


def ids_of(kind: str, uuids: Collection[str]) -> dict[str, str]:
    """Return ``{uuid: EC2 id}`` of all of them, given now to those that had none."""
    found = known(kind, uuids)
    for uuid in dict.fromkeys(uuids):
        if uuid not in found:
            found[uuid] = _give(kind, uuid)
    return found


def id_of(kind: str, uuid: str) -> str:
    """Return the EC2 id of one thing, given now if it had none."""
    return ids_of(kind, [uuid])[uuid]


def _give(kind: str, uuid: str) -> str:
    digits = uuid.replace("-", "").lower()[:DIGITS].ljust(DIGITS, "0")
    while True:
        try:
            _insert(kind, uuid, f"{kind}-{digits}")
        except IntegrityError:      # somebody gave it one meanwhile, or the id is taken
            pass
        if uuid in (found := known(kind, [uuid])):
            return found[uuid]
        digits = secrets.token_hex(DIGITS)[:DIGITS]


@retry
def _insert(kind: str, uuid: str, ec2_id: str) -> None:
    with writer() as session:
        session.add(Ec2Id(kind=kind, uuid=uuid, ec2_id=ec2_id))


@retry
def uuids_of(kind: str, ec2_ids: Collection[str]) -> dict[str, str]:
    """Return ``{EC2 id: uuid}`` of those that stand for something of a kind."""
    wanted, found = list(dict.fromkeys(ec2_ids)), {}
    with reader() as session:
        for start in range(0, len(wanted), _AT_ONCE):
            for row in session.scalars(select(Ec2Id).where(
                    Ec2Id.kind == kind, Ec2Id.ec2_id.in_(wanted[start:start + _AT_ONCE]))):
                found[row.ec2_id] = row.uuid
    return found


def reserved(session: Session, project_id: str, start: str) -> list[Instance]:
    """Return, in the caller's transaction, a project's instances of reservations that start so."""
    return list(session.scalars(select(Instance).where(
        Instance.project_id == project_id,
        Instance.reservation_id.startswith(start, autoescape=True)).order_by(Instance.created_at)))


@retry
def reservation(project_id: str, start: str) -> list[Instance]:
    """Return a project's instances of reservations whose id starts so, oldest first."""
    with reader() as session:
        return reserved(session, project_id, start)
