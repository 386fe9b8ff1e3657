# SPDX-License-Identifier: Apache-2.0
"""Real OpenStack Swift beside ours, and its own tests. What wants it installed is `whole`."""
import fcntl
import tempfile
from pathlib import Path

import pytest
from client_files import fill
from real_swift import MixedCluster
from swift_suite import functional_suite

NODES = range(4)
STORAGE = [(kind, n) for kind in ("object", "container", "account") for n in NODES]
LAYOUTS = {
    "our proxy, real nodes": STORAGE,
    "real proxy, our nodes": [("proxy", 0)],
    "our proxy, half the nodes each": [place for place in STORAGE if place[1] % 2],
    "real proxy, half the nodes each": [*(place for place in STORAGE if place[1] % 2),
                                        ("proxy", 0)],
}


@pytest.fixture
def files(tmp_path):
    """A folder with files of several sizes and odd names."""
    return fill(tmp_path / "files")


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


@pytest.fixture(scope="session")
def suite():
    """OpenStack Swift's functional tests, installed; one installer at a time."""
    cache = Path(tempfile.gettempdir()) / "snakestack-test-cache"
    cache.mkdir(exist_ok=True)
    with open(cache / "swift-functional.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return functional_suite(cache)
