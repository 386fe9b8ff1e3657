# SPDX-License-Identifier: Apache-2.0
"""Rows of volume hosts: what each has room for, and claims on it."""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from nova.db import reports
from nova.db.session import affected, reader, retry
from nova.db.volume_models import Volume, VolumeHost, VolumeSnapshot
from nova.exception import ClaimFailed, VolumeHostNotFound


def report(host: str, **values: Any) -> VolumeHost:
    """Write down what a host has room for; a row that says the same already is left alone."""
    return reports.report(VolumeHost, host, values)


@retry
def get_all() -> list[VolumeHost]:
    """Return every volume host, ordered by name."""
    with reader() as session:
        return list(session.scalars(select(VolumeHost).order_by(VolumeHost.host)))


def capacity(row: VolumeHost) -> int:
    """Return the GiB that may be placed on a host in all."""
    return int((row.total_gb - row.reserved_gb) * row.allocation_ratio)


@retry
def claimed_by_host() -> dict[str, int]:
    """Return the GiB that volumes and snapshots may take on each host; not those without any."""
    found: dict[str, int] = {}
    with reader() as session:
        for host, size in ((Volume.host, Volume.claimed_gb),
                           (VolumeSnapshot.host, VolumeSnapshot.size_gb)):
            for name, total in session.execute(
                    select(host, func.sum(size)).where(host.is_not(None)).group_by(host)):
                found[str(name)] = found.get(str(name), 0) + int(total)
    return found


def claim(session: Session, host: str, more_gb: int) -> None:
    """Make sure, until the transaction ends, that a host has room for ``more_gb`` GiB more.

    It writes the host's ``generation`` first: claims on one host follow each other, so what is
    counted then is what is there.  Must come before any row of a volume is locked.  ClaimFailed
    when there is no room, VolumeHostNotFound when there is no such host.
    """
    if not affected(session, update(VolumeHost).where(VolumeHost.host == host).values(
            generation=VolumeHost.generation + 1)):
        raise VolumeHostNotFound(host=host)
    row = session.scalars(select(VolumeHost).where(VolumeHost.host == host)).one()
    taken = sum(int(session.scalar(query) or 0) for query in (
        select(func.sum(Volume.claimed_gb)).where(Volume.host == host),
        select(func.sum(VolumeSnapshot.size_gb)).where(VolumeSnapshot.host == host)))
    free = capacity(row) - taken
    if more_gb > free:
        raise ClaimFailed(host=host, resource="gigabytes", requested=more_gb, free=max(0, free))
