# SPDX-License-Identifier: Apache-2.0
"""nova-manage host: what is done with all the servers of a host."""

import argparse

from nova import rpc
from nova.compute.api import API
from nova.context import admin_context
from nova.db import instances, services
from nova.exception import HostNotFound, NovaError

DESCRIPTION = "A host's servers, all at once"


def commands(category) -> None:
    """Define evacuate."""
    command = category.add("evacuate", _evacuate,
                           "Have the servers of a host that is down built again elsewhere, from "
                           "their images: what was on their disks is lost")
    command.add_argument("host")
    command.add_argument("--to", metavar="HOST", help="this host and no other")


def _evacuate(args: argparse.Namespace) -> int:
    if not services.get_all(host=args.host, topic="compute"):
        raise HostNotFound(host=args.host)
    rpc.configure()
    api, context, failed = API(), admin_context(), 0
    for instance_id in instances.ids_on_host(args.host):
        try:
            api.evacuate(context, instance_id, args.to)
            print(f"{instance_id} is on its way")
        except NovaError as error:
            failed += 1
            print(f"{instance_id} stays: {error}")
    return 1 if failed else 0
