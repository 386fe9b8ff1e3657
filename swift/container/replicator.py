# SPDX-License-Identifier: Apache-2.0
"""The container replicator.

Shard ranges go to all peers whole, and theirs are fetched: they are few beside rows of objects.
Once a container has shard ranges to be divided among, its rows are no longer sent: each replica
cleaves its own into the shards, where they meet again.

Rows of objects in another storage policy than their container's are entered into the container
reconciler's queue: into a database here, which goes where it belongs at the end of the pass.
"""
from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass

from swift.common.db import Broker, Row
from swift.common.db_files import with_epoch
from swift.common.db_replicator import Call, DbReplicator, Node
from swift.common.devices import is_local
from swift.common.exceptions import DatabaseAlreadyExists
from swift.common.shards import ShardRange
from swift.common.storage import hash_path, storage_directory
from swift.common.timestamp import Timestamp
from swift.container import misplaced_queue
from swift.container.backend import DATADIR, ContainerBroker
from swift.container.policy_conflict import other_is_right
from swift.container.shard_table import Which


@dataclass
class Place:
    """A database on this node that is filled here and then brought to where it belongs."""

    part: int
    broker: ContainerBroker
    node_id: int
    created: bool


class ContainerReplicator(DbReplicator):
    """Brings all replicas of every container of this node into step."""

    section = "container-replicator"
    broker_class = ContainerBroker
    datadir = DATADIR
    kind = "container"
    default_port = 6201
    more_sync_args = ("status_changed_at", "count", "storage_policy_index")

    _queues: dict[str, Place] | None = None      # container of the queue -> its database here

    def run_once(self) -> None:
        """Look at every database of every local device once."""
        self._queues = {}
        super().run_once()
        queues, self._queues = self._queues, None
        for place in queues.values():
            if place.broker.exists():
                self.deliver(place)

    def after_answer(self, broker: Broker, info: Row, theirs: Row, call: Call) -> bool | None:
        """Replicas settle on one storage policy, and on each other's shard ranges."""
        assert isinstance(broker, ContainerBroker)
        # What we were, not what an earlier peer made of us: that is the youngest by now, and the
        # next peer, whom the right one has not reached yet, would undo it.
        if other_is_right(info, theirs):
            broker.set_policy_index(theirs["storage_policy_index"], Timestamp.now().internal)
        if "shard_max_row" not in theirs:
            return None                       # a peer too old for shards
        if max(info["shard_max_row"], theirs["shard_max_row"]) < 0:
            return None                       # neither ever had any
        if theirs["shard_max_row"] >= 0:
            answer = call("get_shard_ranges")
            if answer.status // 100 != 2:
                raise OSError(f"get_shard_ranges answered {answer.status}")
            broker.merge_peer_ranges([ShardRange.of(row) for row in json.loads(answer.body)])
        mine = broker.shard_ranges(Which(deleted=True, own=True))
        if not mine:
            return None
        answer = call("merge_shard_ranges", [shard.row() for shard in mine], info["id"])
        if answer.status // 100 != 2:
            raise OSError(f"merge_shard_ranges answered {answer.status}")
        return True if broker.sharding_initiated() else None

    def removable(self, broker: Broker) -> bool:
        """One that is still to be cleaved, or holds rows that are sent by no other way, stays."""
        assert isinstance(broker, ContainerBroker)
        if broker.sharding_required() or not self._is_delivered(broker):
            return False
        return not broker.sharding_initiated() or not broker.items_since(-1, 1)

    def reclaimable(self, broker: Broker) -> bool:
        """A root stays as long as it has shards: it is where they are known."""
        assert isinstance(broker, ContainerBroker)
        if broker.is_root() and (broker.has_other_ranges() or len(broker.files) > 1):
            return False
        return super().reclaimable(broker)

    # -- places ----------------------------------------------------------

    def local_nodes(self) -> dict[int, Node]:
        """The devices of this node, by id."""
        return {dev["id"]: dev for dev in self.ring.devs
                if dev and is_local(dev, self.addresses, self.port)}

    def make_place(self, account: str, container: str, policy_index: int, timestamp: str,
                   epoch: str | None = None) -> Place:
        """A container's database on this node, made if there is none: on a device it belongs to,
        else on any other."""
        part, nodes = self.ring.get_nodes(account, container)
        local = self.local_nodes()
        node = next((node for node in nodes if node["id"] in local), None)
        if node is None:
            weighty = [node for node in local.values() if node.get("weight", 0)]
            node = random.choice(weighty or list(local.values()))
        name_hash = hash_path(account, container)
        path = (f"{self.devices}/{node['device']}/"
                f"{storage_directory(self.datadir, part, name_hash)}/{name_hash}.db")
        made = ContainerBroker(path, account, container, self.logger)
        created = False
        if not made.exists():
            made.db_file = with_epoch(path, epoch)
            try:
                made.initialize(timestamp, policy_index)
                created = True
            except DatabaseAlreadyExists:
                pass
            made.find_files()
        return Place(part, made, node["id"], created)

    def deliver(self, place: Place) -> list[bool]:
        """Bring a database in step with its primaries; for each but this one whether it is. One
        that belongs elsewhere is removed when all have it."""
        nodes = self.ring.get_part_nodes(place.part)
        others = [node for node in nodes if node["id"] != place.node_id]
        broker = place.broker
        info = broker.replication_info()
        results = self._to_all(broker, str(place.part), info, others)
        if results and all(results) and len(others) == len(nodes) and self.removable(broker):
            after = broker.replication_info()
            if (after["max_row"], after["hash"]) == (info["max_row"], info["hash"]):
                broker.remove_files()
        return results

    # -- misplaced objects -----------------------------------------------

    def after_replication(self, broker: Broker, info: Row, results: list[bool]) -> None:
        """Enter objects of other storage policies into the reconciler's queue. The point up to
        which that is done moves only when a majority of the peers is in step."""
        assert isinstance(broker, ContainerBroker)
        if self._queues is None or info["account"] == misplaced_queue.ACCOUNT:
            return
        if not broker.has_other_policies():
            if info["max_row"] != info["reconciler_sync_point"]:
                broker.set_reconciler_point(info["max_row"])
            return
        point = broker.stat()["reconciler_sync_point"]    # a change of policy has set it back
        reached = max(self._enqueue(broker, point), info["max_row"])
        if reached > point and sum(results) > len(results) // 2:
            broker.set_reconciler_point(reached)

    def _enqueue(self, broker: ContainerBroker, point: int) -> int:
        """Enter all misplaced rows after `point`; up to which row that is."""
        assert self._queues is not None
        account, _, container = broker.root_path().partition("/")
        while rows := broker.misplaced_since(point, self.per_diff):
            entries: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                entries[misplaced_queue.queue_container(row["created_at"])].append(
                    misplaced_queue.entry_of_row(row, account, container))
            for name, items in entries.items():
                if name not in self._queues:
                    self._queues[name] = self.make_place(
                        misplaced_queue.ACCOUNT, name, 0, Timestamp(int(name)).internal)
                self._queues[name].broker.merge_items(items)
            point = rows[-1]["ROWID"]
        return point

    def _is_delivered(self, broker: ContainerBroker) -> bool:
        """Whether it is no queue that entries of this pass are still put into."""
        return self._queues is None or all(
            place.broker.db_dir != broker.db_dir for place in self._queues.values())
