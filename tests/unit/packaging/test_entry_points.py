# SPDX-License-Identifier: Apache-2.0
"""setup.cfg names daemons, tools and plug-ins that exist, and all that exist."""
import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
ENTRIES = [line.split(" = ") for group in SETUP["options.entry_points"].values()
           for line in group.strip().splitlines()]
# run by a daemon or by another file, never by hand
NOT_COMMANDS = {"glance.cmd.serve", "nova.cmd.services"}


def names_in(module: str) -> set[str]:
    """What a module defines at its top; it is read, not imported: commands patch the process."""
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return {node.name for node in ast.parse(path.read_text()).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


@pytest.mark.parametrize("target", [target for _name, target in ENTRIES])
def test_each_entry_point_exists(target):
    module, name = target.split(":")
    assert name in names_in(module)


def test_each_command_has_a_name():
    named = {target.split(":")[0] for _name, target in ENTRIES}
    for folder in ("nova/cmd", "glance/cmd", "swift/cli"):
        for path in (ROOT / folder).glob("*.py"):
            module = f"{folder.replace('/', '.')}.{path.stem}"
            if path.stem != "__init__" and module not in NOT_COMMANDS:
                assert module in named, f"{module} is no command of setup.cfg"
