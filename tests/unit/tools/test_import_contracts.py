# SPDX-License-Identifier: Apache-2.0
"""The import contracts of setup.cfg are kept by a lawful tree and broken by each kind of sin."""
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]

# modules the contracts speak of, empty
LAWFUL = [
    "nova/concurrency.py", "nova/service.py", "nova/api/openstack/servers.py", "nova/cmd/api.py",
    "nova/compute/api.py", "nova/compute/manager.py", "nova/db/models.py", "nova/image/glance.py",
    "nova/network/manager.py", "nova/network/api.py", "nova/rpc/client.py",
    "nova/scheduler/filters/ram.py", "nova/scheduler/manager.py", "nova/virt/libvirt/driver.py",
    "nova/volume/api.py", "nova/volume/manager.py",
    "glance/api/images.py", "glance/client.py", "glance/cmd/api.py", "glance/store/swift.py",
    "swift/common/concurrency.py", "swift/proxy/server.py", "swift/obj/server.py",
]
# contract, the module that sins, what it imports
SINS = [
    ("standalone", "nova/compute/manager.py", "glance.client"),
    ("standalone", "nova/image/glance.py", "glance.store.swift"),
    ("standalone", "glance/store/swift.py", "swift.proxy.server"),
    ("standalone", "swift/obj/server.py", "nova.service"),
    ("api", "nova/api/openstack/servers.py", "nova.compute.manager"),
    ("api", "nova/api/openstack/servers.py", "nova.virt.libvirt.driver"),
    ("front", "nova/compute/api.py", "nova.network.manager"),
    ("front", "nova/volume/api.py", "nova.volume.manager"),
    ("virt", "nova/virt/libvirt/driver.py", "nova.db.models"),
    ("virt", "nova/virt/libvirt/driver.py", "nova.rpc.client"),
    ("db", "nova/db/models.py", "nova.compute.api"),
    ("db", "nova/db/models.py", "nova.rpc.client"),
    ("rpc", "nova/rpc/client.py", "nova.compute.manager"),
    ("scheduler", "nova/scheduler/filters/ram.py", "nova.db.models"),
    ("cmd", "nova/network/api.py", "nova.cmd.api"),
    ("eventlet", "nova/service.py", "eventlet"),
    ("eventlet", "swift/proxy/server.py", "eventlet"),
]


@pytest.fixture
def tree(tmp_path):
    """A checkout of empty modules with our setup.cfg."""
    shutil.copy(CHECKOUT / "setup.cfg", tmp_path)
    for name in LAWFUL:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        for folder in path.relative_to(tmp_path).parents[:-1]:
            (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "nova/cmd/api.py").write_text("import eventlet\nimport nova.api.openstack.servers")
    (tmp_path / "nova/image/glance.py").write_text("from glance import client")
    (tmp_path / "swift/common/concurrency.py").write_text("import eventlet")
    return tmp_path


def lint(tree: Path, *arguments: str) -> subprocess.CompletedProcess:
    """lint-imports over the tree, in a process that sees the tree and not the checkout."""
    program = ("import sys; sys.path.insert(0, '.'); "
               "from importlinter.cli import lint_imports_command as main; main()")
    return subprocess.run([sys.executable, "-c", program, "--no-cache", "--no-logo", *arguments],
                          cwd=tree, capture_output=True, text=True, timeout=60, check=False)


def test_a_lawful_tree_keeps_every_contract(tree):
    done = lint(tree)
    assert "0 broken" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(("contract", "sinner", "victim"), SINS)
def test_a_sin_breaks_its_contract(tree, contract, sinner, victim):
    with open(tree / sinner, "a") as module:
        module.write(f"\nimport {victim}\n")
    done = lint(tree, "--contract", contract)
    assert "1 broken" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
