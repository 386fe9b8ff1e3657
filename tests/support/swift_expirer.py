# SPDX-License-Identifier: Apache-2.0
"""One pass of the object expirer over a cluster, in the process of the test, and its queue."""
from __future__ import annotations

import json
from typing import Any

from swift_cluster import SwiftCluster

from swift.common.internal_client import InternalClient
from swift.container.updater import ContainerUpdater
from swift.obj.expirer import ObjectExpirer
from swift.obj.updater import ObjectUpdater

# No limit, and all the time a machine may need that has much else to do.
AT_EASE = {"tasks_per_second": "0", "conn_timeout": "20", "node_timeout": "60"}


def tell_account(cluster: SwiftCluster) -> None:
    """Of the queue's containers."""
    for n in range(cluster.nodes):
        ContainerUpdater({"devices": f"{cluster.root}/n{n}", "swift_dir": str(cluster.etc),
                          "mount_check": "no", "containers_per_second": "0"}).run_once()


def deliver(cluster: SwiftCluster) -> None:
    """What object servers could not tell container servers in time: rows of the queue, say."""
    for n in range(cluster.nodes):
        ObjectUpdater({"devices": f"{cluster.root}/n{n}", "swift_dir": str(cluster.etc),
                       "mount_check": "no", "objects_per_second": "0", "conn_timeout": "20",
                       "node_timeout": "60"}).run_once()


def expire(cluster: SwiftCluster) -> None:
    """Bring the queue up to date, then one pass of the expirer."""
    deliver(cluster)
    tell_account(cluster)
    ObjectExpirer({"swift_dir": str(cluster.etc), **AT_EASE}).run_once()


def queued(cluster: SwiftCluster, container: str) -> list[str]:
    """The rows of the queue that are of a container."""
    tell_account(cluster)
    client = InternalClient.of({"swift_dir": str(cluster.etc)})

    def listing(*names: str) -> list[Any]:
        path = "/".join(("/v1", ".expiring_objects", *names))
        status, _, rows = client.ask("GET", path, query="format=json")
        return json.loads(rows) if status == 200 else []

    return [row["name"] for queue in listing() for row in listing(queue["name"])
            if f"/{container}/" in row["name"]]
