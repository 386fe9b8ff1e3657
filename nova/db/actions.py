# SPDX-License-Identifier: Apache-2.0
"""Lines of the log of actions whose end nobody wrote down: their worker died right before."""

import datetime

from sqlalchemy import or_, select, update

from nova.db.models import Instance, InstanceAction, InstanceFault, utcnow
from nova.db.session import reader, retry, writer

WINDOW = datetime.timedelta(days=1)     # what is older stays as it is: no scan of the whole log


@retry
def finish_forgotten(older_than: float) -> int:
    """Finish actions begun ``older_than`` seconds ago on instances nothing is being done to.

    What is in ERROR now ended with its last fault, the others ended well.  Returns how many.
    """
    now = utcnow()
    query = select(InstanceAction.id, Instance.id, Instance.vm_state).outerjoin(
        Instance, Instance.id == InstanceAction.instance_id).where(
        InstanceAction.finished_at.is_(None),
        InstanceAction.started_at > now - WINDOW - datetime.timedelta(seconds=older_than),
        InstanceAction.started_at <= now - datetime.timedelta(seconds=older_than),
        or_(Instance.id.is_(None), Instance.task_state.is_(None))).limit(500)
    with reader() as session:
        found = session.execute(query).all()
        messages = {}
        for action_id, instance_id, vm_state in found:
            messages[action_id] = None if vm_state != "error" else session.scalar(
                select(InstanceFault.message).where(InstanceFault.instance_id == instance_id)
                .order_by(InstanceFault.id.desc()).limit(1))
    if messages:
        with writer() as session:
            for action_id, message in messages.items():
                session.execute(
                    update(InstanceAction).where(
                        InstanceAction.id == action_id, InstanceAction.finished_at.is_(None),
                    ).values(finished_at=now, message=message),
                    execution_options={"synchronize_session": False})
    return len(messages)
