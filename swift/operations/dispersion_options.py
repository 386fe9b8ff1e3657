# SPDX-License-Identifier: Apache-2.0
"""The options that swift-dispersion-populate and swift-dispersion-report have in common."""
from __future__ import annotations

import argparse

from swift.operations.dispersion import DEFAULT_CONFIG


def make_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of those; each program adds its own."""
    parser = argparse.ArgumentParser(prog=prog, description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=DEFAULT_CONFIG)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--container-only", action="store_true", help="no objects")
    only.add_argument("--object-only", action="store_true", help="no containers")
    parser.add_argument("--insecure", action="store_true", help="do not verify certificates")
    parser.add_argument("-P", "--policy-name", help="the storage policy (the default one)")
    return parser
