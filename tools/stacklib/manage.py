# SPDX-License-Identifier: Apache-2.0
"""Running the product's own command-line tools."""
import json
import subprocess

from .packages import CHECKOUT, PRODUCT_VENV
from .progress import StackError
from .supervise import clean_environment

TIMEOUT = 120.0  # a schema from nothing on a busy machine

# Several nova-manage commands cost one start of Python: most of what one costs is imports.
SEVERAL = """
import contextlib, io, json, sys
from nova.cmd.manage.main import run
results = []
for arguments in json.load(sys.stdin):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = run(arguments)
    if code:
        sys.exit(f"nova-manage {' '.join(arguments)}: {output.getvalue()}")
    results.append(output.getvalue())
print(json.dumps(results))
"""


def _python(arguments: list[str], name: str, stdin: str = "") -> str:
    done = subprocess.run([str(PRODUCT_VENV / "bin/python"), *arguments], input=stdin,
                          cwd=CHECKOUT, env=clean_environment(), capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    if done.returncode:
        raise StackError(f"{name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def run(module: str, *arguments: str) -> str:
    """Standard output of `python -m MODULE ARGUMENT...`.

    :raises StackError: it exits with another code than 0
    """
    return _python(["-m", module, *arguments], f"{module} {' '.join(arguments)}")


def nova_manage(config: str, commands: list[list[str]]) -> list[str]:
    """What each of these nova-manage commands prints, run one after the other.

    :raises StackError: one fails; those after it are not run
    """
    if not commands:
        return []
    text = json.dumps([["--config-file", config, *command] for command in commands])
    return json.loads(_python(["-c", SEVERAL], "nova-manage", text))
