# SPDX-License-Identifier: Apache-2.0
"""Rows of daemons: who runs where, and when it last heard its own ping."""

import datetime
from collections.abc import Collection
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from nova.db.models import Service, utcnow
from nova.db.session import affected, reader, retry, writer
from nova.exception import ServiceNotFound


@retry
def register(host: str, binary: str, topic: str, availability_zone: str = "nova") -> Service:
    """Return the row of a daemon on a host, made when it is new; its switches are kept."""
    try:
        with writer() as session:
            row = session.scalars(select(Service).where(
                Service.host == host, Service.binary == binary)).one_or_none()
            if row is None:
                row = Service(host=host, binary=binary)
                session.add(row)
            row.topic = topic
            row.availability_zone = availability_zone
            session.flush()
            session.refresh(row)
            return row
    except IntegrityError:      # a second process of the same name was first
        with reader() as session:
            return session.scalars(select(Service).where(
                Service.host == host, Service.binary == binary)).one()


@retry
def beat(service_id: str) -> bool:
    """Note that a daemon has heard its own ping just now; False when its row was removed."""
    with writer() as session:
        return bool(affected(
            session, update(Service).where(Service.id == service_id).values(last_seen_up=utcnow())))


@retry
def get(service_id: str) -> Service:
    """Return one row or raise ServiceNotFound."""
    with reader() as session:
        row = session.get(Service, service_id)
    if row is None:
        raise ServiceNotFound(service_id=service_id)
    return row


@retry
def get_all(*, host: str | None = None, binary: str | None = None,
            topic: str | None = None) -> list[Service]:
    """Return the rows that match, ordered by host and name."""
    query = select(Service).order_by(Service.host, Service.binary)
    for column, value in ((Service.host, host), (Service.binary, binary), (Service.topic, topic)):
        if value is not None:
            query = query.where(column == value)
    with reader() as session:
        return list(session.scalars(query))


@retry
def zones_of(hosts: Collection[str], topic: str = "compute") -> dict[str, str]:
    """Return ``{host: availability zone}`` of those hosts that have a worker of a topic."""
    with reader() as session:
        return {host: zone for host, zone in session.execute(
            select(Service.host, Service.availability_zone).where(
                Service.topic == topic, Service.host.in_(list(hosts))))}


@retry
def change(service_id: str, **values: Any) -> Service:
    """Set ``disabled``, ``disabled_reason`` or ``forced_down``; ServiceNotFound."""
    if wrong := values.keys() - {"disabled", "disabled_reason", "forced_down"}:
        raise ValueError(f"{sorted(wrong)} are not an operator's to set")
    with writer() as session:
        row = session.get(Service, service_id)
        if row is None:
            raise ServiceNotFound(service_id=service_id)
        for name, value in values.items():
            setattr(row, name, value)
        session.flush()
        session.refresh(row)
        return row


@retry
def remove(service_id: str) -> None:
    """Forget a daemon that is not coming back; ServiceNotFound."""
    with writer() as session:
        row = session.get(Service, service_id)
        if row is None:
            raise ServiceNotFound(service_id=service_id)
        session.delete(row)


def is_up(service: Service, down_after: float) -> bool:
    """Tell whether a daemon heard itself within ``down_after`` seconds and is not forced down."""
    if service.forced_down or service.last_seen_up is None:
        return False
    return utcnow() - service.last_seen_up <= datetime.timedelta(seconds=down_after)


def hosts_up(services: Collection[Service], down_after: float) -> set[str]:
    """Return the hosts of those that are up and enabled."""
    return {row.host for row in services if not row.disabled and is_up(row, down_after)}
