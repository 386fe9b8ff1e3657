# SPDX-License-Identifier: Apache-2.0
"""Network API v2.0."""

from collections.abc import Callable
from typing import Any


def app_factory(_global_conf: dict[str, str], **_local: Any) -> Callable:
    """Return the application, as paste.deploy wants it."""
    from nova.api.openstack.network.app import make_app

    return make_app()
