# SPDX-License-Identifier: Apache-2.0
"""OpenStack's own tests of the Image API against a stack of ours.

``glance-tempest-pass.txt`` names the tests that must pass; tempest comes from PyPI into an
environment of its own.  The stack gets a second store, web servers as a third, a cache, a second
glance-api, and the policy that lets members set locations, which these tests ask for.  What wants
``do_secure_hash`` off runs after the rest, with that.
"""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchlib.__main__ import free_base
from image_stack import Loopback, served_images

TEMPEST = "tempest==47.0.0"
INSTALL_TIMEOUT = 900
RUN_TIMEOUT = 3600
ON_TRUST = "do_secure_hash_false"
LISTED = Path(__file__).with_name("glance-tempest-pass.txt")


@pytest.fixture(scope="module")
def tempest(tmp_path_factory):
    """Folder of tempest's commands."""
    folder = tmp_path_factory.mktemp("tempest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True,
                   timeout=INSTALL_TIMEOUT)
    subprocess.run([str(folder / "bin/pip"), "install", "-q", TEMPEST], check=True,
                   timeout=INSTALL_TIMEOUT)
    return folder / "bin"


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """The port of a web server with an image in two formats."""
    with served_images(tmp_path_factory.mktemp("www")) as port:
        yield port


@pytest.fixture
def stack(tmp_path):
    """Keystone, glance and nova."""
    stack = Loopback(tmp_path / "stack")
    try:
        stack.command("up", "glance", "nova", "--compute", "fake", "--no-packages", "--port-base",
                      str(free_base()))
        yield stack
    finally:
        stack.command("reset", "--yes", check=False)


def write_manifest(folder):
    """Disks of several formats for the tests of formats."""
    folder.mkdir()
    lines = ["images:"]
    for name in ("raw", "qcow2", "vmdk"):
        subprocess.run(["qemu-img", "create", "-q", "-f", name, str(folder / name), "8M"],
                       check=True, timeout=60)
        lines.append(f"- {{name: {name}, format: {name}, filename: {name}, usable: true}}")
    (folder / "manifest.yaml").write_text("\n".join(lines))
    return folder / "manifest.yaml"


def write_tempest_conf(stack, workspace, environment, port, *, secure=True):
    images = [image["ID"] for image in stack.openstack("image", "list")]
    flavors = [flavor["ID"] for flavor in stack.openstack("flavor", "list")]
    sections = {
        "auth": {"use_dynamic_credentials": True, "admin_username": environment["OS_USERNAME"],
                 "admin_password": environment["OS_PASSWORD"],
                 "admin_project_name": environment["OS_PROJECT_NAME"],
                 "admin_domain_name": "Default", "create_isolated_networks": False,
                 "tempest_roles": "member"},
        "identity": {"uri_v3": environment["OS_AUTH_URL"], "auth_version": "v3",
                     "region": environment["OS_REGION_NAME"], "v3_endpoint_type": "public"},
        "compute": {"image_ref": images[0], "image_ref_alt": images[-1],
                    "flavor_ref": flavors[0], "flavor_ref_alt": flavors[-1]},
        "image": {"http_image": f"http://127.0.0.1:{port}/image.raw",
                  "http_qcow2_image": f"http://127.0.0.1:{port}/image.qcow2",
                  "build_timeout": 120, "build_interval": 1, "hashing_algorithm": "sha512",
                  "disk_formats": "raw,qcow2,vmdk,iso", "container_formats": "bare",
                  "image_caching_enabled": True, "alternate_image_endpoint": "image_remote",
                  "images_manifest_file": workspace / "formats/manifest.yaml"},
        "image-feature-enabled": {
            "import_image": True, "manage_locations": True, "http_store_enabled": True,
            "do_secure_hash": secure, "store_weight_enabled": True, "image_conversion": True,
            "image_format_enforcement": False},
        "volume": {"catalog_type": "block-storage", "volume_size": 1},
        "oslo_concurrency": {"lock_path": workspace / "locks"},
        "service_available": {"neutron": False, "nova": True, "glance": True, "cinder": True,
                              "swift": False, "horizon": False}}
    parser = configparser.RawConfigParser()
    for section, options in sections.items():
        parser[section] = {name: str(value) for name, value in options.items()}
    with (workspace / "etc/tempest.conf").open("w") as target:
        parser.write(target)


def run_tempest(program, workspace, names, environment):
    """Run these tests; the names of those that passed."""
    listed = workspace / "names.txt"
    listed.write_text("\n".join(names))
    done = subprocess.run(
        [str(program / "tempest"), "run", "--include-list", str(listed), "--concurrency", "1"],
        cwd=workspace, timeout=RUN_TIMEOUT, text=True, capture_output=True, env=environment)
    assert done.returncode == 0, done.stdout[-5000:]
    return set(re.findall(r"^\{\d\} (tempest[\w.]+).* \.\.\. ok$", done.stdout, re.MULTILINE))


@pytest.mark.whole
@pytest.mark.timeout(INSTALL_TIMEOUT + RUN_TIMEOUT)
def test_what_passed_passes(tempest, web, stack, tmp_path, free_port):
    environment = {**stack.environment(), "HOME": str(tmp_path)}  # tempest keeps a list there
    url = stack.image_url()
    stack.configure(web)
    stack.load_metadefs()
    stack.restart_glance(url)
    workspace = tmp_path / "workspace"
    subprocess.run([str(tempest / "tempest"), "init", str(workspace)], check=True, timeout=120,
                   capture_output=True, env=environment)
    write_manifest(workspace / "formats")
    names = LISTED.read_text().split()
    on_trust = [name for name in names if name.endswith(ON_TRUST)]
    passed = set()
    with stack.second_glance(free_port()):
        write_tempest_conf(stack, workspace, environment, web)
        passed |= run_tempest(tempest, workspace, [
            name for name in names if name not in on_trust], environment)
    stack.configure(web, secure="false")
    stack.restart_glance(url)
    write_tempest_conf(stack, workspace, environment, web, secure=False)
    passed |= run_tempest(tempest, workspace, on_trust, environment)
    assert sorted(set(names) - passed) == []
