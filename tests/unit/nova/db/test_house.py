# SPDX-License-Identifier: Apache-2.0
"""The habit every query module keeps."""

import ast
from pathlib import Path

import pytest

import nova.db

MODULES = sorted(path for path in Path(nova.db.__file__).parent.glob("*.py")
                 if path.name not in ("session.py", "models.py", "schema.py", "__init__.py"))


def _opens_transaction(function):
    """The function itself, not one defined inside it, has a ``with reader()`` or ``writer()``."""
    stack = list(function.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.With) and any(
                ast.unparse(item.context_expr).rpartition(".")[2] in ("reader()", "writer()")
                for item in node.items):
            return True
        stack.extend(ast.iter_child_nodes(node))
    return False


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_bug_transaction_that_was_not_tried_again_lost_its_connection(path):
    """A connection lost in one query without ``retry`` put a whole build into ERROR."""
    tree = ast.parse(path.read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    retried = {name for name, node in functions.items()
               if any(ast.unparse(decorator).rpartition(".")[2] == "retry"
                      for decorator in node.decorator_list)}
    # A helper whose every caller in the module is retried is part of the caller's try.
    callers = {name: {other for other, node in functions.items()
                      if other != name and any(
                          isinstance(call, ast.Call) and ast.unparse(call.func) == name
                          for call in ast.walk(node))} for name in functions}
    bare = [name for name, node in functions.items()
            if _opens_transaction(node) and name not in retried
            and not (callers[name] and callers[name] <= retried)]
    assert bare == []
