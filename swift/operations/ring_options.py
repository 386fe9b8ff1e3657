# SPDX-License-Identifier: Apache-2.0
"""The options of swift-ring-builder's commands. A letter means another thing in each of them."""
from __future__ import annotations

import argparse

# What a device is found by, and what it is described by when it is added: (letter, name, type).
_DEVICE = (("u", "id", int), ("r", "region", int), ("z", "zone", int), ("i", "ip", str),
           ("p", "port", int), ("j", "replication-ip", str), ("q", "replication-port", int),
           ("d", "device", str), ("w", "weight", float), ("m", "meta", str))
_CHANGE = (("I", "ip", str), ("P", "port", int), ("J", "replication-ip", str),
           ("Q", "replication-port", int), ("D", "device", str), ("M", "meta", str))
OF_DEVICES = ("add", "list_parts", "remove", "search", "set_info", "set_region", "set_weight",
              "set_zone")
_SEEN = ("show", "list", "default")          # the names of what is done without a command


def parse(argv: list[str]) -> argparse.Namespace:
    """BUILDER [COMMAND [options and values]]; SystemExit for options the command has not."""
    command = argv[1] if len(argv) > 1 else "show"
    parser = argparse.ArgumentParser(prog=f"swift-ring-builder {argv[0]} {command}",
                                     allow_abbrev=False)
    parser.add_argument("values", nargs="*")
    if command in OF_DEVICES:
        _device_options(parser)
    elif command == "rebalance":
        parser.add_argument("-f", "--force", action="store_true", help="save even a small change")
        parser.add_argument("-s", "--seed", help="make the outcome repeatable")
        parser.add_argument("-d", "--debug", action="store_true",
                            help="show the devices afterwards")
    elif command == "dispersion":
        parser.add_argument("-v", "--verbose", action="store_true", help="show all tiers")
        parser.add_argument("-r", "--recalculate", action="store_true",
                            help="save the figures that were found")
    if command in ("rebalance", "write_ring"):
        parser.add_argument("--format-version", type=int, choices=(1, 2), default=1)
    if command == "write_ring":
        parser.add_argument("--dev-id-bytes", type=int, choices=(2, 4),
                            help="bytes of a device id in the ring; 4 want format version 2")
    args = parser.parse_intermixed_args(argv[2:])
    args.builder_file, args.command = argv[0], "show" if command in _SEEN else command
    return args


def _device_options(parser: argparse.ArgumentParser) -> None:
    for letter, name, kind in _DEVICE:
        parser.add_argument(f"-{letter}", f"--{name}", type=kind)
    for letter, name, kind in _CHANGE:
        parser.add_argument(f"-{letter}", f"--change-{name}", type=kind,
                            help=f"set_info: the new {name}")
    parser.add_argument("-y", "--yes", action="store_true", help="answer every question with yes")
