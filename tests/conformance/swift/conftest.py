# SPDX-License-Identifier: Apache-2.0
"""Real OpenStack Swift beside ours. All of it is marked `whole`: it wants real Swift installed."""
import pytest
from real_swift import MixedCluster

NODES = range(4)
STORAGE = [(kind, n) for kind in ("object", "container", "account") for n in NODES]
LAYOUTS = {
    "our proxy, real nodes": STORAGE,
    "real proxy, our nodes": [("proxy", 0)],
    "our proxy, half the nodes each": [place for place in STORAGE if place[1] % 2],
    "real proxy, half the nodes each": [*(place for place in STORAGE if place[1] % 2),
                                        ("proxy", 0)],
}


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda name: name.replace(" ", "-"))
def mixed(request, tmp_path_factory):
    """A cluster in each of the layouts, with two policies."""
    with MixedCluster(tmp_path_factory.mktemp("mixed"), LAYOUTS[request.param],
                      policies=2) as cluster:
        yield cluster


@pytest.fixture
def halves(request, tmp_path):
    """Our proxy; nodes 0 and 2 ours, 1 and 3 real. For tests that empty and swap disks.

    A parameter is the way replicators bring objects over: rsync, without one, or ssync.
    """
    with MixedCluster(tmp_path / "cluster", LAYOUTS["our proxy, half the nodes each"],
                      sync_method=getattr(request, "param", "rsync")) as cluster:
        yield cluster
