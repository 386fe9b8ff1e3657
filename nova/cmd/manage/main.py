# SPDX-License-Identifier: Apache-2.0
"""nova-manage CATEGORY COMMAND [ARGUMENTS]"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from nova import config, db
from nova.exception import NovaError

CATEGORIES = ("audit", "db", "flavor", "floating", "host", "network", "service", "version",
              "volume")


class Category:
    """Collects the commands of one category."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
        self._commands: Any = None

    def add(self, name: str, function: Callable[[argparse.Namespace], int | None],
            help: str) -> argparse.ArgumentParser:
        """Add a command; arguments are added to the parser that is returned."""
        if self._commands is None:
            self._commands = self.parser.add_subparsers(
                metavar="COMMAND", dest="command", required=True)
        command = self._commands.add_parser(name, help=help, description=help)
        command.set_defaults(function=function)
        return command

    def alone(self, function: Callable[[argparse.Namespace], int | None]
              ) -> argparse.ArgumentParser:
        """Make the category itself the command."""
        self.parser.set_defaults(function=function)
        return self.parser


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nova-manage", description="Manage nova on this host")
    for name in ("--config-file", "--config-dir"):
        parser.add_argument(name, action="append", default=[], metavar="PATH")
    parser.add_argument("--debug", action="store_true", help="log everything")
    subparsers = parser.add_subparsers(metavar="CATEGORY", dest="category", required=True)
    # Importing costs more than most commands: a category that is named is the only one imported.
    for name in [wanted for wanted in CATEGORIES if wanted in argv] or CATEGORIES:
        module = importlib.import_module(f"nova.cmd.manage.{name}")
        module.commands(Category(subparsers.add_parser(
            name, help=module.DESCRIPTION, description=module.DESCRIPTION)))
    return parser


def run(argv: Sequence[str]) -> int:
    """Do what a command line says; return the exit status."""
    args = _parser(argv).parse_args(argv)
    options = [*(f"--config-file={path}" for path in args.config_file),
               *(f"--config-dir={path}" for path in args.config_dir),
               *(["--debug"] if args.debug else [])]
    config.initialize(options, "nova-manage")
    try:
        if args.category != "version":
            db.configure()
        return args.function(args) or 0
    except (NovaError, ValueError) as error:
        print(f"nova-manage: {error}", file=sys.stderr)
        return 1


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
