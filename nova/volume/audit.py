# SPDX-License-Identifier: Apache-2.0
"""Files and targets of a host against the rows of its volumes, and the rows against each other."""

from collections.abc import Iterator
from functools import partial

from nova import config
from nova.audit import Finding, lasting
from nova.db import (
    instances,
    services,
    volume_attachments,
    volume_exports,
    volume_snapshots,
    volumes,
)
from nova.db.models import utcnow
from nova.exception import NotSupported
from nova.volume.driver import Disk, Problem, VolumeDriver, load_driver
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS, SnapshotStatus, VolumeStatus

CONF = config.CONF

# What a volume in another status has for sure.
_MADE = frozenset(VolumeStatus) - {
    VolumeStatus.CREATING, VolumeStatus.DELETING, VolumeStatus.ERROR,
    VolumeStatus.ERROR_DELETING, VolumeStatus.EXTENDING, VolumeStatus.ERROR_EXTENDING}


def check(host: str, repair: bool, driver: VolumeDriver | None = None) -> Iterator[Finding]:
    """Yield what did not fit at two looks, and rows nobody takes care of.

    ``repair`` removes targets of volumes nobody may reach; a file may be somebody's data and is
    left alone.  Nothing is looked at where no volume worker has ever been.
    """
    yield from _rows()
    if not services.get_all(host=host, topic="volume"):
        return
    if driver is None and host != CONF.host:
        raise NotSupported(what=f"Looking at the volumes of {host} from {CONF.host}")
    driver = driver or load_driver(host)
    for one in lasting(partial(problems, host, driver)):
        repaired = False
        if repair and one.kind == "volume-target" and one.problem == "has no row":
            driver.remove_stray_export(one.thing[-36:])
            repaired = True
        yield Finding("volumes", one.kind, one.thing, one.problem, repaired)


def problems(host: str, driver: VolumeDriver) -> list[Problem]:
    """Return what does not fit on a host, looked at once."""
    rows = volumes.get_all({"host": host})
    snapshots = volume_snapshots.get_all({"host": host})
    made = [Disk(row.id, row.format, row.size_gb) for row in rows
            if row.status in _MADE and row.format]
    kept = [Disk(row.id, row.format, row.size_gb, True) for row in snapshots
            if row.status == SnapshotStatus.AVAILABLE and row.format]
    known = {disk.id for disk in (*made, *kept)}
    in_between = {row.id for row in rows} | {row.id for row in snapshots}
    return driver.audit(made, kept, in_between - known,
                        {row.volume_id for row in volume_exports.get_of_host(host)})


def _rows() -> Iterator[Finding]:
    """Rows that are in between for too long, on no host, or of an instance there is not."""
    now = utcnow()
    for kind, found, tasks in (
            ("volume", volumes.overdue(list(VOLUME_TASKS), limit=1000), VOLUME_TASKS),
            ("snapshot", volume_snapshots.overdue(list(SNAPSHOT_TASKS), limit=1000),
             SNAPSHOT_TASKS)):
        for row in found:
            late = (now - (row.deadline or now)).total_seconds()
            if late > tasks[row.status].deadline:   # type: ignore[index]
                yield Finding("volumes", kind, row.id,
                              f"has been {row.status} {late:.0f} s past its deadline")
    hosts = {row.host for row in services.get_all(topic="volume")}
    marker = None
    while page := volumes.get_all(marker=marker, limit=500):
        marker = page[-1].id
        for row in page:
            if row.host is not None and row.host not in hosts:
                yield Finding("volumes", "volume", row.id,
                              f"is on {row.host}, which is no volume host")
            elif row.host is None and row.status in _MADE:
                yield Finding("volumes", "volume", row.id, f"is {row.status} on no host")
    attachments = volume_attachments.get_all()
    alive = instances.get_many({one.instance_id for one in attachments})
    for one in attachments:
        if one.instance_id not in alive:
            yield Finding("volumes", "attachment", one.volume_id,
                          f"is {one.status} to instance {one.instance_id}, which is gone")
