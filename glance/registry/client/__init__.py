# SPDX-License-Identifier: Apache-2.0
"""How a front end reaches the registry: a plug-in chosen by ``registry_client``.

``sql`` talks to the database in process, ``rest`` to a glance-registry.  Any other name is looked
up among the entry points of ``glance.registry.clients``; the class behind it implements
`glance.registry.client.base.RegistryClient` and has ``from_conf(conf)``.
"""

from __future__ import annotations

import importlib
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.registry.client.base import RegistryClient

OPTIONS = [
    cfg.StrOpt("registry_client", default="sql",
               help="How the image metadata is reached: sql (in process), rest (through "
                    "glance-registry), or the name of a plug-in in the entry point group "
                    "glance.registry.clients."),
]

# Our own need no scan of every installed distribution, which costs 60 ms and memory at each start.
BUILT_IN = {
    "sql": "glance.registry.client.sql:SqlClient",
    "rest": "glance.registry.client.rest:RestClient",
}
NAMESPACE = "glance.registry.clients"


def from_conf(conf: cfg.ConfigOpts) -> RegistryClient:
    """The registry client that `conf` asks for, not yet connected to anything."""
    conf.register_opts(OPTIONS)
    name = conf.registry_client
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(importlib.import_module(module), attribute).from_conf(conf)
    from stevedore import driver, exception  # only foreign plug-ins pay for the scan

    try:
        plugin: Any = driver.DriverManager(NAMESPACE, name).driver
    except exception.NoMatches:
        raise exceptions.ConfigurationError(
            f"registry_client: no plug-in {name!r} in {NAMESPACE}") from None
    return plugin.from_conf(conf)
