# SPDX-License-Identifier: Apache-2.0
"""Sphinx directive ``routes``: the calls an API serves, read from its route table.

The matrix is made from what the code says, so that it cannot promise more.
"""
import ast
import importlib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive

CHECKOUT = Path(__file__).resolve().parents[1]


def decorated(folder: Path) -> list[tuple[str, str, str]]:
    """(path, method, handler) of each @route(method, path, ...) below a folder."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {node.targets[0].id: node.value.value for node in tree.body
                     if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                     and isinstance(node.value, ast.Constant)}
        for node in ast.walk(tree):
            for call in getattr(node, "decorator_list", ()):
                if (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
                        and call.func.id == "route" and len(call.args) >= 2):
                    method, where = (text_of(argument, constants) for argument in call.args[:2])
                    found.append((where, method, f"{path.stem}.{node.name}"))
    return sorted(set(found))


def tabled(module: str) -> list[tuple[str, str, str]]:
    """(path, method, handler) of a module's table ROUTES; `refuse` handlers answer 501."""
    # what is bound to arguments is known by its function
    return [(where, method, name) for where, methods in importlib.import_module(module).ROUTES
            for method, handler in methods.items()
            if (name := getattr(handler, "func", handler).__name__) != "refuse"]


def text_of(node: ast.AST, constants: dict[str, str]) -> str:
    """The string an expression of strings, names and pluses stands for."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return str(constants.get(node.id, f"<{node.id}>"))
    if isinstance(node, ast.BinOp):
        return text_of(node.left, constants) + text_of(node.right, constants)
    return ast.unparse(node)


class Routes(Directive):
    """``.. routes:: nova/api/openstack/compute`` or ``.. routes:: glance.api.v2.router``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        where = self.arguments[0]
        rows = decorated(CHECKOUT / where) if "/" in where else tabled(where)
        if not rows:
            raise self.error(f"no routes in {self.arguments[0]}")
        listing = nodes.bullet_list()
        paths: dict[str, list[str]] = {}
        for where, method, _ in rows:
            paths.setdefault(where, []).append(method)
        for where, methods in paths.items():
            item = nodes.list_item()
            item += nodes.paragraph("", "", nodes.literal(text=where),
                                    nodes.Text("  " + " ".join(sorted(methods))))
            listing += item
        return [listing]


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("routes", Routes)
    return {"parallel_read_safe": True}
