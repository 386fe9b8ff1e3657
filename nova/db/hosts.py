# SPDX-License-Identifier: Apache-2.0
"""What the scheduler reads of all hosts for one decision, as lean as it can be."""

import datetime
from typing import NamedTuple

from sqlalchemy import Integer, and_, cast, not_, select

from nova.db.models import ComputeNode, Service, utcnow
from nova.db.session import reader, retry


class Offer(NamedTuple):
    """What a host offers and whether its worker is there.

    ``memory_mb`` and ``local_gb`` are less reserves; ratios are not yet in.  ``zone`` None: its
    worker has never registered; ``up`` and ``disabled`` are then None as well.
    """

    host: str
    hypervisor_type: str
    hypervisor_version: int
    cpu_arch: str | None
    vcpus: int
    cpu_ratio: float
    memory_mb: int
    ram_ratio: float
    local_gb: int
    disk_ratio: float
    zone: str | None
    disabled: bool | None
    up: int | None


@retry
def offers(down_after: float) -> list[Offer]:
    """Return every hypervisor, ordered by host; up if heard of within ``down_after`` seconds.

    A thousand hosts are read for each decision of a scheduler.  What the driver does for each
    field of each row is most of what a decision costs: so no reserve is read beside what it is
    taken from, and no time that would have to be parsed.

    What the instances take is :func:`nova.db.instances.usage_by_host`: joined into this query
    it costs MariaDB five times as long as two queries do (10,000 instances on 500 hosts: the
    sums' rows cannot be indexed by a host's name, so they are looked through for each host).
    """
    up = and_(not_(Service.forced_down), Service.last_seen_up.is_not(None),
              Service.last_seen_up >= utcnow() - datetime.timedelta(seconds=down_after))
    query = select(
        ComputeNode.host, ComputeNode.hypervisor_type, ComputeNode.hypervisor_version,
        ComputeNode.cpu_info["arch"].as_string(),
        ComputeNode.vcpus, ComputeNode.cpu_allocation_ratio,
        ComputeNode.memory_mb - ComputeNode.reserved_memory_mb, ComputeNode.ram_allocation_ratio,
        ComputeNode.local_gb - ComputeNode.reserved_disk_gb, ComputeNode.disk_allocation_ratio,
        Service.availability_zone, Service.disabled, cast(up, Integer),
    ).outerjoin(Service, and_(Service.host == ComputeNode.host, Service.topic == "compute"))
    with reader() as session:
        rows = session.execute(query.order_by(ComputeNode.host)).all()
    return [Offer(*row) for row in rows]
