# SPDX-License-Identifier: Apache-2.0
"""OpenStack's own tests of the Image API against a stack of ours.

``glance-tempest-pass.txt`` names the tests that must pass; tempest comes from PyPI into an
environment of its own.  The stack gets a second store, web servers as a third, a cache, a second
glance-api, and the policy that lets members set locations, which these tests ask for.  What wants
``do_secure_hash`` off runs after the rest, with that.
"""

import configparser
import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from benchlib.__main__ import free_base

CHECKOUT = Path(__file__).resolve().parents[2]
TEMPEST = "tempest==47.0.0"
INSTALL_TIMEOUT = 900
RUN_TIMEOUT = 3600
READY_TIMEOUT = 180
STACK_TIMEOUT = 600
ON_TRUST = "do_secure_hash_false"
LISTED = Path(__file__).with_name("glance-tempest-pass.txt")
CONFIG = """\
[DEFAULT]
enabled_backends = file:filesystem, deep:filesystem, web:http
show_multiple_locations = true
image_cache_dir = {data}/image-cache
do_secure_hash = {secure}
[glance_store]
default_backend = file
[deep]
filesystem_store_datadir = {data}/glance/deep
weight = 10
[import_filtering_opts]
allowed_networks = 127.0.0.0/8
allowed_ports = {port}
[image_format]
require_image_format_match = false
[image_import_opts]
image_import_plugins = [image_conversion]
[oslo_policy]
policy_file = {data}/tempest-policy.yaml
"""
POLICY = """\
"set_image_location": "rule:admin_required or role:member"
"get_image_location": "rule:admin_required or role:member or role:reader"
"""


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
    """A web server with an image in two formats; its port."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "image.raw").write_bytes(os.urandom(1_000_000))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "image.qcow2"), "16M"],
                   check=True, timeout=60)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(10)
    server.server_close()


class Loopback:
    """A stack on ports of its own, with pretended machines."""

    def __init__(self, data):
        self.data = data

    def command(self, name, *arguments, check=True):
        return subprocess.run(
            [sys.executable, str(CHECKOUT / "tools/stack"), name, "--data", str(self.data),
             *arguments], check=check, text=True, capture_output=True, timeout=STACK_TIMEOUT).stdout

    def environment(self):
        """What a shell of the administrator has set."""
        lines = self.command("env", "openrc", "--user", "admin").splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
        return {**os.environ, **{name: value.strip("'") for name, value in pairs}}

    def openstack(self, *arguments):
        done = subprocess.run([str(Path(sys.executable).parent / "openstack"), *arguments, "-f",
                               "json"], env=self.environment(), check=True, text=True,
                              capture_output=True, timeout=STACK_TIMEOUT)
        return json.loads(done.stdout)


@pytest.fixture
def stack(tmp_path):
    """Keystone, glance and nova."""
    stack = Loopback(tmp_path / "stack")
    stack.command("up", "glance", "nova", "--compute", "fake", "--no-packages", "--port-base",
                  str(free_base()))
    yield stack
    stack.command("reset", "--yes", check=False)


def configure(stack, port, **options):
    """The configuration file of glance-api, with what the tests need."""
    path = stack.data / "etc/glance/glance-api.conf"
    parser = configparser.RawConfigParser(strict=False)
    more = {"data": stack.data, "port": port, "secure": "true", **options}
    parser.read_string(path.read_text() + CONFIG.format(**more))
    with path.open("w") as target:
        parser.write(target)
    (stack.data / "tempest-policy.yaml").write_text(POLICY)
    return path


def leader(stack):
    """The process id of glance-api."""
    line = next(line for line in stack.command("status", check=False).splitlines()
                if line.startswith("glance-api"))
    return int(line.split()[3])


def wait_until_served(url, alive=lambda: True):
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline and alive():
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/healthcheck", timeout=5).ok:
                return
        time.sleep(0.5)
    raise AssertionError(f"nobody serves at {url}")


def restart_glance(stack, url):
    """Have the stack's glance-api read its configuration, and wait for it."""
    old = leader(stack)
    os.kill(old, signal.SIGTERM)
    deadline = time.monotonic() + READY_TIMEOUT
    while Path(f"/proc/{old}").exists():
        assert time.monotonic() < deadline, "glance-api does not end"
        time.sleep(0.2)
    wait_until_served(url)


@contextlib.contextmanager
def second_glance(stack, path, port):
    """Another glance-api on the same database and staging area, with a cache of its own, in the
    catalog as a service of the type ``image_remote``."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(path)
    parser["DEFAULT"]["bind_port"] = str(port)
    parser["DEFAULT"]["image_cache_dir"] = str(stack.data / "second-cache")
    second = path.with_name("glance-api-second.conf")
    with second.open("w") as target:
        parser.write(target)
    url = f"http://127.0.0.1:{port}"
    stack.openstack("service", "create", "--name", "glance_second", "image_remote")
    stack.openstack("endpoint", "create", "image_remote", "public", url, "--region",
                    stack.environment()["OS_REGION_NAME"])
    with (stack.data / "second.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "glance.cmd.api", "--config-file",
                                    str(second)], cwd=CHECKOUT, stdout=log, stderr=log)
    try:
        wait_until_served(url, lambda: process.poll() is None)
        yield
    finally:
        process.terminate()
        process.wait(READY_TIMEOUT)


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
    environment = stack.environment()
    url = next(line["URL"] for line in stack.openstack("endpoint", "list", "--service", "image"))
    path = configure(stack, web)
    subprocess.run([sys.executable, "-m", "glance.cmd.manage", "--config-file", str(path), "db",
                    "load_metadefs"], check=True, cwd=CHECKOUT, timeout=STACK_TIMEOUT)
    restart_glance(stack, url)
    workspace = tmp_path / "workspace"
    subprocess.run([str(tempest / "tempest"), "init", str(workspace)], check=True, timeout=120,
                   capture_output=True)
    write_manifest(workspace / "formats")
    names = LISTED.read_text().split()
    on_trust = [name for name in names if name.endswith(ON_TRUST)]
    passed = set()
    with second_glance(stack, path, free_port()):
        write_tempest_conf(stack, workspace, environment, web)
        passed |= run_tempest(tempest, workspace, [
            name for name in names if name not in on_trust], environment)
    configure(stack, web, secure="false")
    restart_glance(stack, url)
    write_tempest_conf(stack, workspace, environment, web, secure=False)
    passed |= run_tempest(tempest, workspace, on_trust, environment)
    assert sorted(set(names) - passed) == []
