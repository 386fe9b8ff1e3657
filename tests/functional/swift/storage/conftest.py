# SPDX-License-Identifier: Apache-2.0
"""A storage node without a proxy."""
import shutil

import pytest
from swift_node import StorageNode


@pytest.fixture(scope="module")
def running_node(tmp_path_factory):
    """The processes, shared by the tests of a module."""
    with StorageNode(tmp_path_factory.mktemp("storage") / "node") as made:
        yield made


@pytest.fixture
def node(running_node):
    """Four empty devices behind account, container and object server in one process."""
    for device in running_node.devices.iterdir():
        shutil.rmtree(device)
        device.mkdir()
    if running_node.process is None:
        running_node.start()
    return running_node
