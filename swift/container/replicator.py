# SPDX-License-Identifier: Apache-2.0
"""The container replicator.

Shard ranges go to all peers whole, and theirs are fetched: they are few beside rows of objects.
Once a container has shard ranges to be divided among, its rows are no longer sent: each replica
cleaves its own into the shards, where they meet again.
"""
from __future__ import annotations

import json

from swift.common.db import Broker, Row
from swift.common.db_replicator import Call, DbReplicator
from swift.common.shards import ShardRange
from swift.common.timestamp import Timestamp
from swift.container.backend import DATADIR, ContainerBroker
from swift.container.shard_table import Which


class ContainerReplicator(DbReplicator):
    """Brings all replicas of every container of this node into step."""

    section = "container-replicator"
    broker_class = ContainerBroker
    datadir = DATADIR
    kind = "container"
    default_port = 6201
    more_sync_args = ("status_changed_at", "count", "storage_policy_index")

    def after_answer(self, broker: Broker, theirs: Row, call: Call) -> bool | None:
        """Replicas settle on the storage policy of the one whose status is older, and on each
        other's shard ranges."""
        assert isinstance(broker, ContainerBroker)
        ours = broker.stat()
        if "storage_policy_index" in theirs and \
                theirs["storage_policy_index"] != ours["storage_policy_index"] and \
                Timestamp(theirs["status_changed_at"]) < Timestamp(ours["status_changed_at"]):
            broker.set_policy_index(theirs["storage_policy_index"], Timestamp.now().internal)
        if "shard_max_row" not in theirs:
            return None                       # a peer too old for shards
        if theirs["shard_max_row"] >= 0:
            answer = call("get_shard_ranges")
            if answer.status // 100 != 2:
                raise OSError(f"get_shard_ranges answered {answer.status}")
            broker.merge_peer_ranges([ShardRange.of(row) for row in json.loads(answer.body)])
        mine = broker.shard_ranges(Which(deleted=True, own=True))
        if not mine:
            return None
        answer = call("merge_shard_ranges", [shard.row() for shard in mine],
                      broker.replication_info()["id"])
        if answer.status // 100 != 2:
            raise OSError(f"merge_shard_ranges answered {answer.status}")
        return True if broker.sharding_initiated() else None

    def removable(self, broker: Broker) -> bool:
        """One that is still to be cleaved, or holds rows that are sent by no other way, stays."""
        assert isinstance(broker, ContainerBroker)
        if broker.sharding_required():
            return False
        return not broker.sharding_initiated() or not broker.items_since(-1, 1)

    def reclaimable(self, broker: Broker) -> bool:
        """A root stays as long as it has shards: it is where they are known."""
        assert isinstance(broker, ContainerBroker)
        if broker.is_root() and (broker.has_other_ranges() or len(broker.files) > 1):
            return False
        return super().reclaimable(broker)
