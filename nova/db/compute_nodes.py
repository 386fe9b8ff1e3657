# SPDX-License-Identifier: Apache-2.0
"""Rows of hypervisors: what each host offers, as its compute worker last said."""

import datetime
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.exc import IntegrityError

from nova.db.models import ComputeNode, Service
from nova.db.session import reader, retry, writer
from nova.exception import HostNotFound

# Written by claims alone.
_NOT_TO_SET = {"id", "host", "generation", "created_at", "updated_at"}


@retry
def report(host: str, **values: Any) -> ComputeNode:
    """Write down what a host offers; a row that says the same already is left alone."""
    if wrong := _NOT_TO_SET & values.keys():
        raise ValueError(f"{sorted(wrong)} are not a worker's to set")
    try:
        return _report(host, values)
    except IntegrityError:      # two first reports at once
        return _report(host, values)


def _report(host: str, values: dict[str, Any]) -> ComputeNode:
    with writer() as session:
        row = session.scalars(select(ComputeNode).where(ComputeNode.host == host)).one_or_none()
        if row is None:
            row = ComputeNode(host=host, **values)
            session.add(row)
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        session.flush()
        session.refresh(row)
        return row


@retry
def get_all() -> list[ComputeNode]:
    """Return every hypervisor, ordered by host."""
    with reader() as session:
        return list(session.scalars(select(ComputeNode).order_by(ComputeNode.host)))


@dataclass(frozen=True)
class Offer:
    """What a host offers and whether its worker is there, as the scheduler reads it.

    ``zone`` None: its worker has never registered.
    """

    host: str
    hypervisor_type: str
    hypervisor_version: int
    cpu_arch: str | None
    capacity: tuple[int, int, int]      # vcpus, MiB, GiB: less reserves, times ratios
    zone: str | None
    disabled: bool | None
    forced_down: bool | None
    last_seen_up: datetime.datetime | None


@retry
def offers() -> list[Offer]:
    """Return every hypervisor with its worker's state, in one query and without what is not asked.

    A thousand hosts are read for each decision of a scheduler: whole rows would cost ten times
    as much as the decision.
    """
    query = select(
        ComputeNode.host, ComputeNode.hypervisor_type, ComputeNode.hypervisor_version,
        ComputeNode.cpu_info["arch"].as_string(), ComputeNode.vcpus,
        ComputeNode.cpu_allocation_ratio, ComputeNode.memory_mb, ComputeNode.reserved_memory_mb,
        ComputeNode.ram_allocation_ratio, ComputeNode.local_gb, ComputeNode.reserved_disk_gb,
        ComputeNode.disk_allocation_ratio, Service.availability_zone, Service.disabled,
        Service.forced_down, Service.last_seen_up,
    ).outerjoin(Service, and_(Service.host == ComputeNode.host, Service.topic == "compute"))
    with reader() as session:
        rows = session.execute(query.order_by(ComputeNode.host)).all()
    return [Offer(row[0], row[1], row[2], row[3],
                  capacity_of(*row[4:12]), *row[12:]) for row in rows]


def capacity_of(vcpus: int, cpu_ratio: float, memory_mb: int, reserved_memory_mb: int,
                ram_ratio: float, local_gb: int, reserved_disk_gb: int,
                disk_ratio: float) -> tuple[int, int, int]:
    """Return (vcpus, MiB, GiB) that may be placed on a host in all."""
    return (int(vcpus * cpu_ratio), int((memory_mb - reserved_memory_mb) * ram_ratio),
            int((local_gb - reserved_disk_gb) * disk_ratio))


@retry
def hypervisors_of(hosts: Collection[str]) -> dict[str, str]:
    """Return ``{host: name of its hypervisor}`` of those hosts that have one."""
    with reader() as session:
        return {host: name for host, name in session.execute(
            select(ComputeNode.host, ComputeNode.hypervisor_hostname).where(
                ComputeNode.host.in_(list(hosts))))}


@retry
def get(host: str) -> ComputeNode:
    """Return the hypervisor of a host or raise HostNotFound."""
    with reader() as session:
        row = session.scalars(select(ComputeNode).where(ComputeNode.host == host)).one_or_none()
    if row is None:
        raise HostNotFound(host=host)
    return row


@retry
def get_by_id(node_id: str) -> ComputeNode:
    """Return the hypervisor with this id or raise HostNotFound."""
    with reader() as session:
        row = session.get(ComputeNode, node_id)
    if row is None:
        raise HostNotFound(host=node_id)
    return row


@retry
def remove(host: str) -> bool:
    """Forget a hypervisor; False when there was none."""
    with writer() as session:
        row = session.scalars(select(ComputeNode).where(ComputeNode.host == host)).one_or_none()
        if row is not None:
            session.delete(row)
        return row is not None
