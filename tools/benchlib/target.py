# SPDX-License-Identifier: Apache-2.0
"""What is measured: our stack or a peer, each an endpoint, a token and processes to watch."""
import glob
import http.client
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from stacklib.status import family, pss

from .accounting import Meter

REQUEST_TIMEOUT = 60.0


@dataclass
class Target:
    """An endpoint of one service. `call` speaks JSON; `url` and `token` serve the load."""

    name: str
    url: str
    token: str
    meter: Meter
    project: str = ""
    daemons: Callable[[], Iterable[int]] = tuple  # leaders of the service's own daemons alone

    def memory(self) -> int:
        """Bytes the service's own daemons hold: no database, broker or Keystone (PSS)."""
        return sum(pss(member.pid) for leader in self.daemons() for member in family(leader))

    def call(self, method: str, path: str, body: Any = None,
             headers: dict[str, str] | None = None) -> Any:
        """One request; its JSON body, None without one.

        :raises RuntimeError: the answer is not a 2xx
        """
        answer = requests.request(method, self.url.rstrip("/") + path, json=body,
                                  headers={"X-Auth-Token": self.token, **(headers or {})},
                                  timeout=REQUEST_TIMEOUT)
        if not answer.ok:
            raise RuntimeError(f"{self.name}: {method} {path}: {answer.status_code} "
                               f"{answer.text[:500]}")
        # Nova names a type for the body that a 204 has not.
        is_json = answer.content and "json" in answer.headers.get("Content-Type", "")
        return answer.json() if is_json else None


def pids_of(folder: str, names: str = "*") -> list[int]:
    """Leaders named by a folder's files `names`.pid, a glob pattern."""
    found = []
    for path in glob.glob(os.path.join(folder, f"{names}.pid")):
        with open(path, encoding="ascii") as text:
            number = text.read().strip()
        if number.isdigit():
            found.append(int(number))
    return found


def version_one(auth_url: str, user: str, key: str) -> tuple[str, str]:
    """(storage URL, token) by the v1 authentication of tempauth."""
    parts = urlsplit(auth_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port,
                                            timeout=REQUEST_TIMEOUT)
    connection.request("GET", parts.path, headers={"X-Auth-User": user, "X-Auth-Key": key})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{auth_url}: {answer.status}")
    return answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]


def keystone(auth_url: str, user: str, key: str, project: str, kind: str
             ) -> tuple[str, str, str]:
    """(endpoint of a service type, token, project id) by Keystone's catalog."""
    body = {"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": user, "password": key, "domain": {"id": "default"}}}},
        "scope": {"project": {"name": project, "domain": {"id": "default"}}}}}
    answer = requests.post(auth_url.rstrip("/") + "/auth/tokens", json=body,
                           timeout=REQUEST_TIMEOUT)
    answer.raise_for_status()
    token = answer.json()["token"]
    for service in token["catalog"]:
        if service["type"] == kind:
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == "public":
                    return (endpoint["url"], answer.headers["X-Subject-Token"],
                            token["project"]["id"])
    raise RuntimeError(f"{auth_url}: no {kind} in the catalog")
