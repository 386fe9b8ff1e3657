# SPDX-License-Identifier: Apache-2.0
"""Volume API v3."""

from collections.abc import Callable
from typing import Any


def app_factory(_global_conf: dict[str, str], **_local: Any) -> Callable:
    """Return the application, as paste.deploy wants it."""
    from nova.api.openstack.volume.app import make_app

    return make_app()
