# SPDX-License-Identifier: Apache-2.0
"""swift-config SERVER|FILE: show a configuration as servers read it, defaults merged in.

    swift-config object-server
    swift-config -s app:proxy-server proxy
    swift-config -w /etc/swift/proxy-server.conf
"""
from __future__ import annotations

import argparse
import os
import sys

from swift.common.conf import SWIFT_DIR, read_sections
from swift.common.app_conf import load_context
from swift.common.exceptions import ConfigError
from swift.operations.servers import RUN_DIR, UnknownServer, servers_named


def files_of(word: str, number: int) -> list[str]:
    """The file or folder itself, or those of a server; UnknownServer for neither."""
    if os.path.exists(word):
        return [word]
    swift_dir = os.environ.get("SWIFT_DIR", SWIFT_DIR)
    return [str(path) for server in servers_named([word], swift_dir, RUN_DIR)
            for path in server.conf_files(number)]


def show(path: str, wanted: str | None) -> None:
    """Print sections with their options."""
    for section, options in read_sections(path).items():
        if wanted is None or wanted in section:
            print(f"[{section}]")
            for name, value in options.items():
                print(f"{name} = {value}")
            print()


def show_wsgi(path: str) -> None:
    """Print the pipeline and each part's options, as PasteDeploy hands them on."""
    context = load_context(path)
    parts = [*getattr(context, "filter_contexts", []), getattr(context, "app_context", context)]
    names = read_sections(path).get("pipeline:main", {}).get("pipeline", "app").split()
    for name, part in zip(names, parts, strict=False):
        print(f"[{name}]")
        for option, value in {**part.global_conf, **part.local_conf}.items():
            print(f"{option} = {value}")
        print()


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-config", description=__doc__, formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="a server's name, or a file or folder")
    parser.add_argument("-c", "--config-num", type=int, default=0, dest="number", metavar="N",
                        help="only the Nth configuration of the server")
    parser.add_argument("-s", "--section", help="only sections with this in their names")
    parser.add_argument("-w", "--wsgi", action="store_true",
                        help="what PasteDeploy makes of it: the pipeline, part by part")
    args = parser.parse_args(argv)
    try:
        paths = files_of(args.server, args.number)
        for path in paths:
            print(f"# {path}")
            if args.wsgi:
                show_wsgi(path)
            else:
                show(path, args.section)
    except (ConfigError, UnknownServer) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    if not paths:
        print(f"ERROR: {args.server} has no configuration", file=sys.stderr)
    return 0 if paths else 1


if __name__ == "__main__":
    raise SystemExit(main())
