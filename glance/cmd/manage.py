# SPDX-License-Identifier: Apache-2.0
"""glance-manage: what an operator does to the registry's database."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import sys

from oslo_config import cfg

from glance import config, exceptions

PROGRAM = "glance-manage"


def _sync(conf: cfg.ConfigOpts, revision: str) -> int:
    from glance.registry.db import migration
    from glance.registry.db.session import Database

    database = Database.from_conf(conf)
    before = migration.version(database)
    migration.sync(database, revision)
    print(f"{before or 'empty'} -> {migration.version(database)}")
    return 0


def _version(conf: cfg.ConfigOpts) -> int:
    from glance.registry.db import migration
    from glance.registry.db.session import Database

    print(migration.version(Database.from_conf(conf)) or "empty")
    return 0


def _check(conf: cfg.ConfigOpts) -> int:
    from glance.registry.client.sql import SqlClient

    SqlClient.from_conf(conf).check()
    print("up to date")
    return 0


def _audit(conf: cfg.ConfigOpts) -> int:
    from glance.image.audit import findings
    from glance.image.service import ImageService

    found = 0
    for finding in findings(ImageService.from_conf(conf)):
        print(finding)
        found += 1
    print(f"{found} finding(s)")
    return 1 if found else 0


def _purge(conf: cfg.ConfigOpts, args: argparse.Namespace) -> int:
    from glance.registry.db import images
    from glance.registry.db.session import Database

    if args.age_in_days < 0 or args.max_rows < 1:
        raise exceptions.ConfigurationError("--age_in_days, --max_rows: must be positive")
    moment = images.now() - datetime.timedelta(days=args.age_in_days)
    with Database.from_conf(conf).writing() as connection:
        print(f"{images.purge(connection, moment, args.max_rows)} image(s) purged")
    return 0


def _metadefs(conf: cfg.ConfigOpts, args: argparse.Namespace) -> int:
    from glance.api.v2 import metadef_files as metadefs

    if args.action == "load_metadefs":
        print(f"{metadefs.load(conf, args.path, args.replace)} namespace(s) loaded")
    elif args.action == "unload_metadefs":
        print(f"{metadefs.unload(conf)} namespace(s) removed")
    else:
        print(f"{metadefs.export(conf, args.path)} namespace(s) written")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--config-file", action="append", default=[],
                        help="as for glance-api; may be repeated")
    commands = parser.add_subparsers(dest="command", required=True)
    database = commands.add_parser("db", help="the database").add_subparsers(
        dest="action", required=True)
    sync = database.add_parser("sync", help="bring the schema to this release")
    sync.add_argument("revision", nargs="?", default="head")
    database.add_parser("version", help="print the schema's revision")
    database.add_parser("check", help="exit 0 if the schema is this release's")
    load = database.add_parser("load_metadefs", help="load metadata definitions from files")
    load.add_argument("path", nargs="?", type=pathlib.Path,
                      help="directory; that of this release when left out")
    load.add_argument("--replace", action="store_true", help="namespaces that are there as well")
    database.add_parser("unload_metadefs", help="remove the definitions that are not protected")
    export = database.add_parser("export_metadefs", help="write the definitions into files")
    export.add_argument("path", type=pathlib.Path, help="directory")
    purge = database.add_parser("purge", help="forget all about deleted images but their ids, "
                                              "which are never given out again")
    purge.add_argument("--age_in_days", type=int, default=30, help="deleted for so many days")
    purge.add_argument("--max_rows", type=int, default=10000, help="at most so many at a time")
    # the names of old
    commands.add_parser("db_sync", help="db sync").add_argument(
        "revision", nargs="?", default="head")
    commands.add_parser("db_version", help="db version")
    commands.add_parser("audit", help="compare the registry with the stores")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    files = [f"--config-file={path}" for path in args.config_file]
    command = f"db_{args.action}" if args.command == "db" else args.command
    import sqlalchemy.exc

    try:
        conf = config.load(files, PROGRAM, cfg.ConfigOpts())
        if command == "db_sync":
            return _sync(conf, args.revision)
        if command == "db_purge":
            return _purge(conf, args)
        if command.endswith("_metadefs"):
            return _metadefs(conf, args)
        return {"db_version": _version, "db_check": _check, "audit": _audit}[command](conf)
    except sqlalchemy.exc.DBAPIError as error:  # its own text would show the whole statement
        print(f"{PROGRAM}: the database refused: {error.orig}", file=sys.stderr)
        return 1
    except (exceptions.GlanceError, cfg.Error) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
