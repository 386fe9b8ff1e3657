# SPDX-License-Identifier: Apache-2.0
"""Every option of the daemons, for oslo-config-generator."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from oslo_config import cfg

from glance import cache, config, notifier, outbound, store
from glance.api import app
from glance.cache import prefetch
from glance.image import (
    conversion,
    formats,
    importing,
    limits,
    protections,
    reconciler,
    regions,
    service,
)
from glance.registry import client
from glance.registry.client import rest
from glance.registry.db import session
from glance.store import filesystem, s3, swift

Options = list[tuple[str | None, Sequence[cfg.Opt]]]


def _list(*sources: Iterable[cfg.Opt]) -> list[cfg.Opt]:
    return list(itertools.chain(*sources))


def list_api_opts() -> Options:
    """Options of glance-api; ``[file]``, ``[deep]`` and ``[bucket]`` stand for stores
    of these names."""
    return [
        (None, _list([config.PORT_API], config.SERVER_OPTIONS, service.OPTIONS, limits.OPTIONS,
                     importing.OPTIONS, reconciler.OPTIONS, app.OPTIONS, store.OPTIONS,
                     cache.OPTIONS, prefetch.OPTIONS, protections.OPTIONS, notifier.OPTIONS,
                     client.OPTIONS)),
        (config.PASTE_GROUP, config.PASTE_OPTIONS),
        (session.GROUP, session.OPTIONS),
        (store.GROUP, store.GROUP_OPTIONS),
        (formats.GROUP, formats.OPTIONS),
        (importing.STAGING, importing.STAGING_OPTIONS),
        (importing.PLUGIN_GROUP, importing.PLUGIN_OPTIONS),
        (conversion.GROUP, conversion.OPTIONS),
        (regions.GROUP, regions.OPTIONS),
        ("file", _list(filesystem.OPTIONS, store.STORE_OPTIONS)),
        ("deep", _list(swift.OPTIONS, store.STORE_OPTIONS)),
        ("bucket", _list(s3.OPTIONS, store.STORE_OPTIONS)),
        (outbound.GROUP, outbound.OPTIONS),
        (rest.GROUP, _list(rest.OPTIONS, rest.auth_options())),
    ]


def list_registry_opts() -> Options:
    """Options of glance-registry."""
    return [
        (None, _list([config.PORT_REGISTRY], config.SERVER_OPTIONS)),
        (config.PASTE_GROUP, config.PASTE_OPTIONS),
        (session.GROUP, session.OPTIONS),
    ]
