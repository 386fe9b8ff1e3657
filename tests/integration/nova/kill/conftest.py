# SPDX-License-Identifier: Apache-2.0
"""Clouds that are killed: over the real RabbitMQ and MariaDB, or private ones that die too."""

import pytest
from kill_cloud import KillCloud
from private_mariadb import PrivateMariadb


@pytest.fixture
def kill_cloud(tmp_path, free_port, amqp_url, mysql_url):
    """Five daemons over RabbitMQ and MariaDB, each of which dies where it is told to."""
    with KillCloud(tmp_path, free_port, transport=amqp_url, database=mysql_url) as cloud:
        yield cloud


@pytest.fixture
def private_mariadb(free_port):
    database = PrivateMariadb(free_port())
    try:
        database.start()
        yield database
    finally:
        database.close()
