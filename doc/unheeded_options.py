# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``unheeded-options``: options of OpenStack Swift that change nothing here."""
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

from swift.common import unheeded

SOURCE = Path(unheeded.__file__)


class UnheededOptions(Directive):
    """A table: options, and what holds instead."""

    def run(self):
        rows = [(names.split(), instead) for names, instead in unheeded.GROUPS]
        body = nodes.tbody()
        for names, instead in rows:
            first = nodes.paragraph()
            for name in names:
                first += [nodes.literal(name, name), nodes.Text(" ")]
            body += nodes.row("", nodes.entry("", first),
                              nodes.entry("", nodes.paragraph("", instead)))
        head = nodes.thead("", nodes.row("", *(
            nodes.entry("", nodes.paragraph("", text)) for text in ("option", "instead"))))
        self.state.document.settings.record_dependencies.add(str(SOURCE))
        return [nodes.table("", nodes.tgroup(
            "", nodes.colspec(colwidth=45), nodes.colspec(colwidth=55), head, body, cols=2))]


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("unheeded-options", UnheededOptions)
    return {"parallel_read_safe": True}
