# SPDX-License-Identifier: Apache-2.0
"""nova-manage volume: volumes of all projects, where they are and what an operator may do to them.

The database is changed and nobody is told: the worker of a volume's host looks at its rows within
``[volume] reconcile_interval`` seconds.
"""

import argparse

from nova.cmd.manage import table
from nova.context import admin_context
from nova.db import volume_attachments, volume_exports, volume_hosts, volumes
from nova.db.models import utcnow
from nova.volume import api
from nova.volume.states import Desired, VolumeStatus

DESCRIPTION = "Volumes of all projects"


def commands(category) -> None:
    """Define list, hosts, delete and reset."""
    listing = category.add("list", _list, "Show volumes, and what each is attached to")
    listing.add_argument("--host", help="only those on this host")
    listing.add_argument("--status", help="only those in this status",
                         choices=[str(status) for status in VolumeStatus])
    table.json_option(listing)
    table.json_option(category.add("hosts", _hosts, "Show what each host has room for"))
    delete = category.add("delete", _delete, "Remove a volume that is not attached")
    delete.add_argument("volume")
    delete.add_argument("--forget", action="store_true",
                        help="its host is gone for ever: remove the row, whatever is left there")
    reset = category.add("reset", _reset, "Set the status of a volume that is not attached")
    reset.add_argument("volume")
    reset.add_argument("status", choices=sorted(str(status) for status in api.RESETTABLE))


def _list(args: argparse.Namespace) -> None:
    filters = {name: value for name, value in (("host", args.host), ("status", args.status))
               if value is not None}
    rows = volumes.get_all(filters, sort=(("created_at", "asc"),))
    attached = volume_attachments.get_of_volumes([row.id for row in rows])
    table.show(
        ("id", "project", "name", "GiB", "status", "host", "zone", "instance", "device", "fault"),
        [(row.id, row.project_id, row.name, row.size_gb, row.status, row.host,
          row.availability_zone, one and one.instance_id, one and one.device, row.fault)
         for row in rows for one in (attached.get(row.id),)], args.json)


def _hosts(args: argparse.Namespace) -> None:
    claimed = volume_hosts.claimed_by_host()
    table.show(
        ("host", "driver", "backend", "total GiB", "free GiB", "may place", "placed"),
        [(row.host, row.driver, row.backend_name, row.total_gb, row.free_gb,
          volume_hosts.capacity(row), claimed.get(row.host, 0))
         for row in volume_hosts.get_all()], args.json)


def _delete(args: argparse.Namespace) -> None:
    row = volumes.get(args.volume)
    if row.status != VolumeStatus.DELETING:
        # Overdue at once: the next look of its worker takes it up.
        row = volumes.begin_delete(row.id, desired=Desired.DELETED, deadline=utcnow())
    if args.forget:
        volume_exports.remove(row.id)
    if row.host is None or args.forget:
        volumes.delete_row(row.id, from_host=row.host)


def _reset(args: argparse.Namespace) -> None:
    api.reset_status(admin_context(), args.volume, args.status)
