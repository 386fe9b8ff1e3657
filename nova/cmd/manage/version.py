# SPDX-License-Identifier: Apache-2.0
"""nova-manage version"""

import argparse

from nova.config import VERSION

DESCRIPTION = "Print the release of this code"


def commands(category) -> None:
    """The category is its only command."""
    category.alone(_version)


def _version(args: argparse.Namespace) -> None:
    print(VERSION)
