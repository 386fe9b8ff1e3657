# SPDX-License-Identifier: Apache-2.0
"""The sample files in etc/glance are what the generators make of the code."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
ENTRY_POINTS = """\
[oslo.config.opts]
glance.api = glance.opts:list_api_opts
glance.registry = glance.opts:list_registry_opts
[oslo.policy.policies]
glance = glance.policy:list_rules
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The generators find our options whether or not the checkout was installed since."""
    folder = tmp_path_factory.mktemp("entry") / "samples-0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: samples\nVersion: 0\n")
    return {**os.environ, "PYTHONPATH": f"{folder.parent}:{ROOT}", "PYTHONWARNINGS": "ignore"}


def generate(environment, tool, *arguments):
    subprocess.run([str(pathlib.Path(sys.executable).parent / tool), *arguments], cwd=ROOT,
                   env=environment, check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize("program", ["glance-api", "glance-registry"])
def test_configuration_sample(environment, tmp_path, program):
    target = tmp_path / "sample"
    generate(environment, "oslo-config-generator", "--config-file",
             f"etc/glance/generator/{program}.conf", "--output-file", str(target))
    assert target.read_text() == (ROOT / f"etc/glance/{program}.conf").read_text()


def test_policy_sample(environment, tmp_path):
    target = tmp_path / "sample"
    generate(environment, "oslopolicy-sample-generator", "--namespace", "glance",
             "--output-file", str(target))
    assert target.read_text() == (ROOT / "etc/glance/glance-policy.yaml.sample").read_text()
