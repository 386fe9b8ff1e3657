# SPDX-License-Identifier: Apache-2.0
"""Rows of hypervisors: what each host offers, as its compute worker last said."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from nova.db import reports
from nova.db.models import ComputeNode
from nova.db.session import reader, retry, writer
from nova.exception import HostNotFound


def report(host: str, **values: Any) -> ComputeNode:
    """Write down what a host offers; a row that says the same already is left alone."""
    return reports.report(ComputeNode, host, values)


@retry
def get_all() -> list[ComputeNode]:
    """Return every hypervisor, ordered by host."""
    with reader() as session:
        return list(session.scalars(select(ComputeNode).order_by(ComputeNode.host)))


def capacity_of(vcpus: int, cpu_ratio: float, memory_mb: int, ram_ratio: float,
                local_gb: int, disk_ratio: float) -> tuple[int, int, int]:
    """Return (vcpus, MiB, GiB) that may be placed on a host in all; sizes are less reserves."""
    return int(vcpus * cpu_ratio), int(memory_mb * ram_ratio), int(local_gb * disk_ratio)


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
