# SPDX-License-Identifier: Apache-2.0
"""The metadata service on 169.254.169.254."""

from collections.abc import Callable
from typing import Any


def app_factory(_global_conf: dict[str, str], **_local: Any) -> Callable:
    """Return the application, as paste.deploy wants it."""
    from nova.api.metadata.app import MetadataApplication

    return MetadataApplication()
