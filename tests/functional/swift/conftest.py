# SPDX-License-Identifier: Apache-2.0
"""An object store of real processes on loopback, shared by the tests of a run."""

import itertools

import pytest
from swift_cluster import SwiftCluster

_numbers = itertools.count()


@pytest.fixture(scope='session')
def cluster(tmp_path_factory):
    """Proxy and four storage nodes; three replicas, and a policy that codes 2+1. Tests that kill
    servers start them again."""
    with SwiftCluster(tmp_path_factory.mktemp('swift'), policies=3, coded={2: (2, 1)},
                      segment_size=65536) as made:
        yield made


@pytest.fixture
def in_process(cluster, monkeypatch):
    """The cluster; daemons that run in this process belong to it."""
    monkeypatch.setenv('SWIFT_DIR', str(cluster.etc))
    monkeypatch.setattr('swift.common.storage._secrets', (b'changeme', b'tests'))
    monkeypatch.setattr('swift.common.storage_policy._policies', None)    # to be read from there
    return cluster


@pytest.fixture
def user(cluster):
    """A client of test:tester, owner of its account."""
    return cluster.login()


@pytest.fixture
def container(user):
    """The name of a fresh container of ``user``."""
    name = f'c{next(_numbers)}'
    assert user('PUT', '/' + name)[0] == 201
    return name
