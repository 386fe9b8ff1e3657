# SPDX-License-Identifier: Apache-2.0
"""Rows against files, targets and instances: at the start, and from then on.

Work of ours that is past its deadline is done again, and given up when process after process ends
in it or it breaks this one; a volume whose instance is gone is let go; a target that tgtd has
forgotten is made again, and one that no row knows is removed.
"""

import datetime
import logging
import threading
from collections.abc import Callable

from oslo_config import cfg

from nova.compute.locks import InstanceLocks
from nova.context import RequestContext, admin_context
from nova.db import (
    instances,
    volume_attachments,
    volume_exports,
    volume_snapshots,
    volumes,
)
from nova.db.models import utcnow
from nova.db.volume_models import Volume, VolumeAttachment, VolumeSnapshot
from nova.exception import NovaError
from nova.volume.giving_up import give_up_snapshot, give_up_volume
from nova.volume.states import (
    SNAPSHOT_TASKS,
    VOLUME_TASKS,
    AttachStatus,
    Desired,
    Recovery,
    VolumeStatus,
)
from nova.volume.worker import Worker, context_of, disk_of, export_of

LOG = logging.getLogger(__name__)
CONF = cfg.CONF
CONF.import_opt("max_deliveries", "nova.rpc.broker", group="rpc")

RENEWED_BEFORE = datetime.timedelta(seconds=60)
"""How long before its end the deadline of work in hand is put off: large copies take hours."""

Advance = Callable[[RequestContext, str], None]

OURS = [status for status, task in VOLUME_TASKS.items() if task.recovery is Recovery.RESUME]
COMPUTES = [status for status, task in VOLUME_TASKS.items() if task.recovery is Recovery.RELEASE]


class Reconciler:
    """Reconciles one host; ``advance`` and ``advance_snapshot`` do the work a row is in."""

    def __init__(self, worker: Worker, advance: Advance, advance_snapshot: Advance,
                 locks: InstanceLocks) -> None:
        self.worker = worker
        self.advance = advance
        self.advance_snapshot = advance_snapshot
        self.busy, self.try_hold = locks.held, locks.try_hold

    def recover(self) -> None:
        """Take up everything an earlier process of ours left; called once, at the start."""
        self.exports()
        self._resume(everything=True)
        self._release()

    def once(self) -> None:
        """Take up what is past its deadline or has to be tried again; correct what has changed."""
        self.exports()
        self._resume(everything=False)
        self._release()

    def take_up(self, seconds: float) -> None:
        """Begin the work that was begun so long ago and that nobody here is at."""
        found: list[tuple[Advance, Volume | VolumeSnapshot]] = [
            *((self.advance, row) for row in volumes.overdue(
                OURS, host=self.worker.host, begun=seconds)),
            *((self.advance_snapshot, row) for row in volume_snapshots.overdue(
                list(SNAPSHOT_TASKS), host=self.worker.host, begun=seconds))]
        now = utcnow()
        for advance, row in found:
            if not self.busy(row.id):
                LOG.info("%s is %s and begun without a message", row.id, row.status)
                late = row.deadline is None or row.deadline < now
                threading.Thread(
                    target=self._safely, args=(row.id, self._take_up, advance, row, False, late),
                    daemon=True, name="volume-take-up").start()

    # -- work of ours ------------------------------------------------------------------------

    def _resume(self, everything: bool) -> None:
        found: list[tuple[Advance, Volume | VolumeSnapshot]] = [
            *((self.advance, row) for row in volumes.get_all(
                {"host": self.worker.host, "status": OURS}, sort=(("created_at", "asc"),))),
            *((self.advance_snapshot, row) for row in volume_snapshots.get_all(
                {"host": self.worker.host, "status": list(SNAPSHOT_TASKS)},
                sort=(("created_at", "asc"),)))]
        now = utcnow()
        for advance, row in found:
            late = row.deadline is None or row.deadline < now
            if self.busy(row.id):
                if row.deadline is not None and row.deadline < now + RENEWED_BEFORE:
                    self._safely(row.id, _renew, row)
                continue
            if not (everything or late or row.id in self.worker.again):
                continue
            LOG.info("%s is %s and taken up again", row.id, row.status)
            self._safely(row.id, self._take_up, advance, row, everything, late)

    def _take_up(self, advance: Advance, row: Volume | VolumeSnapshot, after_death: bool,
                 late: bool) -> None:
        """Do the work of a row again, unless that is what processes die of or breaks this one."""
        rows, give_up = (volumes, give_up_volume) if isinstance(row, Volume) \
            else (volume_snapshots, give_up_snapshot)
        if after_death and (deaths := rows.note_death(row.id)) > CONF.rpc.max_deliveries:
            give_up(row.id, self.worker.host, f"{deaths - 1} workers died of it")
            return
        try:
            advance(context_of(row), row.id)
        except NovaError:
            raise
        except Exception as error:      # what nobody expected may be over by the deadline
            if not late:
                raise
            LOG.exception("%s cannot be taken up", row.id)
            give_up(row.id, self.worker.host, f"{type(error).__name__}: {error}")

    @staticmethod
    def _safely(thing: str, function: Callable[..., None], *args: object) -> None:
        try:
            function(*args)
        except NovaError as error:
            LOG.error("%s is left as it is: %s", thing, error)
        except Exception:  # one broken row must not keep the others from being looked at
            LOG.exception("%s cannot be reconciled", thing)

    # -- volumes of instances that are gone --------------------------------------------------

    def _release(self) -> None:
        """Let go of volumes whose instance is gone; while it is there, its host is in charge."""
        rows = {row.id: row for row in volumes.get_all(
            {"host": self.worker.host, "status": [*COMPUTES, VolumeStatus.IN_USE]})}
        attachments = volume_attachments.get_of_volumes(list(rows))
        alive = instances.get_many({one.instance_id for one in attachments.values()})
        now = utcnow()
        for attachment in attachments.values():
            row = rows[attachment.volume_id]
            # A reservation may come before its instance's row.
            early = row.deadline is not None and row.deadline >= now
            if attachment.instance_id not in alive and not early:
                LOG.warning("Volume %s is let go: instance %s is gone", row.id,
                            attachment.instance_id)
                self._safely(row.id, self._let_go, attachment)

    def _let_go(self, attachment: VolumeAttachment) -> None:
        if attachment.status == AttachStatus.RESERVED:
            volume_attachments.undo_reserve(attachment.id)
        else:
            volume_attachments.begin_detach(attachment.id)
            self.worker.unexport(attachment.volume_id)
            volume_attachments.finish_detach(attachment.id)
        if attachment.delete_on_termination:
            volumes.begin_delete(attachment.volume_id, desired=Desired.DELETED)
            self.advance(admin_context(), attachment.volume_id)

    # -- targets -----------------------------------------------------------------------------

    def exports(self) -> None:
        """Make targets that rows expect and are missing, remove those that no row knows."""
        if not self.worker.driver.exports:
            return
        # Targets first: a row comes before its target, so what has none by now has none.
        there = self.worker.driver.exported()
        rows = {row.volume_id for row in volume_exports.get_of_host(self.worker.host)}
        for volume_id in rows:
            if not there.get(volume_id):
                self._safely(volume_id, self._export, volume_id)
        for volume_id in there.keys() - rows:
            if volume_exports.get(volume_id) is None:
                LOG.warning("Target of volume %s has no row: it is removed", volume_id)
                self._safely(volume_id, self.worker.driver.remove_stray_export, volume_id)

    def _export(self, volume_id: str) -> None:
        """Make a target, unless the volume is busy, or no longer exported now that it is held."""
        with self.try_hold(volume_id) as held:
            row = volume_exports.get(volume_id) if held else None
            if row is not None:
                LOG.warning("Target of volume %s is gone: it is made again", volume_id)
                self.worker.driver.ensure_export(disk_of(volumes.get(volume_id)), export_of(row))


def _renew(row: Volume | VolumeSnapshot) -> None:
    """Put off the deadline of a row somebody here is working on."""
    if isinstance(row, Volume):
        volumes.transition(row.id, from_status=row.status, from_host=row.host, verb="renew",
                           status=row.status, deaths=row.deaths)
    else:
        volume_snapshots.transition(row.id, from_status=row.status, verb="renew",
                                    status=row.status, deaths=row.deaths)
