# SPDX-License-Identifier: Apache-2.0
"""The end of a task that fails in ways nobody expected, every time it is tried."""

import logging

from nova.compute.states import VmState
from nova.db import instances
from nova.exception import InstanceNotFound, InvalidState

LOG = logging.getLogger(__name__)

GIVEN_UP = "It failed unexpectedly, as often as it was tried."


def give_up(instance_id: str, host: str | None, reason: str) -> None:
    """Put an instance whose task breaks whoever does it into ERROR.

    Nothing of it is removed: it keeps its host, and its deletion starts afresh.  ``reason`` is
    the operator's.
    """
    try:
        row = instances.get(instance_id)
        if row.task_state is None or row.host != host:
            return
        instances.add_fault(row.id, 500, GIVEN_UP, details=reason, host=host)
        instances.transition(
            row.id, from_task=row.task_state, from_host=host, vm_state=VmState.ERROR,
            task_state=None, error=GIVEN_UP, detail=reason)
    except (InvalidState, InstanceNotFound) as error:
        LOG.info("Task of %s is not given up: %s", instance_id, error)
        return
    LOG.error("Task %s of %s is given up: %s", row.task_state, row.id, reason)
