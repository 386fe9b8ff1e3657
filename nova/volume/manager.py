# SPDX-License-Identifier: Apache-2.0
"""The volume worker: what the row of a volume or snapshot says is to be done, it does.

Every message about one comes down to :meth:`VolumeManager.advance` (or ``advance_snapshot``):
hold it, read its row, do the work its status names.  So it does not matter how often a message
comes, or whether it comes at all: the reconciler calls the same.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oslo_config import cfg

from nova import rpc
from nova.audit import on_this_host
from nova.compute.locks import InstanceLocks
from nova.context import RequestContext
from nova.db import volume_hosts, volume_snapshots, volumes
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.exception import NovaError, SnapshotNotFound, VolumeBackendError, VolumeNotFound
from nova.image import api as image_api
from nova.scheduler.methods import METHODS as SCHEDULER_METHODS
from nova.volume import audit
from nova.volume.connections import Connections, connector_of
from nova.volume.creation import Creation
from nova.volume.driver import VolumeDriver, load_driver
from nova.volume.giving_up import give_up_snapshot, give_up_volume
from nova.volume.reconciler import Reconciler
from nova.volume.removal import Removal
from nova.volume.states import SnapshotStatus, VolumeStatus
from nova.volume.worker import LATER, Worker

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.IntOpt("reconcile_interval", default=20, min=1,
               help="Seconds between two comparisons of rows with files, targets and instances."),
    cfg.IntOpt("report_interval", default=60, min=1,
               help="Seconds between two reports of the room there is for volumes."),
    cfg.IntOpt("reserved_gb", default=1, min=0,
               help="GiB of its file system that no volume may take."),
    cfg.FloatOpt("allocation_ratio", default=1.0, min=0.0,
                 help="GiB of volumes placed on this host per GiB there is room for; volumes "
                      "take what is written to them only."),
]
CONF = cfg.CONF
CONF.import_opt("message_patience", "nova.config")
CONF.register_opts(OPTIONS, "volume")


class VolumeManager:
    """The endpoint of topic ``volume`` on one host."""

    def __init__(self, host: str, *, driver: VolumeDriver | None = None, images: Any = None,
                 scheduler: Any = None) -> None:
        self.host = host
        self.worker = Worker(
            host=host, driver=driver or load_driver(host), images=images or image_api.API(),
            scheduler=scheduler or rpc.Client(SCHEDULER_METHODS))
        self.locks = InstanceLocks()
        self.connections = Connections(self.worker)
        self.reconciler = Reconciler(
            self.worker, self.advance, self.advance_snapshot, self.locks)
        creation, removal = Creation(self.worker), Removal(self.worker)
        self._tasks: dict[VolumeStatus, Callable[[RequestContext, Volume], None]] = {
            VolumeStatus.CREATING: creation.create_volume,
            VolumeStatus.EXTENDING: creation.extend_volume,
            VolumeStatus.DELETING: removal.delete_volume,
        }
        self._snapshot_tasks: dict[
            SnapshotStatus, Callable[[RequestContext, VolumeSnapshot], None]] = {
                SnapshotStatus.CREATING: creation.create_snapshot,
                SnapshotStatus.DELETING: removal.delete_snapshot,
        }
        self._ready = self._recovered = False
        self._answers = True
        self._recovery = threading.Thread()
        self._starting = threading.Lock()

    # -- the service's side ------------------------------------------------------------------

    def start(self) -> None:
        """Get the back end ready and, in the background, take up what was left undone.

        A back end that does not answer yet is asked again each period; until then nothing is
        done to any volume and there is no heartbeat.
        """
        try:
            self._prepare()
        except VolumeBackendError as error:
            LOG.error("Volumes cannot be served yet: %s", error)

    def _prepare(self) -> None:
        with self._starting:
            if self._ready:
                return
            self.worker.driver.init_host()
            self._ready = True
            self.report()
            self._recovery = threading.Thread(
                target=self.recover, daemon=True, name="volume-recover")
        self._recovery.start()

    def recover(self) -> None:
        """Take up everything an earlier process left; when it fails, the next period does it."""
        try:
            self.reconciler.recover()
            self._recovered = True
        except NovaError as error:
            LOG.error("Recovery is not complete: %s", error)
        except Exception:  # a thread's end: nobody else would say what happened
            LOG.exception("Recovery failed")

    def periodic_tasks(self) -> list[tuple[str, float, Callable[[], Any]]]:
        """Return (name, seconds, function) of what is to be done again and again."""
        return [("reconcile", CONF.volume.reconcile_interval, self.reconcile),
                ("take-up", CONF.message_patience, self.take_up),
                ("report", CONF.volume.report_interval, self.report)]

    def hypervisor_up(self) -> bool:
        """Tell whether the back end answered when it was last asked; else the service is down."""
        return self._ready and self._answers

    def reconcile(self) -> None:
        """Compare rows with what is there once."""
        if not self._ready:
            self._prepare()
            return
        try:
            if self._recovered or self._recovery.is_alive():
                self.reconciler.once()
            else:
                self.recover()
            self.worker.driver.exported()
        except VolumeBackendError:
            self._answers = False
            raise
        self._answers = True

    def take_up(self) -> None:
        """Do what rows have asked for a while and no message has told us to."""
        if self._ready and self._recovered:
            self.reconciler.take_up(CONF.message_patience)

    def report(self) -> None:
        """Write down what there is room for; nothing is written when nothing changed."""
        if not self._ready:
            return
        room, driver = self.worker.driver.capacity(), self.worker.driver
        volume_hosts.report(
            self.host, driver=driver.protocol,
            backend_name=CONF.volume.backend_name or driver.protocol,
            total_gb=room.total_gb, free_gb=room.free_gb, reserved_gb=CONF.volume.reserved_gb,
            allocation_ratio=CONF.volume.allocation_ratio)

    # -- one volume --------------------------------------------------------------------------

    def advance(self, context: RequestContext, volume_id: str) -> None:
        """Do the work a volume's status names; nothing when it is gone, ready, or not ours."""
        with self.locks.hold(volume_id):
            row = self._mine(volumes.get, volume_id)
            if row is None:
                return
            do = self._tasks.get(VolumeStatus(row.status))
            if do is not None:
                self._do(do, context, row)

    def advance_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Do the work a snapshot's status names."""
        with self.locks.hold(snapshot_id):
            row = self._mine(volume_snapshots.get, snapshot_id)
            if row is None:
                return
            do = self._snapshot_tasks.get(SnapshotStatus(row.status))
            if do is not None:
                self._do(do, context, row)

    def _mine(self, get: Callable[[str], Any], thing_id: str) -> Any:
        if not self._ready:
            LOG.warning("%s waits for the volume driver", thing_id)
            return None
        self.worker.again.discard(thing_id)
        try:
            row = get(thing_id)
        except (VolumeNotFound, SnapshotNotFound):
            LOG.info("%s is gone", thing_id)
            return None
        if row.host != self.host:
            LOG.info("%s is on %s, not here", thing_id, row.host or "no host")
            return None
        return row

    def _do(self, do: Callable[[RequestContext, Any], None], context: RequestContext,
            row: Any) -> None:
        try:
            do(context, row)
        except LATER as error:
            LOG.warning("%s stays %s for now: %s", row.id, row.status, error)
            self.worker.again.add(row.id)

    def create_volume(self, context: RequestContext, volume_id: str) -> None:
        """Make a volume claimed for this host."""
        self.advance(context, volume_id)

    def delete_volume(self, context: RequestContext, volume_id: str) -> None:
        """Remove a volume; whoever fills it with bytes stops."""
        with self._unwanted(volume_id):
            self.advance(context, volume_id)

    def extend_volume(self, context: RequestContext, volume_id: str) -> None:
        """Make a volume larger."""
        self.advance(context, volume_id)

    def create_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Copy a volume as it is now."""
        self.advance_snapshot(context, snapshot_id)

    def delete_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Remove a snapshot; one that is being made stops."""
        with self._unwanted(snapshot_id):
            self.advance_snapshot(context, snapshot_id)

    @contextmanager
    def _unwanted(self, thing_id: str) -> Iterator[None]:
        self.worker.unwanted.add(thing_id)
        try:
            yield
        finally:
            self.worker.unwanted.discard(thing_id)

    def message_parked(self, context: RequestContext, method: str, args: Mapping[str, Any],
                       reason: str) -> None:
        """Give up the work a message was about that no worker survives: error, with a fault."""
        for name, give_up in (("volume_id", give_up_volume), ("snapshot_id", give_up_snapshot)):
            if name in args:
                give_up(args[name], self.host, f"{method}: {reason}")

    # -- being reached -----------------------------------------------------------------------

    def initialize_connection(self, context: RequestContext, volume_id: str,
                              connector: Mapping[str, Any]) -> dict[str, Any]:
        """Let a host reach a volume that is being attached there; the answer has a secret."""
        self._check_ready()
        with self.locks.hold(volume_id):
            return self.connections.initialize(volume_id, connector_of(connector)).to_dict()

    def terminate_connection(self, context: RequestContext, volume_id: str,
                             connector: Mapping[str, Any]) -> None:
        """End every way to a volume."""
        self._check_ready()
        with self.locks.hold(volume_id):
            self.connections.terminate(volume_id, connector_of(connector))

    def audit_host(self, context: RequestContext, repair: bool) -> list[dict[str, Any]]:
        """Compare this host with its rows; ``repair`` removes targets nobody may reach."""
        return on_this_host(audit.check(self.host, repair, self.worker.driver))

    def _check_ready(self) -> None:
        if not self._ready:
            raise VolumeBackendError(action="get ready", reason="it has not answered yet")
