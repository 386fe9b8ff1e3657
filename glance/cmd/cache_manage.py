# SPDX-License-Identifier: Apache-2.0
"""glance-cache-manage: look at the image cache of a glance-api, and change what is in it.

The identity and the address come as for the command glance.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys

from glance import client
from glance.cmd import shell


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list(images: client.Client, args: argparse.Namespace) -> None:
    found = images.cached_images()
    for command, hidden in (("list-cached", "queued_images"), ("list-queued", "cached_images")):
        if args.command == command:
            found[hidden] = []
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for entry in found["cached_images"]:
        print(f"{entry['image_id']}  cached  {entry['size']:>14} bytes  {entry['hits']:>6} hits  "
              f"used {_time(entry['last_accessed'])}")
    for image_id in found["queued_images"]:
        print(f"{image_id}  queued")


def _parser() -> argparse.ArgumentParser:
    parser = shell.global_parser("glance-cache-manage", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for names, many, text in (
            (("list",), False, "what is cached and queued"),
            (("list-cached",), False, "what is cached"),
            (("list-queued",), False, "what is queued"),
            (("queue-image",), True, "have images cached"),
            (("delete-cached-image", "delete-queued-image"), True, "remove images"),
            (("delete-all-cached-images",), False, "empty the cache"),
            (("delete-all-queued-images",), False, "empty the queue")):
        for name in names:
            command = commands.add_parser(name, help=text, description=text)
            if many:
                command.add_argument("image", nargs="+")
    return parser


def _act(images: client.Client, args: argparse.Namespace) -> None:
    if args.command.startswith("list"):
        _list(images, args)
    elif args.command == "queue-image":
        for image_id in args.image:
            images.cache_image(image_id)
    elif args.command.startswith("delete-all"):
        images.clear_cache("cache" if "cached" in args.command else "queue")
    else:
        for image_id in args.image:
            images.delete_cached_image(image_id)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    return shell.run("glance-cache-manage", args, _act)


if __name__ == "__main__":
    sys.exit(main())
