# SPDX-License-Identifier: Apache-2.0
"""Which daemons a stack has."""
from . import glance_config, identity, nova_config, swift_config
from .layout import Cloud
from .supervise import Daemon


def of(cloud: Cloud) -> list[Daemon]:
    """Every daemon of this stack, in the order they are waited for."""
    found: list[Daemon] = []
    if cloud.has("keystone"):
        found.append(identity.daemon(cloud))
    for name, room in (("swift", swift_config), ("glance", glance_config), ("nova", nova_config)):
        if cloud.has(name):
            found += room.daemons(cloud)
    return found
