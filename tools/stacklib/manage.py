# SPDX-License-Identifier: Apache-2.0
"""Running the product's own command-line tools."""
import subprocess

from .packages import CHECKOUT, PRODUCT_VENV
from .progress import StackError
from .supervise import clean_environment

TIMEOUT = 120.0  # a schema from nothing on a busy machine


def run(module: str, *arguments: str) -> str:
    """Standard output of `python -m MODULE ARGUMENT...`.

    :raises StackError: it exits with another code than 0
    """
    done = subprocess.run([str(PRODUCT_VENV / "bin/python"), "-m", module, *arguments],
                          cwd=CHECKOUT, env=clean_environment(), capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    if done.returncode:
        raise StackError(f"{module} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
