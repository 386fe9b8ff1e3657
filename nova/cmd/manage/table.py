# SPDX-License-Identifier: Apache-2.0
"""Rows for people or, with ``--json``, for programs."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def show(headings: Sequence[str], rows: Iterable[Sequence[Any]], as_json: bool = False) -> None:
    """Print rows under headings, aligned; or a JSON list of objects."""
    rows = [list(row) for row in rows]
    if as_json:
        print(json.dumps([dict(zip(headings, row, strict=True)) for row in rows], indent=1,
                         default=str))
        return
    texts = [list(headings), *([("-" if cell is None else str(cell)) for cell in row]
                               for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headings))]
    for row in texts:
        print("  ".join(cell.ljust(width)
                        for cell, width in zip(row, widths, strict=True)).rstrip())
