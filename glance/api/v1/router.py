# SPDX-License-Identifier: Apache-2.0
"""The routes of Image API v1, as one table."""

from __future__ import annotations

from glance import wsgi

ROUTES: tuple[tuple[str, dict[str, wsgi.Handler]], ...] = ()


def app_factory(_global_conf: dict[str, str], **_local_conf: str) -> wsgi.Application:
    """For paste."""
    return wsgi.Application(ROUTES)
