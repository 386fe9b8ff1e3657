# SPDX-License-Identifier: Apache-2.0
"""One pass of the object expirer over a cluster, in the process of the test."""
from __future__ import annotations

from swift_cluster import SwiftCluster

from swift.container.updater import ContainerUpdater
from swift.obj.expirer import ObjectExpirer


def expire(cluster: SwiftCluster) -> None:
    """Tell the account of the queue's containers, then one pass of the expirer."""
    for n in range(cluster.nodes):
        ContainerUpdater({"devices": f"{cluster.root}/n{n}", "swift_dir": str(cluster.etc),
                          "mount_check": "no", "containers_per_second": "0"}).run_once()
    ObjectExpirer({"swift_dir": str(cluster.etc), "tasks_per_second": "0"}).run_once()
