# SPDX-License-Identifier: Apache-2.0
"""What the container server does for the replicators of its peers."""
from __future__ import annotations

import json
from typing import Any

from swift.common.backend_server import Answer
from swift.common.db import Broker, Row
from swift.common.db_rpc import ReplicatorRpc
from swift.common.shards import ShardRange
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.policy_conflict import other_is_right
from swift.container.shard_table import Which


class ContainerRpc(ReplicatorRpc):
    """REPLICATE of containers: storage policy and shard ranges go along."""

    def after_sync(self, broker: Any, info: Row, remote: Row) -> bool:
        """Take over the peer's storage policy if that is the right one."""
        if not other_is_right(info, remote):
            return False
        broker.set_policy_index(remote["storage_policy_index"], Timestamp.now().internal)
        return True

    # -- shards ----------------------------------------------------------

    def op_merge_shard_ranges(self, broker: Broker, args: list[Any]) -> Answer:
        """Ranges a peer knows."""
        assert isinstance(broker, ContainerBroker)
        broker.merge_peer_ranges([ShardRange.of(row) for row in args[0]])
        return Answer(202)

    def op_get_shard_ranges(self, broker: Broker, _args: list[Any]) -> Answer:
        """All ranges there are, deleted and own ones as well."""
        assert isinstance(broker, ContainerBroker)
        ranges = broker.shard_ranges(Which(deleted=True, own=True))
        return Answer(200, json.dumps([shard.row() for shard in ranges]),
                      content_type="application/json")

    def refuses_merge(self, ours: Broker) -> bool:
        """A container that has begun to be divided gets its rows by cleaving, not as a file."""
        assert isinstance(ours, ContainerBroker)
        return ours.sharding_initiated()

    def before_replacement(self, ours: Broker, theirs: Broker) -> None:
        assert isinstance(ours, ContainerBroker) and isinstance(theirs, ContainerBroker)
        theirs.merge_peer_ranges(ours.shard_ranges(Which(deleted=True, own=True)))
