# SPDX-License-Identifier: Apache-2.0
"""A storage node without a proxy."""
import pytest
from swift_node import StorageNode


@pytest.fixture
def node(tmp_path):
    """Four devices behind account, container and object server in one process."""
    with StorageNode(tmp_path / "node") as made:
        yield made
