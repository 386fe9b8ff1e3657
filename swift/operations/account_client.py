# SPDX-License-Identifier: Apache-2.0
"""A user's own account of a cluster, for tools that act as a user: token, URL, a few requests."""
from __future__ import annotations

from typing import Any
from urllib.parse import quote

import keystoneauth1.exceptions
import requests
from keystoneauth1 import identity, session

from swift.common.conf import config_float, config_true
from swift.common.exceptions import ConfigError

_INTERFACES = {"publicURL": "public", "internalURL": "internal", "adminURL": "admin"}


class ClientError(Exception):
    """What the cluster or the identity service answered instead; the message says it."""


class AccountClient:
    """Requests to the account that auth_url, auth_user, auth_key and auth_version lead to.

    Version 1 is tempauth's; 2.0 and 3 are Keystone's, with project_name, user_domain_name,
    project_domain_name, region_name, endpoint_type. Raises ConfigError and ClientError.
    """

    def __init__(self, conf: dict[str, str], insecure: bool = False) -> None:
        self.http = requests.Session()
        self.http.verify = not (insecure or config_true(conf.get("keystone_api_insecure", "no")))
        self.timeout = config_float(conf, "timeout", 60)
        self.retries = int(config_float(conf, "retries", 5))
        self.retried = 0
        missing = [name for name in ("auth_url", "auth_user", "auth_key") if not conf.get(name)]
        if missing:
            raise ConfigError(f"{', '.join(missing)}: missing")
        version = conf.get("auth_version", "1.0")
        try:
            self.url, token = self._version_1(conf) if version.startswith("1") \
                else self._keystone(conf, version)
        except (requests.RequestException, keystoneauth1.exceptions.ClientException) as exc:
            raise ClientError(f"{conf['auth_url']}: {exc}") from exc
        self.http.headers["X-Auth-Token"] = token
        self.account = self.url.rstrip("/").rsplit("/", 1)[1]

    def _version_1(self, conf: dict[str, str]) -> tuple[str, str]:
        answer = self.http.get(conf["auth_url"], timeout=self.timeout, headers={
            "X-Auth-User": conf["auth_user"], "X-Auth-Key": conf["auth_key"]})
        answer.raise_for_status()
        try:
            return answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
        except KeyError as exc:
            raise ClientError(f"{conf['auth_url']}: the answer has no {exc}") from None

    def _keystone(self, conf: dict[str, str], version: str) -> tuple[str, str]:
        project, _, user = conf["auth_user"].rpartition(":")
        who: dict[str, Any] = {"username": user, "password": conf["auth_key"]}
        name = conf.get("project_name") or project
        plugin: Any
        if version.startswith("2"):
            plugin = identity.V2Password(conf["auth_url"], tenant_name=name, **who)
        else:
            plugin = identity.V3Password(
                conf["auth_url"], project_name=name,
                user_domain_name=conf.get("user_domain_name") or "Default",
                project_domain_name=conf.get("project_domain_name") or "Default", **who)
        asking = session.Session(plugin, verify=self.http.verify, timeout=self.timeout)
        kind = conf.get("endpoint_type", "publicURL")
        url = asking.get_endpoint(
            service_type="object-store", interface=_INTERFACES.get(kind, kind),
            region_name=conf.get("region_name") or None)
        token = asking.get_token()
        if not url or not token:
            raise ClientError(f"{conf['auth_url']}: the catalog has no object store")
        return url, token

    def request(self, method: str, *names: str, headers: dict[str, str] | None = None,
                body: bytes = b"", query: dict[str, str] | None = None) -> requests.Response:
        """A request that is tried again when the cluster fails; ClientError in the end."""
        url = "/".join([self.url.rstrip("/"), *(quote(name, safe="") for name in names)])
        problem = ""
        for number in range(self.retries + 1):
            self.retried += number > 0
            try:
                answer = self.http.request(method, url, params=query, headers=headers, data=body,
                                           timeout=self.timeout)
            except requests.RequestException as exc:
                problem = str(exc)
                continue
            if answer.ok:
                return answer
            problem = f"{method} {url}: {answer.status_code} {answer.reason}"
            if answer.status_code < 500 and answer.status_code != 408:
                break
        raise ClientError(problem)

    def listing(self, *names: str, prefix: str = "") -> list[str]:
        """All names in the account or a container that begin with `prefix`."""
        found: list[str] = []
        while True:
            answer = self.request("GET", *names, query={
                "format": "json", "prefix": prefix, "marker": found[-1] if found else ""})
            rows = answer.json() if answer.content else []
            if not rows:
                return found
            found += [row["name"] for row in rows if "name" in row]
