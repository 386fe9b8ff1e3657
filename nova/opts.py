# SPDX-License-Identifier: Apache-2.0
"""Every option of nova, for the sample configuration.

    oslo-config-generator --config-file etc/nova/config-generator.conf

Options are declared in the module that uses them; this table only says where that is.  A test
compares it with what importing all of nova registers.
"""

import importlib

from keystoneauth1 import loading
from oslo_config import cfg

# (group, module, name of its list of options)
WHERE = [
    ("DEFAULT", "nova.config", "OPTS"),
    ("DEFAULT", "nova.rpc.broker", "OPTS"),
    ("DEFAULT", "nova.compute.worker", "OPTIONS"),
    ("DEFAULT", "nova.compute.manager", "OPTIONS"),
    ("DEFAULT", "nova.compute.reconciler", "OPTIONS"),
    ("DEFAULT", "nova.compute.volumes", "OPTIONS"),
    ("DEFAULT", "nova.compute.resources", "OPTIONS"),
    ("DEFAULT", "nova.network.driver", "OPTS"),
    ("DEFAULT", "nova.network.manager", "OPTS"),
    ("DEFAULT", "nova.virt.driver", "OPTIONS"),
    ("DEFAULT", "nova.api.openstack.compute.app", "OPTS"),
    ("api", "nova.wsgi", "OPTS"),
    ("database", "nova.db.session", "OPTS"),
    ("ec2", "nova.api.ec2.auth", "OPTS"),
    ("fake", "nova.virt.fake", "OPTIONS"),
    ("glance", "nova.image.transport", "OPTIONS"),
    ("libvirt", "nova.virt.libvirt.driver", "OPTIONS"),
    ("metadata", "nova.api.metadata.app", "OPTS"),
    ("monitoring", "nova.monitoring", "OPTS"),
    ("network_api", "nova.api.openstack.network.subnets", "OPTS"),
    ("notifications", "nova.notifications", "OPTS"),
    ("quota", "nova.quota", "OPTS"),
    ("rpc", "nova.rpc.broker", "RPC_OPTS"),
    ("scheduler", "nova.scheduler.manager", "OPTIONS"),
    ("scheduler", "nova.scheduler.drivers.host_aware", "OPTIONS"),
    ("volume", "nova.volume.driver", "OPTIONS"),
    ("volume", "nova.volume.file", "OPTIONS"),
    ("volume", "nova.volume.iscsi", "OPTIONS"),
    ("volume", "nova.volume.manager", "OPTIONS"),
    ("volume", "nova.volume.worker", "OPTIONS"),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return (group, options) pairs, as oslo-config-generator wants them."""
    found: dict[str, list[cfg.Opt]] = {}
    for group, module, name in WHERE:
        found.setdefault(group, []).extend(getattr(importlib.import_module(module), name))
    # The account nova reaches the image service with.
    found["glance"] += [
        *loading.get_auth_common_conf_options(), *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options("v3password")]
    found["ec2"] += loading.get_session_conf_options()
    return list(found.items())
