# SPDX-License-Identifier: Apache-2.0
"""The size budget fails for what is never allowed and for nothing else."""
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[3] / "tools/size-report"


def report(root: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(REPORT), str(root)], capture_output=True, text=True,
                          timeout=60, check=False)


def write(root: Path, text: str) -> None:
    (root / "nova").mkdir()
    (root / "tools").mkdir()
    (root / "nova/module.py").write_text(text)


def test_within_the_budget(tmp_path):
    write(tmp_path, "def small():\n" + "    pass\n" * 80 + "\n" * 700)
    done = report(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "functions 1, p95 81" in done.stdout


def test_tidying_up_is_not_swallowing(tmp_path):
    write(tmp_path, "try:\n    pass\nexcept BaseException:\n    tidy()\n    raise\n")
    assert report(tmp_path).returncode == 0


@pytest.mark.parametrize(("text", "complaint"), [
    ("\n" * 901, "file of 901 lines"),
    ("def long():\n" + "    pass\n" * 90, "function of 91 lines"),
    ("try:\n    pass\nexcept Exception:\n    pass\n", "broad except without its reason"),
    ("try:\n    pass\nexcept:\n    pass\n", "broad except without its reason"),
])
def test_never_allowed(tmp_path, text, complaint):
    write(tmp_path, text)
    done = report(tmp_path)
    assert done.returncode == 1
    assert complaint in done.stdout
