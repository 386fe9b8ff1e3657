# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``security-rows``: which known hazard is tried where, read from the tests.

A row is a letter for its subject and a number.  A test names the rows it tries in its docstring,
its module's or a comment; security.rst names those that cannot occur here, each with a reason.
"""
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("security.rst")

# Subject: its letter, and the number of its last row.
SUBJECTS = {
    "F": (19, "files of the host, by image formats and injection"),
    "U": (10, "what is fetched, and locations of images"),
    "L": (20, "logs, errors and answers that tell too much"),
    "T": (26, "tenants and their rights, by all doors"),
    "E": (17, "signatures of EC2 and S3"),
    "Q": (27, "quotas, exhaustion, things left over"),
    "K": (18, "tokens, consoles, identity"),
    "X": (11, "parsers"),
    "M": (7, "metadata"),
    "N": (25, "networks of guests"),
    "R": (13, "root's rights, commands, local files"),
    "S": (27, "object storage"),
    "G": (17, "images"),
    "V": (18, "volumes"),
    "C": (8, "configuration and dependencies"),
}
RETIRED = {"G13"}       # a number that stands for nothing
_ROW = re.compile(r"\b([A-Z])(\d{1,2})\b(?:\s*(?:-|to)\s*(?:\1)?(\d{1,2})\b)?")
_ELSEWHERE = re.compile(r"^   \* - (.+)\n     - (.+(?:\n       .+)*)", re.MULTILINE)


def every_row() -> list[str]:
    """All rows there are, by subject and number."""
    return [row for letter, (last, _) in SUBJECTS.items() for number in range(1, last + 1)
            if (row := f"{letter}{number}") not in RETIRED]


def named_in(text: str) -> set[str]:
    """The rows a text names; ``Q9 to Q11`` are three."""
    found = set()
    text = re.sub(r"\bS3\b(?![:,])", "", text)      # Amazon's, not the third of S
    for letter, first, last in _ROW.findall(text):
        found |= {f"{letter}{number}" for number in range(
            int(first), int(last or first) + 1)}
    return found


def tried(tests: Path = CHECKOUT / "tests") -> dict[str, list[str]]:
    """The test files that name each row."""
    found: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        words = "\n".join(re.findall(r'""".*?"""|#[^\n]*',
                                     path.read_text(encoding="utf-8"), re.DOTALL))
        for row in named_in(words) & set(every_row()):
            found.setdefault(row, []).append(str(path.relative_to(tests)))
    return found


def elsewhere() -> dict[str, str]:
    """The rows of the page's own table, and why each is not tried."""
    found: dict[str, str] = {}
    for rows, why in _ELSEWHERE.findall(PAGE.read_text(encoding="utf-8")):
        found |= dict.fromkeys(named_in(rows), " ".join(why.split()))
    return found


class SecurityRows(Directive):
    """``.. security-rows::`` lists subjects, and the tests of their rows."""

    def run(self) -> list[nodes.Node]:
        where, listing = tried(), nodes.bullet_list()
        for letter, (_, subject) in SUBJECTS.items():
            rows = [row for row in every_row() if row[0] == letter and row in where]
            item = nodes.list_item()
            item += nodes.paragraph(text=f"{letter}: {subject}")
            inner = nodes.bullet_list()
            for row in rows:
                line = nodes.list_item()
                line += nodes.paragraph("", "", nodes.Text(f"{row}  "),
                                        nodes.literal(text=", ".join(where[row])))
                inner += line
            item += inner
            listing += item
        return [listing]


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("security-rows", SecurityRows)
    return {"parallel_read_safe": True}
