# SPDX-License-Identifier: Apache-2.0
"""Floating addresses: who has which, and which port it leads to.

``project_id`` NULL is free, ``port_id`` says where it ought to lead, ``host`` where it is live
now.  The API writes the first two, the network worker the third; so an address with a ``host``
is not given to the next project before it is off the wire.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova import exception
from nova.db import session as db
from nova.db.models import FixedIp, FloatingIp, Network, Port, new_id, utcnow
from nova.network.states import state_of

CANDIDATES = 16


def add(network_id: str, addresses: Iterable[str]) -> int:
    """Add addresses to an external network's pool and return how many; AlreadyExists for one."""
    rows = [{"id": new_id(), "network_id": network_id, "address": address, "description": ""}
            for address in addresses]
    if rows:
        _add(network_id, rows)
    return len(rows)


@db.retry
def _add(network_id: str, rows: list[dict[str, str]]) -> None:
    try:
        with db.writer() as session:
            if db.again() and session.get(FloatingIp, rows[0]["id"]) is not None:
                return
            session.execute(insert(FloatingIp), rows)
    except IntegrityError as error:
        raise exception.AlreadyExists(
            f"An address of {rows[0]['address']} - {rows[-1]['address']} is in a pool already, "
            f"or there is no network {network_id}.") from error


@db.retry
def remove(addresses: Sequence[str]) -> int:
    """Take free addresses out of their pool and return how many those were."""
    with db.writer() as session:
        return db.affected(session, delete(FloatingIp).where(
            FloatingIp.address.in_(addresses), FloatingIp.project_id.is_(None),
            FloatingIp.host.is_(None)))


@db.retry
def find(project_id: str | None = None, *, ids: Sequence[str] | None = None,
         addresses: Sequence[str] | None = None, port_ids: Sequence[str] | None = None,
         network_ids: Sequence[str] | None = None, allocated: bool | None = True,
         ) -> list[FloatingIp]:
    """Return a project's floating addresses (None: everybody's); ``allocated`` None all rows."""
    query = select(FloatingIp).order_by(FloatingIp.allocated_at, FloatingIp.id)
    if project_id is not None:
        query = query.where(FloatingIp.project_id == project_id)
    elif allocated is not None:
        query = query.where(FloatingIp.project_id.is_not(None) if allocated
                            else FloatingIp.project_id.is_(None))
    for column, values in ((FloatingIp.id, ids), (FloatingIp.address, addresses),
                           (FloatingIp.port_id, port_ids), (FloatingIp.network_id, network_ids)):
        if values is not None:
            query = query.where(column.in_(values))
    with db.reader() as session:
        return list(session.scalars(query))


def get(floating_id: str, project_id: str | None = None) -> FloatingIp:
    """Return one allocated address of a project (None: anybody's) by id."""
    found = find(project_id, ids=[floating_id])
    if not found:
        raise exception.FloatingIpNotFound(floating_id=floating_id)
    return found[0]


def allocate(network_id: str, project_id: str, address: str | None = None,
             description: str = "", guard: Callable[[Session], None] | None = None,
             tags: dict[str, str] | None = None) -> FloatingIp:
    """Give a project a free address of a pool, or just the one asked for.

    ``NoMoreAddresses``, or InUse naming the address.
    """
    # The moment is also the mark by which it is known again: to the microsecond, in one project.
    return _allocate(network_id, address, guard, {
        "project_id": project_id, "description": description, "port_id": None, "tags": tags,
        "allocated_at": utcnow()})


@db.retry
def _allocate(network_id: str, address: str | None, guard: Callable[[Session], None] | None,
              values: dict[str, Any]) -> FloatingIp:
    with db.writer() as session:
        if db.again() and (made := session.scalars(select(FloatingIp).where(
                FloatingIp.network_id == network_id,
                FloatingIp.project_id == values["project_id"],
                FloatingIp.allocated_at == values["allocated_at"])).first()) is not None:
            return made
        if guard is not None:
            guard(session)
        free = (FloatingIp.network_id == network_id, FloatingIp.project_id.is_(None),
                FloatingIp.host.is_(None))
        query = select(FloatingIp.id).where(*free).order_by(FloatingIp.address)
        if address is not None:
            query = query.where(FloatingIp.address == address)
        while candidates := list(session.scalars(query.limit(CANDIDATES))):
            for floating_id in candidates:
                claim = update(FloatingIp).where(FloatingIp.id == floating_id, *free).values(
                    **values)
                if db.affected(session, claim):
                    return session.get_one(FloatingIp, floating_id)
    if address is not None:
        raise exception.InUse(kind="Floating IP", name=address)
    raise exception.NoMoreAddresses(network_id=network_id)


@db.retry
def release(floating_id: str, project_id: str) -> FloatingIp:
    """Take an address away from a project and from its port; FloatingIpNotFound if it is not its.

    Returns the row as it is now: its ``host`` says whether it has to be withdrawn somewhere.
    """
    with db.writer() as session:
        this = update(FloatingIp).where(FloatingIp.id == floating_id,
                                        FloatingIp.project_id == project_id)
        if not db.affected(session, this.values(project_id=None, port_id=None, allocated_at=None,
                                                description="", tags=None)):
            raise exception.FloatingIpNotFound(floating_id=floating_id)
        return _moved(session, floating_id)


def _moved(session: Session, floating_id: str) -> FloatingIp:
    """Return the row as it is now, and name the transaction after its state."""
    row = session.get_one(FloatingIp, floating_id)
    db.deed(f"to-floating-{state_of(row.project_id, row.port_id, row.host)}")
    return row


@db.retry
def associate(floating_id: str, project_id: str, port_id: str | None) -> FloatingIp:
    """Lead an address of a project to a port of the same project, or (None) nowhere.

    Conflict when the port has another floating address, PortNotFound when it is not the
    project's.
    """
    this = (FloatingIp.id == floating_id, FloatingIp.project_id == project_id)
    with db.writer() as session:
        if port_id is not None:
            # The port's row is written first: two addresses cannot win the same port.
            if not db.affected(session, update(Port).where(
                    Port.id == port_id, Port.project_id == project_id)
                    .values(updated_at=utcnow())):
                raise exception.PortNotFound(port_id=port_id)
            other = session.scalar(select(FloatingIp.address).where(
                FloatingIp.port_id == port_id, FloatingIp.id != floating_id))
            if other is not None:
                raise exception.Conflict(
                    f"Port {port_id} already has the floating IP {other} associated with it.")
        if not db.affected(session, update(FloatingIp).where(*this).values(port_id=port_id)):
            raise exception.FloatingIpNotFound(floating_id=floating_id)
        return _moved(session, floating_id)


@db.retry
def describe(floating_id: str, description: str) -> None:
    """Set the description of an address."""
    with db.writer() as session:
        session.execute(update(FloatingIp).where(FloatingIp.id == floating_id)
                        .values(description=description))


@db.retry
def set_host(floating_id: str, host: str | None, *, only_from: str | None = None,
             only_to: str | None = None) -> bool:
    """Write down where an address is live.

    False, and nothing done, when it is not live at ``only_from`` or does not lead to the port
    ``only_to`` any more.
    """
    query = update(FloatingIp).where(FloatingIp.id == floating_id)
    if only_to is not None:
        query = query.where(FloatingIp.port_id == only_to)
    if only_from is not None:
        query = query.where(FloatingIp.host == only_from)
    with db.writer() as session:
        done = db.affected(session, query.values(host=host)) == 1
        if done:
            _moved(session, floating_id)
        return done


@db.retry
def routes(host: str | None = None, floating_id: str | None = None) -> list[Any]:
    """Return what ought to be, or is, live: id, address, host, fixed address, network, external.

    One row an address that has a port or a ``host``; ``fixed`` is None where it leads nowhere.
    With ``host`` only addresses of networks that host serves, or that are live there.
    """
    fixed = (select(FixedIp.address).where(FixedIp.port_id == FloatingIp.port_id,
                                           ~FixedIp.address.contains(":"))
             .order_by(FixedIp.id).limit(1).scalar_subquery())
    query = (select(FloatingIp.id, FloatingIp.address, FloatingIp.host, fixed.label("fixed"),
                    FloatingIp.port_id, Network.id.label("network_id"), Network.bridge,
                    Network.host.label("network_host"),
                    FloatingIp.network_id.label("external_id"))
             .outerjoin(Port, Port.id == FloatingIp.port_id)
             .outerjoin(Network, Network.id == Port.network_id)
             .where(or_(FloatingIp.port_id.is_not(None), FloatingIp.host.is_not(None)))
             .order_by(FloatingIp.address))
    if host is not None:
        query = query.where(or_(Network.host == host, FloatingIp.host == host))
    if floating_id is not None:
        query = query.where(FloatingIp.id == floating_id)
    with db.reader() as session:
        return list(session.execute(query))


@db.retry
def availability(network_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return ``{network_id: (addresses of the pool, of them given out)}``."""
    with db.reader() as session:
        return {network_id: (total, used) for network_id, total, used in session.execute(
            select(FloatingIp.network_id, func.count(), func.count(FloatingIp.project_id))
            .where(FloatingIp.network_id.in_(network_ids)).group_by(FloatingIp.network_id))}
