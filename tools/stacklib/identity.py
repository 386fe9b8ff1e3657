# SPDX-License-Identifier: Apache-2.0
"""Keystone as the stack's identity service: configured, bootstrapped, filled.

    identity.prepare(cloud)                # files and database; quick when they exist
    keystone = identity.Identity(cloud)    # once it answers
    keystone.fill()                        # users, roles, catalog: what is missing is made

SQLite, password hashes of four rounds and a cache in memory: right for one machine, see
doc/operator.rst for what a production set-up changes.
"""
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from . import outside, packages
from .layout import REGION, Cloud, write_atomically
from .probe import http_status
from .progress import StackError
from .supervise import Daemon

MANAGE_TIMEOUT = 180.0  # db_sync from nothing on a busy machine
REQUEST_TIMEOUT = 30.0

CONFIG = """\
[DEFAULT]
use_stderr = true
[database]
connection = {database}
[identity]
# 12 in production; a login costs half a second of CPU then
password_hash_rounds = 4
[fernet_tokens]
key_repository = {fernet}
[credential]
key_repository = {credential}
[token]
expiration = 14400
[cache]
enabled = true
backend = oslo_cache.dict
expiration_time = 600
[oslo_messaging_notifications]
driver = noop
[oslo_policy]
enforce_scope = true
"""

# service user: type, name and URL path in the catalog, port name
CATALOG: dict[str, list[tuple[str, str, str, str]]] = {
    "glance": [("image", "glance", "", "image")],
    "nova": [("compute", "nova", "/v2.1", "compute"), ("network", "neutron", "", "network"),
             ("ec2", "ec2", "/services/Cloud", "ec2"),
             ("block-storage", "cinder", "/v3/%(tenant_id)s", "volume"),
             ("volumev3", "cinderv3", "/v3/%(tenant_id)s", "volume")],
    "swift": [("object-store", "swift", "/v1/AUTH_%(tenant_id)s", "object-store")],
}


def folder(cloud: Cloud) -> Path:
    return cloud.data / "keystone"


def _manage(cloud: Cloud, *arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [str(packages.KEYSTONE_VENV / "bin/keystone-manage"),
               "--config-file", str(cloud.etc / "keystone/keystone.conf"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MANAGE_TIMEOUT,
                          env={**os.environ, **(environment or {})}, check=False)
    if done.returncode:
        raise StackError(f"keystone-manage {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def prepare(cloud: Cloud) -> bool:
    """Configuration, keys and database exist; True when they were made now.

    The mark of completion is written last, and every step may be repeated, so that a kill in
    between costs nothing but the time.
    """
    home = folder(cloud)
    home.mkdir(parents=True, exist_ok=True)
    keys = {name: home / name for name in ("fernet", "credential")}
    for path in keys.values():
        path.mkdir(mode=0o700, exist_ok=True)
    write_atomically(cloud.etc / "keystone/keystone.conf", CONFIG.format(
        database=outside.database_url(cloud, "keystone", home / "keystone.db"),
        fernet=keys["fernet"], credential=keys["credential"]), 0o600)
    mark = home / "bootstrapped"
    if mark.exists():
        return False
    # options that say who owns the keys; as an ordinary user there is no choice
    owner = ["--keystone-user", "root", "--keystone-group", "root"] if os.geteuid() == 0 else []
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(_manage, cloud, "db_sync"),
                pool.submit(_manage, cloud, "fernet_setup", *owner),
                pool.submit(_manage, cloud, "credential_setup", *owner)]
        for job in jobs:
            job.result()
    url = cloud.url("identity", "/v3")
    _manage(cloud, "bootstrap", "--bootstrap-region-id", REGION, "--bootstrap-public-url", url,
            "--bootstrap-internal-url", url, "--bootstrap-admin-url", url,
            environment={"OS_BOOTSTRAP_PASSWORD": cloud.secret("admin")})
    write_atomically(mark, "")
    return True


def daemon(cloud: Cloud) -> Daemon:
    """Keystone under waitress, in its own environment."""
    port = cloud.port("identity")
    return Daemon(
        "keystone", "keystone",
        [str(packages.KEYSTONE_VENV / "bin/python"), "-P",
         str(packages.CHECKOUT / "tools/stacklib/keystone_serve.py"),
         str(cloud.etc / "keystone/keystone.conf"), cloud.address, str(port)],
        answers=lambda: http_status(cloud.address, port, "/v3") == 200)


class Identity:
    """Keystone's API as the administrator, and what the stack keeps in it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy between us and loopback
        self.http.headers["X-Auth-Token"] = self._login()

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> requests.Response:
        try:
            return self.http.request(method, self.cloud.url("identity", f"/v3{path}"), json=body,
                                     timeout=REQUEST_TIMEOUT)
        except requests.RequestException as error:
            raise StackError(f"Keystone does not answer: {error}") from error

    def _login(self) -> str:
        body = {"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"},
                "password": self.cloud.secret("admin")}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
        answer = self._request("POST", "/auth/tokens", body)
        if answer.status_code != 201:
            raise StackError(f"Keystone refuses the administrator: {answer.text}")
        return answer.headers["X-Subject-Token"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; its JSON body, empty for none.

        :raises StackError: there is no answer, or not a 2xx
        """
        answer = self._request(method, path, body)
        if not answer.ok:
            raise StackError(f"Keystone: {method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}

    def ensure(self, kind: str, key: dict[str, str], more: dict[str, str] | None = None) -> str:
        """Id of the one `kind` (project, user, role, service) with these values, made if need be"""
        query = "&".join(f"{name}={value}" for name, value in key.items())
        found = self.call("GET", f"/{kind}s?{query}")[f"{kind}s"]
        if found:
            return found[0]["id"]
        return self.call("POST", f"/{kind}s", {kind: {**key, **(more or {})}})[kind]["id"]

    def grant(self, project: str, user: str, role: str) -> None:
        self.call("PUT", f"/projects/{project}/users/{user}/roles/{role}")

    def fill(self) -> None:
        """Service users, the demo project and user, the catalog of this stack's services."""
        domain = {"domain_id": "default"}
        service_project = self.ensure("project", {"name": "service", **domain})
        roles = {name: self.ensure("role", {"name": name})
                 for name in ("admin", "member", "reader", "service")}
        for name in ("glance", "nova", "swift"):
            if self.cloud.has(name):
                user = self.ensure("user", {"name": name, **domain},
                                   {"password": self.cloud.secret(name)})
                for role in ("admin", "service"):
                    self.grant(service_project, user, roles[role])
                for kind, service, path, port in CATALOG[name]:
                    self._endpoint(kind, service, self.cloud.url(port, path))
        demo = self.ensure("project", {"name": "demo", **domain})
        user = self.ensure("user", {"name": "demo", **domain},
                           {"password": self.cloud.secret("demo")})
        self.grant(demo, user, roles["member"])
        admin = self.ensure("user", {"name": "admin", **domain})
        self.grant(demo, admin, roles["admin"])
        self.cloud.facts["demo_project"] = demo

    def _endpoint(self, kind: str, name: str, url: str) -> None:
        service = self.ensure("service", {"type": kind, "name": name})
        have = self.call("GET", f"/endpoints?service_id={service}")["endpoints"]
        for interface in ("public", "internal", "admin"):
            mine = [row for row in have if row["interface"] == interface]
            if not mine:
                self.call("POST", "/endpoints", {"endpoint": {
                    "service_id": service, "interface": interface, "url": url,
                    "region_id": REGION}})
            elif mine[0]["url"] != url:
                self.call("PATCH", f"/endpoints/{mine[0]['id']}", {"endpoint": {"url": url}})

    def ec2_keys(self, user_name: str = "demo", project_name: str = "demo") -> tuple[str, str]:
        """(access, secret) of a user in a project, made on first use."""
        user = self.ensure("user", {"name": user_name, "domain_id": "default"})
        project = self.ensure("project", {"name": project_name, "domain_id": "default"})
        have = [row for row in self.call("GET", f"/users/{user}/credentials/OS-EC2")["credentials"]
                if row["tenant_id"] == project]
        row = have[0] if have else self.call("POST", f"/users/{user}/credentials/OS-EC2",
                                             {"tenant_id": project})["credential"]
        return row["access"], row["secret"]
