# SPDX-License-Identifier: Apache-2.0
"""How nova reaches the image service: with whose account, and what its errors become."""

from typing import Any

from nova.context import RequestContext


def client(context: RequestContext | None) -> Any:
    """Return a client that acts for the caller (None: for the service's own account)."""
    from glance import client as glance_client
    return glance_client.Client(context)
