# SPDX-License-Identifier: Apache-2.0
"""nova-manage db: the schema, and what may be forgotten."""

import argparse
import datetime

from nova.db import actions
from nova.db.models import utcnow

DESCRIPTION = "The database's schema and its old rows"


def commands(category) -> None:
    """Define sync, version and purge-actions."""
    sync = category.add("sync", _sync, "Bring the schema up to this release")
    sync.add_argument("revision", nargs="?", default="head")
    category.add("version", _version, "Print the revision of the schema")
    purge = category.add("purge-actions", _purge,
                         "Forget the actions of instances that are gone")
    purge.add_argument("--days", type=int, default=90, help="only those older than this (90)")


def _sync(args: argparse.Namespace) -> None:
    from nova.db import migrations
    print(migrations.upgrade(args.revision))


def _version(args: argparse.Namespace) -> None:
    from nova.db import migrations
    print(migrations.version() or "none")


def _purge(args: argparse.Namespace) -> None:
    if args.days < 0:
        raise ValueError("--days: cannot be negative")
    print(actions.purge(utcnow() - datetime.timedelta(days=args.days)))
