# SPDX-License-Identifier: Apache-2.0
"""nova-manage service: the daemons, which are up, and which may get new work."""

import argparse

from oslo_config import cfg

from nova.cmd.manage import table
from nova.db import services
from nova.db.models import Service
from nova.exception import ServiceNotFound

DESCRIPTION = "Daemons and whether they are up"
CONF = cfg.CONF


def commands(category) -> None:
    """Define list, enable, disable and remove."""
    listing = category.add("list", _list, "Show every daemon, where it is and whether it is up")
    table.json_option(listing)
    for name, function, help in (
            ("enable", _enable, "Let a daemon get new work"),
            ("disable", _disable, "Let a daemon get no new work"),
            ("remove", _remove, "Forget a daemon that is not coming back")):
        command = category.add(name, function, help)
        command.add_argument("host")
        command.add_argument("binary")
        if name == "disable":
            command.add_argument("--reason")


def _list(args: argparse.Namespace) -> None:
    down_after = CONF.service_down_time
    table.show(
        ("binary", "host", "zone", "status", "state", "last seen", "reason"),
        [(row.binary, row.host, row.availability_zone,
          "disabled" if row.disabled else "enabled",
          "up" if services.is_up(row, down_after) else "down",
          row.last_seen_up and row.last_seen_up.isoformat(sep=" ", timespec="seconds"),
          row.disabled_reason) for row in services.get_all()], args.json)


def _find(args: argparse.Namespace) -> Service:
    found = services.get_all(host=args.host, binary=args.binary)
    if not found:
        raise ServiceNotFound(service_id=f"{args.binary} on {args.host}")
    return found[0]


def _enable(args: argparse.Namespace) -> None:
    services.change(_find(args).id, disabled=False, disabled_reason=None)


def _disable(args: argparse.Namespace) -> None:
    services.change(_find(args).id, disabled=True, disabled_reason=args.reason)


def _remove(args: argparse.Namespace) -> None:
    services.remove(_find(args).id)
