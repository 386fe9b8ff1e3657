# SPDX-License-Identifier: Apache-2.0
"""Networks and the addresses that are made with them.

A network is made with its IPv4 subnet or gets it later: until then its ``cidr`` is empty and no
guest can be on it.
"""

import datetime
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova import exception
from nova.db import session as db
from nova.db.models import FixedIp, FloatingIp, Network, Port, new_id, utcnow

# A lease of a guest's address, in seconds.  An address nobody has any more is not given out
# again before a lease that may still stand has run out for certain: no such wait is long.
LEASE_SECONDS = 120
# Every address of a network is a row: a /16 is 65,536 of them, about as many as is sensible.
LARGEST_PREFIX = 16


def visible_to(project_id: str | None) -> Any:
    """Return the condition "a project may see this network"; None sees all."""
    if project_id is None:
        return Network.id.is_not(None)
    return or_(Network.shared, Network.external, Network.project_id == project_id)


def create(values: dict[str, Any], reserved: Iterable[str] = (),
           guard: Callable[[Session], None] | None = None) -> Network:
    """Make a network, with all its fixed addresses when ``values`` have its subnet.

    Those in ``reserved`` are never given out, nor are the network's own address, its broadcast
    address, gateway and DHCP server.  An external network gets no fixed addresses: its floating
    ones are added by :func:`nova.db.floating_ips.add`.  ``AlreadyExists`` when a network guests
    are on overlaps.
    """
    row = _create({"id": new_id(), "cidr": "", "gateway": "", **values}, set(reserved), guard)
    if others := _others(row):
        delete_network(row.id)
        raise exception.AlreadyExists(
            f"The cidr {row.cidr} overlaps with {others[0].cidr} of network {others[0].id}.")
    return row


@db.retry
def _create(values: dict[str, Any], reserved: set[str],
            guard: Callable[[Session], None] | None) -> Network:
    row = Network(**values)
    with db.writer() as session:
        if db.again() and (made := session.get(Network, row.id)) is not None:
            return made
        if guard is not None:
            guard(session)
        session.add(row)
        _make_addresses(session, row, reserved)
    return row


def _make_addresses(session: Session, row: Network, reserved: set[str]) -> None:
    session.flush()
    if row.cidr and not row.external:
        _refuse_overlap(session, row)
        session.execute(insert(FixedIp), _address_rows(row, reserved))


def add_subnet(network_id: str, values: dict[str, Any], reserved: Iterable[str] = (),
               floating: Iterable[str] = ()) -> Network:
    """Give a network that has none its IPv4 subnet; ``floating`` are an external one's addresses.

    Conflict when it has one, AlreadyExists when it overlaps with another.
    """
    row = _add_subnet(network_id, values, set(reserved), list(floating))
    if _others(row):
        remove_subnet(network_id)
        raise exception.AlreadyExists(f"The cidr {row.cidr} overlaps with another network's.")
    return row


@db.retry
def _add_subnet(network_id: str, values: dict[str, Any], reserved: set[str],
                floating: Sequence[str]) -> Network:
    try:
        with db.writer() as session:
            done = db.affected(session, update(Network).where(
                Network.id == network_id, Network.cidr == "").values(**values))
            row = session.get(Network, network_id)
            if row is None:
                raise exception.NetworkNotFound(network_id=network_id)
            if not done:
                if db.again() and row.subnet_id == values.get("subnet_id"):
                    return row
                raise exception.Conflict(f"Network {network_id} has an IPv4 subnet already.")
            _make_addresses(session, row, reserved)
            session.add_all(FloatingIp(network_id=network_id, address=address)
                            for address in floating)
    except IntegrityError as error:
        raise exception.AlreadyExists(
            f"An address of {values['cidr']} is in another pool already.") from error
    return row


@db.retry
def remove_subnet(network_id: str) -> Network:
    """Take a network's IPv4 subnet away with its addresses; InUse while one is given out.

    Returns the row as it was.
    """
    try:
        with db.writer() as session:
            row = session.get(Network, network_id)
            if row is None or not row.cidr:
                raise exception.SubnetNotFound(subnet_id=network_id)
            session.expunge(row)
            _drop_addresses(session, network_id, "Subnet", row.subnet_id)
            db.affected(session, update(Network).where(Network.id == network_id).values(
                cidr="", gateway="", subnet_id=new_id(), subnet_name="", dns_servers=[]))
            if session.scalar(select(exists().where(Port.network_id == network_id))):
                raise exception.InUse(kind="Subnet", name=row.subnet_id)
    except IntegrityError as error:     # an address was taken in between
        raise exception.InUse(kind="Subnet of network", name=network_id) from error
    return row


def _drop_addresses(session: Session, network_id: str, kind: str, name: str) -> None:
    if session.scalar(select(exists().where(FloatingIp.network_id == network_id,
                                            FloatingIp.project_id.is_not(None)))):
        raise exception.InUse(kind=kind, name=name)
    session.execute(delete(FloatingIp).where(FloatingIp.network_id == network_id))
    session.execute(delete(FixedIp).where(FixedIp.network_id == network_id,
                                          FixedIp.port_id.is_(None)))


@db.retry
def set_subnet_v6(network_id: str, values: dict[str, Any], *, there: bool) -> Network:
    """Give a network its IPv6 subnet, or (``there``) change or take away the one it has.

    Conflict when it is the other way round, InUse while there are ports: they would not change.
    """
    with db.writer() as session:
        row = session.get(Network, network_id)
        if row is None:
            raise exception.NetworkNotFound(network_id=network_id)
        if bool(row.cidr_v6) != there:
            raise exception.Conflict(f"Network {network_id} has "
                                     f"{'an' if row.cidr_v6 else 'no'} IPv6 subnet.")
        if session.scalar(select(exists().where(Port.network_id == network_id))):
            raise exception.InUse(kind="Network", name=network_id)
        for name, value in values.items():
            setattr(row, name, value)
    return row


def _address_rows(row: Network, reserved: set[str]) -> list[dict[str, Any]]:
    cidr = IPv4Network(row.cidr)
    kept = reserved | {str(cidr.network_address), str(cidr.broadcast_address), row.gateway}
    if row.dhcp_server:
        kept.add(row.dhcp_server)
    return [{"network_id": row.id, "address": str(address), "reserved": str(address) in kept,
             "leased": False} for address in cidr]


def _overlapping(session: Session, row: Network) -> list[Network]:
    cidr = IPv4Network(row.cidr)
    others = session.scalars(select(Network).where(
        Network.external.is_(False), Network.id != row.id, Network.cidr != ""))
    return [other for other in others if IPv4Network(other.cidr).overlaps(cidr)]


def _refuse_overlap(session: Session, row: Network) -> None:
    for other in _overlapping(session, row):
        raise exception.AlreadyExists(
            f"The cidr {row.cidr} overlaps with {other.cidr} of network {other.id}.")


@db.retry
def _others(row: Network) -> list[Network]:
    """Return what overlaps after all: made in the same moment, where writers do not queue.

    Whoever sees another one gives way.  Two may see each other and both do; that neither does
    cannot be.
    """
    if not row.cidr or row.external:
        return []
    with db.reader() as session:
        return _overlapping(session, row)


@db.retry
def get(network_id: str, project_id: str | None = None) -> Network:
    """Return one network, if the project (None: everybody) may see it; else NetworkNotFound."""
    with db.reader() as session:
        row = session.scalar(select(Network).where(Network.id == network_id,
                                                   visible_to(project_id)))
    if row is None:
        raise exception.NetworkNotFound(network_id=network_id)
    return row


@db.retry
def get_by_subnet(subnet_id: str, project_id: str | None = None) -> Network:
    """Return the network a subnet, IPv4 or IPv6, belongs to; else SubnetNotFound."""
    with db.reader() as session:
        row = session.scalar(select(Network).where(
            or_(Network.subnet_id == subnet_id, Network.subnet_v6_id == subnet_id),
            visible_to(project_id)))
    if row is None:
        raise exception.SubnetNotFound(subnet_id=subnet_id)
    return row


@db.retry
def find(project_id: str | None = None, *, external: bool | None = None,
         host: str | None = None, ids: Sequence[str] | None = None) -> list[Network]:
    """Return the networks a project (None: everybody) may see, oldest first.

    With ``host`` those it serves, which all have a subnet.
    """
    query = select(Network).where(visible_to(project_id)).order_by(Network.created_at, Network.id)
    if external is not None:
        query = query.where(Network.external.is_(external))
    if host is not None:
        query = query.where(Network.host == host, Network.cidr != "")
    if ids is not None:
        query = query.where(Network.id.in_(ids))
    with db.reader() as session:
        return list(session.scalars(query))


@db.retry
def owned(project_id: str) -> list[Network]:
    """Return the networks guests of one project get by default: its own, else the shared ones."""
    with db.reader() as session:
        rows = list(session.scalars(
            select(Network).where(Network.external.is_(False), Network.cidr != "",
                                  or_(Network.shared, Network.project_id == project_id))
            .order_by(Network.created_at, Network.id)))
    return [row for row in rows if row.project_id == project_id and not row.shared] or rows


@db.retry
def change(network_id: str, values: dict[str, Any]) -> Network:
    """Set columns of a network and return it; NetworkNotFound when it is gone."""
    with db.writer() as session:
        row = session.get(Network, network_id)
        if row is None:
            raise exception.NetworkNotFound(network_id=network_id)
        for name, value in values.items():
            setattr(row, name, value)
    return row


@db.retry
def take(network_id: str, host: str) -> bool:
    """Make ``host`` the one that serves a network nobody serves yet; False when somebody does."""
    with db.writer() as session:
        return db.affected(session, update(Network).where(
            Network.id == network_id, Network.host.is_(None)).values(host=host)) == 1


@db.retry
def delete_network(network_id: str) -> Network:
    """Remove a network, its addresses and free floating addresses; InUse while ports stand on it.

    Returns the row as it was, for whoever has to clear the host.
    """
    try:
        with db.writer() as session:
            row = session.get(Network, network_id)
            if row is None:
                raise exception.NetworkNotFound(network_id=network_id)
            _drop_addresses(session, network_id, "Network", network_id)
            session.execute(delete(Network).where(
                Network.id == network_id, ~exists().where(Port.network_id == network_id)))
            session.flush()
            if session.scalar(select(exists().where(Port.network_id == network_id))):
                raise exception.InUse(kind="Network", name=network_id)
            session.expunge(row)
    except IntegrityError as error:   # a port came in between
        raise exception.InUse(kind="Network", name=network_id) from error
    return row


@db.retry
def set_leased(network_id: str, address: str, mac: str, leased: bool) -> bool:
    """Write down what the DHCP server says of an address; False when it says nothing to us.

    A lease is the present holder's only.  The end of a lease counts for the holder and for
    nobody's address: one that was given to somebody else meanwhile is left as it is.
    """
    holder = exists().where(Port.id == FixedIp.port_id, Port.mac == mac)
    this = update(FixedIp).where(FixedIp.network_id == network_id, FixedIp.address == address)
    with db.writer() as session:
        if leased:
            this = this.where(holder).values(leased=True, released_at=None)
        else:
            this = this.where(or_(holder, FixedIp.port_id.is_(None)), FixedIp.leased).values(
                leased=False, released_at=utcnow())
        return db.affected(session, this) == 1


@db.retry
def leases(network_id: str) -> list[tuple[str, str]]:
    """Return (MAC, address) of what is leased to a port of a network now."""
    with db.reader() as session:
        return [(mac, address) for mac, address in session.execute(
            select(Port.mac, FixedIp.address).join(Port, Port.id == FixedIp.port_id)
            .where(FixedIp.network_id == network_id, FixedIp.leased).order_by(FixedIp.id))]


@db.retry
def holders(network_id: str) -> list[tuple[str, str]]:
    """Return (MAC, address) of every port of a network."""
    with db.reader() as session:
        return [(mac, address) for mac, address in session.execute(
            select(Port.mac, FixedIp.address).join(Port, Port.id == FixedIp.port_id)
            .where(FixedIp.network_id == network_id))]


@db.retry
def expire_leases(before: datetime.datetime) -> int:
    """Free the addresses without a port whose leases nobody ended in time; return how many."""
    with db.writer() as session:
        return db.affected(session, update(FixedIp).where(
            FixedIp.leased, FixedIp.port_id.is_(None), FixedIp.released_at < before)
            .values(leased=False))


@db.retry
def availability(ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return ``{network_id: (IPv4 addresses for guests in all, of them given out)}``."""
    with db.reader() as session:
        return {network_id: (total, used) for network_id, total, used in session.execute(
            select(FixedIp.network_id, func.count(), func.count(FixedIp.port_id))
            .where(FixedIp.network_id.in_(ids), FixedIp.reserved.is_(False),
                   ~FixedIp.address.contains(":")).group_by(FixedIp.network_id))}


@db.retry
def pools(ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return, for each network, the ranges (first, last) its addresses are given out of."""
    with db.reader() as session:
        rows = session.execute(
            select(FixedIp.network_id, FixedIp.address)
            .where(FixedIp.network_id.in_(ids), FixedIp.reserved.is_(False),
                   ~FixedIp.address.contains(":"))
            .order_by(FixedIp.network_id, FixedIp.id)).all()
    found: dict[str, list[tuple[str, str]]] = {}
    for network_id, address in rows:
        ranges = found.setdefault(network_id, [])
        if ranges and int(IPv4Address(ranges[-1][1])) + 1 == int(IPv4Address(address)):
            ranges[-1] = (ranges[-1][0], address)
        else:
            ranges.append((address, address))
    return found
