# SPDX-License-Identifier: Apache-2.0
"""nova-manage flavor: the sizes servers can have."""

import argparse

from nova.cmd.manage import table
from nova.db import flavors
from nova.db.models import new_id

DESCRIPTION = "Sizes servers can have"


def commands(category) -> None:
    """Define create, list and delete."""
    create = category.add("create", _create, "Add a size")
    create.add_argument("name")
    create.add_argument("--id", help="id in the APIs (a new UUID)")
    create.add_argument("--vcpus", type=_positive, required=True)
    create.add_argument("--memory", type=_positive, required=True, metavar="MB")
    create.add_argument("--disk", type=_count, default=0, metavar="GB", help="root disk (0)")
    create.add_argument("--ephemeral", type=_count, default=0, metavar="GB")
    create.add_argument("--swap", type=_count, default=0, metavar="MB")
    create.add_argument("--private", action="store_true", help="for projects given access alone")
    table.json_option(category.add("list", _list, "Show all sizes"))
    delete = category.add("delete", _delete, "Remove a size; servers made of it go on")
    delete.add_argument("id")


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise ValueError(text)
    return number


def _positive(text: str) -> int:
    if (number := _count(text)) == 0:
        raise ValueError(text)
    return number


def _create(args: argparse.Namespace) -> None:
    made = flavors.create({
        "flavorid": args.id or new_id(), "name": args.name, "vcpus": args.vcpus,
        "memory_mb": args.memory, "root_gb": args.disk, "ephemeral_gb": args.ephemeral,
        "swap_mb": args.swap, "is_public": not args.private})
    print(made.flavorid)


def _list(args: argparse.Namespace) -> None:
    table.show(
        ("id", "name", "vcpus", "memory_mb", "disk_gb", "ephemeral_gb", "swap_mb", "public"),
        [(row.flavorid, row.name, row.vcpus, row.memory_mb, row.root_gb, row.ephemeral_gb,
          row.swap_mb, row.is_public) for row in flavors.get_all()], args.json)


def _delete(args: argparse.Namespace) -> None:
    flavors.delete_one(args.id)
