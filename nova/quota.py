# SPDX-License-Identifier: Apache-2.0
"""What a project may have: limits from the options and the ``quotas`` table, usage from rows.

Whoever makes something that counts hands :func:`guard` to its own transaction.  There it locks
the project, counts and compares; two creates of one project follow each other that way, on every
database, so N of them in parallel never get more than the limit.
"""

from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg
from sqlalchemy import Select, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db import quotas
from nova.db.models import (
    FloatingIp,
    Instance,
    Network,
    Port,
    ProjectLock,
    SecurityGroup,
    SecurityGroupRule,
)
from nova.db.session import affected, reader, retry
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.exception import OverQuota

UNLIMITED = -1


def _limit(name: str, default: int, what: str) -> cfg.IntOpt:
    return cfg.IntOpt(name, default=default, min=-1,
                      help=f"{what}, unless it was given a limit of its own; -1 is no limit.")


OPTS = [
    _limit("instances", 10, "Servers a project may have"),
    _limit("cores", 20, "Virtual CPUs a project's servers may have in all"),
    _limit("ram", 50 * 1024, "MiB of memory a project's servers may have in all"),
    _limit("metadata_items", 128, "Metadata items a server or image may have"),
    _limit("key_pairs", 100, "Key pairs a user may have"),
    _limit("floating_ips", 50, "Floating IP addresses a project may have"),
    _limit("networks", 100, "Networks a project may have"),
    _limit("ports", 500, "Ports a project may have"),
    _limit("volumes", 10, "Volumes a project may have"),
    _limit("snapshots", 10, "Snapshots of volumes a project may have"),
    _limit("gigabytes", 1000, "GiB a project's volumes and snapshots may have in all"),
    _limit("security_groups", 10, "Security groups a project may have"),
    _limit("security_group_rules", 100, "Security-group rules a project may have"),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "quota")

# resource -> how a project's use of it is counted.  The others have limits that are compared
# with the size of one thing: see check_count().
_COUNTED: dict[str, Callable[[str], Select[Any]]] = {
    "instances": lambda p: select(func.count(Instance.id)).where(Instance.project_id == p),
    "cores": lambda p: select(func.coalesce(func.sum(Instance.vcpus), 0)).where(
        Instance.project_id == p),
    "ram": lambda p: select(func.coalesce(func.sum(Instance.memory_mb), 0)).where(
        Instance.project_id == p),
    "floating_ips": lambda p: select(func.count(FloatingIp.id)).where(FloatingIp.project_id == p),
    "volumes": lambda p: select(func.count(Volume.id)).where(Volume.project_id == p),
    "snapshots": lambda p: select(func.count(VolumeSnapshot.id)).where(
        VolumeSnapshot.project_id == p),
    "gigabytes": lambda p: select(
        select(func.coalesce(func.sum(Volume.claimed_gb), 0)).where(
            Volume.project_id == p).scalar_subquery()
        + select(func.coalesce(func.sum(VolumeSnapshot.size_gb), 0)).where(
            VolumeSnapshot.project_id == p).scalar_subquery()),
    "networks": lambda p: select(func.count(Network.id)).where(Network.project_id == p),
    "ports": lambda p: select(func.count(Port.id)).where(Port.project_id == p),
    "security_groups": lambda p: select(func.count(SecurityGroup.id)).where(
        SecurityGroup.project_id == p),
    "security_group_rules": lambda p: select(func.count(SecurityGroupRule.id)).where(
        SecurityGroupRule.project_id == p),
}


def defaults() -> dict[str, int]:
    """Return the limits of a project that has none of its own, by resource."""
    return {option.name: CONF.quota[option.name] for option in OPTS}


def limits(project_id: str) -> dict[str, int]:
    """Return every limit of a project by resource; -1 is no limit."""
    return {**defaults(), **_known(quotas.limits_of(project_id))}


def _known(own: Mapping[str, int]) -> dict[str, int]:
    return {name: limit for name, limit in own.items() if name in CONF.quota}


@retry
def usage(project_id: str) -> dict[str, int]:
    """Return what a project uses of each resource that is counted."""
    with reader() as session:
        return {name: int(session.scalar(count(project_id)) or 0)
                for name, count in _COUNTED.items()}


def guard(project_id: str, delta: Mapping[str, int]) -> Callable[[Session], None]:
    """Return what a creating transaction calls before it adds ``delta``.

    It raises OverQuota, and else keeps every other create of the project waiting until the
    transaction ends.  It must be the first thing that the transaction does.
    """
    if unknown := delta.keys() - _COUNTED.keys():
        raise ValueError(f"{sorted(unknown)} are not counted")

    def check(session: Session) -> None:
        lock_project(session, project_id)
        allowed = {**defaults(), **_known(quotas.limits_in(session, project_id))}
        for name, requested in delta.items():
            limit = allowed[name]
            if limit == UNLIMITED or requested <= 0:
                continue
            used = int(session.scalar(_COUNTED[name](project_id)) or 0)
            if used + requested > limit:
                raise OverQuota(resource=name, requested=requested, used=used, limit=limit)

    return check


def lock_project(session: Session, project_id: str) -> None:
    """Make other transactions that do this for the project wait until this one ends."""
    statement = update(ProjectLock).where(ProjectLock.project_id == project_id).values(
        generation=ProjectLock.generation + 1)
    if affected(session, statement):
        return
    try:
        with session.begin_nested():
            session.add(ProjectLock(project_id=project_id, generation=0))
    except IntegrityError:      # somebody else made it just now, and has ended
        affected(session, statement)


def headroom(project_id: str, unit: Mapping[str, int]) -> int:
    """Return how many times ``unit`` could still be had; a large number without any limit.

    Advice only: nothing is reserved.
    """
    allowed, used = limits(project_id), usage(project_id)
    fits = [max(0, allowed[name] - used[name]) // amount
            for name, amount in unit.items() if amount > 0 and allowed[name] != UNLIMITED]
    return min(fits, default=1_000_000)


def check_count(resource: str, count: int, limit: int) -> None:
    """Raise OverQuota when one thing has more of something than it may."""
    if limit != UNLIMITED and count > limit:
        raise OverQuota(resource=resource, requested=count, used=0, limit=limit)
