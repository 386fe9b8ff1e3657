# SPDX-License-Identifier: Apache-2.0
"""Ports, and who holds which fixed address.

An address changes hands by one conditional UPDATE that only succeeds while it is free; the loser
looks for another one.
"""

import datetime
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova import exception
from nova.compute.states import VmState
from nova.db import session as db
from nova.db.models import (
    FixedIp,
    FloatingIp,
    Instance,
    Network,
    Port,
    PortSecurityGroup,
    new_id,
    utcnow,
)
from nova.db.networks import LEASE_SECONDS

MAC_PREFIX = "fa:16:3e"
# The device_owner of what instances have, as clients know it; a zone's name follows.
DEVICE_OWNER = "compute:"
# How many free addresses one look brings; each can be lost to somebody faster.
CANDIDATES = 16
# A released address stays its guest's until the lease it may still hold has run out for certain.
QUARANTINE = 2 * LEASE_SECONDS + 60


@dataclass(frozen=True)
class PortView:
    """A port with what hangs on it, read in a fixed number of queries for any number of ports."""

    port: Port
    network: Network
    addresses: tuple[FixedIp, ...] = ()
    floating: tuple[FloatingIp, ...] = ()
    group_ids: tuple[str, ...] = ()


def random_mac() -> str:
    """Return a MAC of the range OpenStack's guests have; the table's unique key does the rest."""
    return MAC_PREFIX + "".join(f":{random.randrange(256):02x}" for _ in range(3))


def usable(now: datetime.datetime) -> Any:
    """Return the condition "this address may be given out"."""
    gone = now - datetime.timedelta(seconds=QUARANTINE)
    return (FixedIp.port_id.is_(None) & FixedIp.reserved.is_(False)
            & or_(FixedIp.leased.is_(False), FixedIp.released_at < gone))


def claim_address(session: Session, network_id: str, port_id: str,
                  address: str | None = None) -> str:
    """Take a free address, or just the one asked for, in the caller's transaction.

    ``NoMoreAddresses``, or InUse and BadRequest naming the address.
    """
    now = utcnow()
    free = select(FixedIp.id, FixedIp.address).where(FixedIp.network_id == network_id,
                                                     ~FixedIp.address.contains(":"))
    if address is not None:
        found = session.execute(free.where(FixedIp.address == address)).first()
        if found is None:
            raise exception.BadRequest(
                f"ip_address: {address} is not an address of network {network_id}.")
        if not _take(session, found.id, port_id, now):
            raise exception.InUse(kind="IP address", name=address)
        return found.address
    free = free.where(usable(now)).order_by(FixedIp.id).limit(CANDIDATES)
    while candidates := session.execute(free).all():
        for candidate in candidates:
            if _take(session, candidate.id, port_id, now):
                return candidate.address
    raise exception.NoMoreAddresses(network_id=network_id)


@db.retry
def check_free(network_id: str, address: str) -> None:
    """Raise what claiming an address would raise now, without touching anything."""
    with db.reader() as session:
        this = select(FixedIp.id).where(FixedIp.network_id == network_id,
                                        FixedIp.address == address)
        if session.scalar(this) is None:
            raise exception.BadRequest(
                f"ip_address: {address} is not an address of network {network_id}.")
        if session.scalar(this.where(usable(utcnow()))) is None:
            raise exception.InUse(kind="IP address", name=address)


def _take(session: Session, fixed_ip_id: int, port_id: str, now: datetime.datetime) -> bool:
    return db.affected(session, update(FixedIp).where(FixedIp.id == fixed_ip_id, usable(now))
                       .values(port_id=port_id, leased=False, released_at=None)) == 1


def create(values: dict[str, Any], *, address: str | None = None, address_v6: Any = None,
           group_ids: Iterable[str] = (),
           guard: Callable[[Session], None] | None = None) -> Port:
    """Make a port with its addresses and groups, all or nothing.

    Without ``mac`` one is made up.  ``address_v6`` is called with the MAC and answers the IPv6
    address that goes with it, or None.  AlreadyExists for a MAC or an id in use, else as
    :func:`claim_address`.
    """
    wanted_mac = values.get("mac")
    values = {"id": new_id(), **values}
    while True:
        mac = wanted_mac or random_mac()
        try:
            return _create({**values, "mac": mac}, address,
                           address_v6(mac) if address_v6 else None, sorted(set(group_ids)),
                           guard)
        except IntegrityError as error:
            _explain(error, values, mac, wanted_mac, group_ids)


@db.retry
def _explain(error: IntegrityError, values: dict[str, Any], mac: str, wanted_mac: str | None,
             group_ids: Iterable[str]) -> None:
    """Return when another made-up MAC can help, else raise what was in the way."""
    with db.reader() as session:
        if session.get(Port, values["id"]) is not None:
            raise exception.AlreadyExists(kind="Port", name=values["id"]) from error
        if session.scalar(select(Port.id).where(Port.mac == mac)) is not None:
            if wanted_mac:
                raise exception.AlreadyExists(kind="Port with MAC", name=mac) from error
            return
        if session.get(Network, values["network_id"]) is None:
            raise exception.NetworkNotFound(network_id=values["network_id"]) from error
    raise exception.Conflict("A security group or address of the port went away meanwhile: "
                             f"{', '.join(group_ids)}.") from error


@db.retry
def _create(values: dict[str, Any], address: str | None, address_v6: str | None,
            group_ids: Sequence[str], guard: Callable[[Session], None] | None) -> Port:
    row = Port(**values)
    with db.writer() as session:
        if db.again() and (made := session.get(Port, row.id)) is not None:
            return made
        if guard is not None:
            guard(session)
        session.add(row)
        session.flush()
        claim_address(session, row.network_id, row.id, address)
        if address_v6:
            session.add(FixedIp(network_id=row.network_id, address=address_v6, port_id=row.id))
        session.add_all(PortSecurityGroup(port_id=row.id, group_id=group) for group in group_ids)
    return row


@db.retry
def get(port_id: str, project_id: str | None = None) -> PortView:
    """Return one port of a project (None: anybody's) with all that hangs on it."""
    found = find(project_id, ids=[port_id])
    if not found:
        raise exception.PortNotFound(port_id=port_id)
    return found[0]


@db.retry
def find(project_id: str | None = None, *, ids: Sequence[str] | None = None,
         device_ids: Sequence[str] | None = None, network_ids: Sequence[str] | None = None,
         group_ids: Sequence[str] | None = None, host: str | None = None) -> list[PortView]:
    """Return the ports of a project (None: everybody's), in the order their guests see them."""
    query = select(Port, Network).join(Network, Network.id == Port.network_id).order_by(
        Port.device_id, Port.device_index, Port.created_at, Port.id)
    if project_id is not None:
        query = query.where(Port.project_id == project_id)
    if host is not None:
        query = query.where(Port.host == host)
    for column, values in ((Port.id, ids), (Port.device_id, device_ids),
                           (Port.network_id, network_ids)):
        if values is not None:
            query = query.where(column.in_(values))
    if group_ids is not None:
        query = query.where(Port.id.in_(
            select(PortSecurityGroup.port_id).where(PortSecurityGroup.group_id.in_(group_ids))))
    with db.reader() as session:
        found = session.execute(query).all()
        return _with_details(session, [(port, network) for port, network in found])


def _with_details(session: Session, found: Sequence[tuple[Port, Network]]) -> list[PortView]:
    ids = [port.id for port, _ in found]
    if not ids:
        return []
    addresses: dict[str, list[FixedIp]] = {}
    floating: dict[str, list[FloatingIp]] = {}
    groups: dict[str, list[str]] = {}
    # The same condition thrice: of many ports a subquery would be no cheaper than their ids.
    for fixed in session.scalars(select(FixedIp).where(FixedIp.port_id.in_(ids))
                                 .order_by(FixedIp.id)):
        addresses.setdefault(str(fixed.port_id), []).append(fixed)
    for public in session.scalars(select(FloatingIp).where(FloatingIp.port_id.in_(ids))
                                  .order_by(FloatingIp.address)):
        floating.setdefault(str(public.port_id), []).append(public)
    for member in session.scalars(select(PortSecurityGroup)
                                  .where(PortSecurityGroup.port_id.in_(ids))):
        groups.setdefault(member.port_id, []).append(member.group_id)
    return [PortView(port, network, tuple(addresses.get(port.id, ())),
                     tuple(floating.get(port.id, ())), tuple(sorted(groups.get(port.id, ()))))
            for port, network in found]


@db.retry
def change(port_id: str, values: dict[str, Any], group_ids: Iterable[str] | None = None) -> None:
    """Set columns of a port and, unless None, its groups; PortNotFound when it is gone."""
    try:
        with db.writer() as session:
            row = session.get(Port, port_id)
            if row is None:
                raise exception.PortNotFound(port_id=port_id)
            for name, value in values.items():
                setattr(row, name, value)
            if group_ids is not None:
                session.execute(delete(PortSecurityGroup)
                                .where(PortSecurityGroup.port_id == port_id))
                session.add_all(PortSecurityGroup(port_id=port_id, group_id=group)
                                for group in sorted(set(group_ids)))
    except IntegrityError as error:
        raise exception.Conflict(
            f"A security group of port {port_id} went away meanwhile.") from error


@db.retry
def plug(port_id: str, project_id: str, device_id: str, *,
         guard: Callable[[Session], None] | None = None, **values: Any) -> bool:
    """Give a port of the project to a device; False when another device has it, or it is gone.

    ``guard`` runs first in the same transaction.
    """
    with db.writer() as session:
        if guard is not None:
            guard(session)
        return db.affected(session, update(Port).where(
            Port.id == port_id, Port.project_id == project_id,
            or_(Port.device_id.is_(None), Port.device_id.in_(("", device_id))))
            .values(device_id=device_id, **values)) == 1


@db.retry
def unplug(port_id: str, device_id: str) -> bool:
    """Take a port from a device that has it; the port and its addresses stay its owner's."""
    with db.writer() as session:
        return db.affected(session, update(Port).where(
            Port.id == port_id, Port.device_id == device_id).values(
                device_id=None, device_owner="", host=None, status="DOWN", device_index=0)) == 1


@db.retry
def delete_port(port_id: str) -> bool:
    """Remove a port and let its addresses go; False when it was gone already.

    An address that is leased still stays quarantined: see :class:`nova.db.models.FixedIp`.
    Floating addresses on it become free of it; the caller has them withdrawn from the host.
    """
    with db.writer() as session:
        session.execute(update(FloatingIp).where(FloatingIp.port_id == port_id)
                        .values(port_id=None))
        session.execute(delete(FixedIp).where(FixedIp.port_id == port_id,
                                              FixedIp.address.contains(":")))
        session.execute(update(FixedIp).where(FixedIp.port_id == port_id)
                        .values(port_id=None, released_at=utcnow()))
        return db.affected(session, delete(Port).where(Port.id == port_id)) == 1


@db.retry
def device_addresses(device_ids: Sequence[str]) -> list[tuple[str, str, str, str, str, list[str]]]:
    """Return (device, network's name, port, MAC, address, floating addresses), in two queries."""
    with db.reader() as session:
        rows = session.execute(
            select(Port.device_id, Network.name, Port.id, Port.mac, FixedIp.address)
            .join(Network, Network.id == Port.network_id)
            .join(FixedIp, FixedIp.port_id == Port.id)
            .where(Port.device_id.in_(device_ids))
            .order_by(Port.device_index, Port.created_at, Port.id, FixedIp.id)).all()
        floating: dict[str, list[str]] = {}
        for port_id, address in session.execute(
                select(FloatingIp.port_id, FloatingIp.address)
                .join(Port, Port.id == FloatingIp.port_id)
                .where(Port.device_id.in_(device_ids)).order_by(FloatingIp.address)):
            floating.setdefault(str(port_id), []).append(address)
    return [(str(device), name, port, mac, address,
             floating.get(port, []) if "." in address else [])
            for device, name, port, mac, address in rows]


@db.retry
def instances_at(address: str) -> list[Instance]:
    """Return the instances that hold a fixed address: more than one if networks overlap."""
    with db.reader() as session:
        return list(session.scalars(
            select(Instance).where(Instance.id.in_(
                select(Port.device_id).join(FixedIp, FixedIp.port_id == Port.id)
                .where(FixedIp.address == address)))))


@db.retry
def hosts_of(instance_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return ``{host: instances}`` for those of the instances that are on a host."""
    found: dict[str, list[str]] = {}
    with db.reader() as session:
        for host, instance_id in session.execute(
                select(Instance.host, Instance.id)
                .where(Instance.id.in_(instance_ids), Instance.host.is_not(None))):
            found.setdefault(str(host), []).append(instance_id)
    return found


@db.retry
def dhcp_hosts(network_id: str) -> list[tuple[str, str, str | None]]:
    """Return (MAC, IPv4 address, hostname) of every port of a network; None without an instance."""
    with db.reader() as session:
        return [(mac, address, hostname) for mac, address, hostname in session.execute(
            select(Port.mac, FixedIp.address, Instance.hostname)
            .join(FixedIp, FixedIp.port_id == Port.id)
            .outerjoin(Instance, Instance.id == Port.device_id)
            .where(Port.network_id == network_id, ~FixedIp.address.contains(":"))
            .order_by(FixedIp.id))]


@db.retry
def orphans(before: datetime.datetime | None = None) -> list[tuple[str, str]]:
    """Return (device, port) of the ports, or those older, in instances that are gone."""
    query = (select(Port.device_id, Port.id)
             .outerjoin(Instance, Instance.id == Port.device_id)
             .where(Port.device_owner.startswith(DEVICE_OWNER), Instance.id.is_(None),
                    Port.device_id.is_not(None)).order_by(Port.device_id))
    if before is not None:
        query = query.where(Port.created_at < before)
    with db.reader() as session:
        return [(str(device), port) for device, port in session.execute(query)]


@db.retry
def stranded(before: datetime.datetime | None = None) -> list[tuple[str, str]]:
    """Return (device, port) of the ports, or those older, made for instances no host would build.

    Those of an evacuation that failed are not: they wait for the next one.
    """
    query = (select(Port.device_id, Port.id, Instance.build_request)
             .join(Instance, Instance.id == Port.device_id)
             .where(Instance.vm_state == VmState.ERROR, Instance.task_state.is_(None),
                    Instance.host.is_(None), Port.owned_by_instance.is_(True))
             .order_by(Port.device_id))
    if before is not None:
        query = query.where(Port.created_at < before)
    with db.reader() as session:
        return [(str(device), port) for device, port, request in session.execute(query)
                if not (request or {}).get("evacuated_at")]
