# SPDX-License-Identifier: Apache-2.0
"""Deleting an instance: its things first, its row last."""

import logging

from nova.compute.states import TaskState
from nova.compute.volumes import InstanceVolumes
from nova.compute.worker import Worker
from nova.context import RequestContext
from nova.db import instances
from nova.db.models import Instance
from nova.exception import InvalidState, NovaError

LOG = logging.getLogger(__name__)


class Removal:
    """Removes instances of this host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.volumes = InstanceVolumes(worker)

    def terminate(self, context: RequestContext, row: Instance) -> None:
        """Finish DELETING.

        Whatever fails leaves the row as it is, so that the reconciler tries again: an instance
        is not gone before its guest, disks, taps and addresses are, and its volumes are free.
        """
        try:
            self.worker.driver.destroy(row.id, self.worker.vifs(context, row.id))
            self.volumes.remove(context, row)
            self.worker.network.deallocate_for_instance(context, row.id, self.worker.host)
        except NovaError as error:
            LOG.error("Instance %s cannot be removed yet: %s", row.id, error)
            self.worker.again.add(row.id)
            return
        try:
            instances.delete_row(row.id, from_task=TaskState.DELETING, from_host=self.worker.host)
        except InvalidState as error:
            LOG.info("Instance %s is not removed: %s", row.id, error)
            return
        self.worker.unwanted.discard(row.id)
        LOG.info("Instance %s is removed", row.id)
