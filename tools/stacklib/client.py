# SPDX-License-Identifier: Apache-2.0
"""The stack's own APIs as one of its users, for the steps of `up` and for the benchmarks."""
from typing import Any

from keystoneauth1 import adapter, exceptions, session
from keystoneauth1.identity import v3

from .layout import REGION, Cloud
from .progress import StackError

REQUEST_TIMEOUT = 60.0


class Api:
    """One service of the stack as one user: JSON in, JSON out.

    :raises StackError: from every method, for an answer that is not a 2xx, with its text
    """

    def __init__(self, cloud: Cloud, kind: str, user: str = "demo") -> None:
        auth = v3.Password(auth_url=cloud.url("identity", "/v3"), username=user,
                           password=cloud.secret(user), project_name=user,
                           user_domain_id="default", project_domain_id="default")
        self._adapter = adapter.Adapter(session.Session(auth=auth), service_type=kind,
                                        interface="public", region_name=REGION)
        self.kind = kind

    def call(self, method: str, path: str, body: Any = None, data: Any = None,
             headers: dict[str, str] | None = None) -> Any:
        try:
            answer = self._adapter.request(path, method, json=body, data=data, headers=headers,
                                           raise_exc=False, timeout=REQUEST_TIMEOUT)
        except exceptions.ClientException as error:
            raise StackError(f"{self.kind}: {method} {path}: {error}") from error
        if not answer.ok:
            raise StackError(f"{self.kind}: {method} {path}: {answer.status_code} {answer.text}")
        if "json" in answer.headers.get("Content-Type", "") and answer.content:
            return answer.json()
        return None

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, body)
