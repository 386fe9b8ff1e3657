# SPDX-License-Identifier: Apache-2.0
"""Clouds that are killed: over the real RabbitMQ and MariaDB, or private ones that die too."""

import itertools
from pathlib import Path

import pytest
from kill_cases import warm_up
from kill_cloud import DAEMONS, KillCloud
from private_mariadb import PrivateMariadb

from nova import db

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: the last tests to begin decide when all is over."""
    def seconds(item):
        limit = item.get_closest_marker("timeout")
        mine = item.path.parent == HERE and item.get_closest_marker("whole")
        return limit.args[0] if mine and limit else 0
    items.sort(key=seconds, reverse=True)


class KillClouds:
    """One cloud of six daemons, and another one after it was spoilt.

    Each has a virtual host of its own: its scheduler would take other clouds' messages.
    """

    def __init__(self, directory, new_database, free_port, new_transport):
        self.directory, self.new_database = directory, new_database
        self.free_port, self.new_transport = free_port, new_transport
        self._cloud, self._numbers = None, itertools.count()

    def get(self):
        """Return the cloud, which is made when there is none."""
        if self._cloud is None:
            directory = self.directory / f"cloud{next(self._numbers)}"
            directory.mkdir()
            # The worker of volumes is where guests are: a file is attached on its own host.
            cloud = KillCloud(directory, self.free_port, transport=self.new_transport(),
                              database=self.new_database(), daemons=(*DAEMONS, ("volume", "c1")),
                              apis="compute,network,volume")
            self._cloud = cloud.__enter__()
            warm_up(cloud)
        return self._cloud

    def spoilt(self, by):
        """End the cloud; what it said is kept under the name of what spoilt it."""
        cloud, self._cloud = self._cloud, None
        (cloud.directory / "spoilt-by").write_text(by)
        cloud.__exit__()

    def close(self):
        if self._cloud is not None:
            self._cloud.__exit__()


@pytest.fixture
def kill_clouds(tmp_path, free_port, new_amqp_url, new_mysql_url):
    """A cloud of this test alone."""
    clouds = KillClouds(tmp_path, new_mysql_url, free_port, new_amqp_url)
    yield clouds
    clouds.close()


@pytest.fixture(scope="session")
def kept_clouds(tmp_path_factory, new_amqp_url, new_mysql_url, free_port):
    clouds = KillClouds(tmp_path_factory.mktemp("matrix"), new_mysql_url, free_port, new_amqp_url)
    yield clouds
    clouds.close()


@pytest.fixture
def matrix_clouds(kept_clouds):
    """The same cloud for every operation of the matrix that this process plays."""
    db.configure(kept_clouds.get().values["database"])     # another test had its own meanwhile
    return kept_clouds


@pytest.fixture
def private_mariadb(free_port):
    database = PrivateMariadb(free_port())
    try:
        database.start()
        yield database
    finally:
        database.close()
