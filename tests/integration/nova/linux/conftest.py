# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests of the host's tools."""

import contextlib

import pytest
from netns import Namespace


@pytest.fixture
def namespaces():
    """A function that makes namespaces, all gone at the end."""
    with contextlib.ExitStack() as stack:

        def make():
            namespace = Namespace()
            stack.callback(namespace.close)
            return namespace

        yield make
