# SPDX-License-Identifier: Apache-2.0
"""Filters that a proxy gets although its configuration does not name them.

A file of years ago knows neither listing_formats nor copy, and without gatekeeper whoever asks may
set what only servers tell each other. OpenStack Swift puts the same ones in.
"""
from __future__ import annotations

import logging
from typing import Any

from paste.deploy import loadwsgi

OURS = 'swift.common.middleware.'
APP = 'swift.proxy.server'
LAST_LOG = 'the second proxy_logging'
# What comes right after these, where they are.
OUTER: dict[str, tuple[str, ...]] = {
    'catch_errors': (),
    'gatekeeper': ('catch_errors',),
    'listing_formats': ('catch_errors', 'gatekeeper', 'proxy_logging', 'cache')}
# What acts on behalf of a user comes as late as it can: after an auth filter of whatever name,
# before the first of these that has to follow it.
INNER = ('copy', 'dlo', 'versioned_writes')
LATE = ('copy', 'container_quotas', 'account_quotas', 'slo', 'dlo', 'versioned_writes', 'symlink',
        'keymaster', 'encryption', LAST_LOG)


def names_of(contexts: list[Any]) -> list[str]:
    """What each filter is called above; those of others by their module."""
    names: list[str] = []
    for context in contexts:
        module = getattr(context.object, '__module__', None) or ''
        name = module.removeprefix(OURS).partition('.')[0] if module.startswith(OURS) else module
        name = 'cache' if name == 'memcache' else name
        names.append(LAST_LOG if name == 'proxy_logging' and name in names else name)
    return names


def place_for(name: str, names: list[str]) -> int:
    """Where in the pipeline a filter that is not in it goes."""
    if name in OUTER:
        return max((names.index(other) + 1 for other in OUTER[name] if other in names), default=0)
    late = LATE[LATE.index(name):]
    return next((at for at, other in enumerate(names) if other in late), len(names))


def complete(context: Any, logger: logging.Logger) -> Any:
    """The PasteDeploy context of a server; a proxy's with what it cannot be without."""
    app = getattr(context, 'app_context', None)
    if app is None or getattr(app.object, '__module__', None) != APP:
        return context
    for name in (*OUTER, *INNER):
        names = names_of(context.filter_contexts)
        if name in names:
            continue
        at = place_for(name, names)
        added = loadwsgi.loadcontext(loadwsgi.FILTER, f'call:{OURS}{name}:filter_factory',
                                     global_conf=dict(app.global_conf))
        added.protocol = 'paste.filter_factory'
        context.filter_contexts.insert(at, added)
        logger.info('the pipeline has no %s: it is put in %s', name,
                    f'after {names[at - 1]}' if at else 'as the first')
    return context
