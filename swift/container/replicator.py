# SPDX-License-Identifier: Apache-2.0
"""The container replicator."""
from swift.common.db import Broker, Row
from swift.common.db_replicator import DbReplicator
from swift.common.timestamp import Timestamp
from swift.container.backend import DATADIR, ContainerBroker


class ContainerReplicator(DbReplicator):
    """Brings all replicas of every container of this node into step."""

    section = "container-replicator"
    broker_class = ContainerBroker
    datadir = DATADIR
    kind = "container"
    default_port = 6201
    more_sync_args = ("status_changed_at", "count", "storage_policy_index")

    def after_answer(self, broker: Broker, theirs: Row) -> None:
        """Replicas settle on the storage policy of the one whose status is older."""
        assert isinstance(broker, ContainerBroker)
        ours = broker.stat()
        if "storage_policy_index" in theirs and \
                theirs["storage_policy_index"] != ours["storage_policy_index"] and \
                Timestamp(theirs["status_changed_at"]) < Timestamp(ours["status_changed_at"]):
            broker.set_policy_index(theirs["storage_policy_index"], Timestamp.now().internal)
