# SPDX-License-Identifier: Apache-2.0
"""Keystone, glance and what pretends to be nova on loopback, set up for clients that want more of
glance than a stack has: further stores, imports from a web server, a cache."""

import configparser
import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

CHECKOUT = Path(__file__).resolve().parents[2]
READY_TIMEOUT = 180
STACK_TIMEOUT = 600
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
require_image_format_match = {match}
[image_import_opts]
image_import_plugins = [image_conversion]
[oslo_policy]
policy_file = {data}/image-policy.yaml
"""
POLICY = """\
"set_image_location": "rule:admin_required or role:member"
"get_image_location": "rule:admin_required or role:member or role:reader"
"""


class Loopback:
    """A stack on ports of its own, with pretended machines."""

    def __init__(self, data):
        self.data = data
        self.config = data / "etc/glance/glance-api.conf"

    def command(self, name, *arguments, check=True):
        return subprocess.run(
            [sys.executable, str(CHECKOUT / "tools/stack"), name, "--data", str(self.data),
             *arguments], check=check, text=True, capture_output=True, timeout=STACK_TIMEOUT).stdout

    def environment(self, user="admin"):
        """What a shell of that user has set."""
        lines = self.command("env", "openrc", "--user", user).splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
        return {**os.environ, **{name: value.strip("'") for name, value in pairs}}

    def openstack(self, *arguments, environment=None):
        """The JSON that a command of the openstack client prints."""
        done = subprocess.run([str(Path(sys.executable).parent / "openstack"), *arguments, "-f",
                               "json"], env=environment or self.environment(), check=True,
                              text=True, capture_output=True, timeout=STACK_TIMEOUT)
        return json.loads(done.stdout)

    def image_url(self):
        return next(line["URL"] for line in self.openstack(
            "endpoint", "list", "--service", "image"))

    def configure(self, port, *, secure="true", match="false"):
        """Write what these clients need into the configuration of glance-api.

        :param port: of the web server that may be fetched from.
        """
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(self.config.read_text() + CONFIG.format(
            data=self.data, port=port, secure=secure, match=match))
        with self.config.open("w") as target:
            parser.write(target)
        (self.data / "image-policy.yaml").write_text(POLICY)

    def load_metadefs(self):
        subprocess.run([sys.executable, "-m", "glance.cmd.manage", "--config-file",
                        str(self.config), "db", "load_metadefs"], check=True, cwd=CHECKOUT,
                       timeout=STACK_TIMEOUT)

    def restart_glance(self, url):
        """Have glance-api read its configuration, and wait for it."""
        line = next(line for line in self.command("status", check=False).splitlines()
                    if line.startswith("glance-api"))
        old = int(line.split()[3])
        os.kill(old, signal.SIGTERM)
        deadline = time.monotonic() + READY_TIMEOUT
        while Path(f"/proc/{old}").exists():
            assert time.monotonic() < deadline, "glance-api does not end"
            time.sleep(0.2)
        wait_until_served(url)

    @contextlib.contextmanager
    def second_glance(self, port):
        """Another glance-api on the same database and staging area, with a cache of its own, in
        the catalog as a service of the type ``image_remote``."""
        parser = configparser.RawConfigParser(strict=False)
        parser.read(self.config)
        parser["DEFAULT"]["bind_port"] = str(port)
        parser["DEFAULT"]["image_cache_dir"] = str(self.data / "second-cache")
        second = self.config.with_name("glance-api-second.conf")
        with second.open("w") as target:
            parser.write(target)
        url = f"http://127.0.0.1:{port}"
        self.openstack("service", "create", "--name", "glance_second", "image_remote")
        self.openstack("endpoint", "create", "image_remote", "public", url, "--region",
                       self.environment()["OS_REGION_NAME"])
        with (self.data / "second.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "glance.cmd.api", "--config-file",
                                        str(second)], cwd=CHECKOUT, stdout=log, stderr=log)
        try:
            wait_until_served(url, lambda: process.poll() is None)
            yield
        finally:
            process.terminate()
            process.wait(READY_TIMEOUT)


def wait_until_served(url, alive=lambda: True):
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline and alive():
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/healthcheck", timeout=5).ok:
                return
        time.sleep(0.5)
    raise AssertionError(f"nobody serves at {url}")


@contextlib.contextmanager
def served_images(folder):
    """The port of a web server with ``image.raw`` and ``image.qcow2``."""
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
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
