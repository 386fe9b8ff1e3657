# SPDX-License-Identifier: Apache-2.0
"""A tgtd, and tests that need root for it."""

import pytest
from tgtd import Tgtd


@pytest.fixture
def tgtd(free_port):
    daemon = Tgtd(free_port())
    try:
        yield daemon
    finally:
        daemon.close()
