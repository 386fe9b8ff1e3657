# SPDX-License-Identifier: Apache-2.0
"""The registry over HTTP: a glance-registry, or anything else that speaks its REST API."""

from __future__ import annotations

import json
import logging
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from oslo_config import cfg

from glance import exceptions
from glance.context import RequestContext, service_context
from glance.registry.client.base import RegistryClient
from glance.registry.types import Image, ImageQuery, Member, Task, Usage

LOG = logging.getLogger(__name__)

GROUP = "registry"
OPTIONS = [
    cfg.HostAddressOpt("registry_host", default="127.0.0.1", help="Where glance-registry runs."),
    cfg.PortOpt("registry_port", default=9191, help="And its port."),
    cfg.StrOpt("registry_client_protocol", default="http", choices=["http", "https"],
               help="https needs a certificate signed by an authority in registry_client_ca_file."),
    cfg.StrOpt("registry_client_ca_file",
               help="Certificate authorities to trust; the system's by default."),
    cfg.IntOpt("registry_connect_timeout", default=5, min=1,
               help="Seconds to wait for a connection to the registry."),
    cfg.IntOpt("registry_client_timeout", default=30, min=1,
               help="Seconds to wait for the registry's answer."),
    cfg.StrOpt("auth", default="keystone", choices=["keystone", "trusted"],
               help="keystone: the caller's token is passed on, and the service's own account "
                    "([registry] auth_type, auth_url, username...) is used where the service acts "
                    "for itself.  trusted: the registry believes who glance-api says is asking."),
]
AUTH_TRUSTED = "trusted"


def auth_options() -> list[cfg.Opt]:
    """keystoneauth's options for the service's own account."""
    from keystoneauth1 import loading

    return [*loading.get_auth_common_conf_options(), *loading.get_auth_plugin_conf_options(
        "password")]


class ServiceToken:
    """Tokens of the image service's own account, renewed by keystoneauth before they expire."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        from keystoneauth1 import loading, session

        loading.register_auth_conf_options(conf, GROUP)
        plugin = loading.load_auth_from_conf_options(conf, GROUP)
        if plugin is None:
            raise exceptions.ConfigurationError(
                "[registry] auth_type: an account of the image service is needed")
        self._plugin = plugin
        self._session = session.Session()

    def get(self) -> str:
        """A token that is still good; `Unavailable` without Keystone."""
        from keystoneauth1 import exceptions as errors

        try:
            return str(self._plugin.get_token(self._session))
        except errors.ClientException as error:
            LOG.error("no token for the image service's account: %s", type(error).__name__)
            raise exceptions.Unavailable("the identity service does not answer") from None


class RestClient(RegistryClient):
    """A registry at a URL; safe to share between (green) threads.

    :param service_token: what the service authenticates with when it acts for itself; None when
        the registry trusts the identity in the headers.
    """

    def __init__(self, url: str, *, service_token: ServiceToken | None = None,
                 connect_timeout: float = 5.0, timeout: float = 30.0,
                 verify: bool | str = True) -> None:
        self._url = url.rstrip("/")
        self._service_token = service_token
        self._timeouts = (connect_timeout, timeout)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = verify

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> RestClient:
        """The registry that section ``[registry]`` of `conf` names."""
        conf.register_opts(OPTIONS, GROUP)
        group = conf[GROUP]
        host = f"[{group.registry_host}]" if ":" in group.registry_host else group.registry_host
        return cls(f"{group.registry_client_protocol}://{host}:{group.registry_port}",
                   service_token=None if group.auth == AUTH_TRUSTED else ServiceToken(conf),
                   connect_timeout=group.registry_connect_timeout,
                   timeout=group.registry_client_timeout,
                   verify=group.registry_client_ca_file or True)

    def _identity(self, context: RequestContext) -> dict[str, str]:
        headers = {}
        if context.request_id:
            headers["X-Openstack-Request-Id"] = context.request_id
        if context.internal:
            headers["X-Image-Service"] = "yes"
        if self._service_token is not None:
            token = self._service_token.get() if context.internal else context.token
            if token:
                headers["X-Auth-Token"] = token
            return headers
        headers["X-Roles"] = ",".join(context.roles)
        if context.user_id:
            headers["X-User-Id"] = context.user_id
        if context.project_id:
            headers["X-Project-Id"] = context.project_id
        return headers

    def _call(self, context: RequestContext, method: str, path: str, body: Any = None,
              headers: Mapping[str, str] | None = None,
              query: Mapping[str, str] | None = None) -> Any:
        sent = {**self._identity(context), **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        # A kept-alive connection may have been closed by a restarted registry: reading again is
        # harmless, anything else is left to the caller, who knows what the state should be.
        for last in ([False, True] if method == "GET" else [True]):
            try:
                response = self._session.request(
                    method, self._url + path, params=query, data=data, headers=sent,
                    timeout=self._timeouts, allow_redirects=False)
                break
            except requests.ConnectionError as error:
                if last:
                    raise self._unavailable(error) from None
            except requests.RequestException as error:
                raise self._unavailable(error) from None
        if response.status_code >= 300:
            raise _error(response)
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise exceptions.Unavailable("the image registry's answer is not JSON") from None

    @staticmethod
    def _unavailable(error: Exception) -> exceptions.Unavailable:
        LOG.error("the registry does not answer: %s", error)
        return exceptions.Unavailable("the image registry does not answer")

    def check(self) -> None:
        self._call(service_context(), "GET", "/images", query={"limit": "1"})

    def create_image(self, context: RequestContext, values: Mapping[str, Any]) -> Image:
        return self._call(context, "POST", "/images", {"image": dict(values)})["image"]

    def get_image(self, context: RequestContext, image_id: str) -> Image:
        return self._call(context, "GET", _path("images", image_id))["image"]

    def list_images(self, context: RequestContext, query: ImageQuery) -> list[Image]:
        sent = {"filters": json.dumps(query.filters), "member_status": query.member_status,
                "sort": ",".join(f"{key}:{direction}" for key, direction in query.sort)}
        for name in ("visibility", "marker", "limit"):
            value = getattr(query, name)
            if value is not None:
                sent[name] = str(value)
        return self._call(context, "GET", "/images/detail", query=sent)["images"]

    def update_image(self, context: RequestContext, image_id: str, values: Mapping[str, Any], *,
                     purge_props: bool = False, from_status: Sequence[str] | None = None,
                     upload_token: str | None = None, version: int | None = None) -> Image:
        headers = {"X-Glance-Registry-Purge-Props": str(purge_props).lower()}
        if from_status is not None:
            headers["X-Glance-Registry-From-Status"] = ",".join(from_status)
        if upload_token is not None:
            headers["X-Glance-Registry-Upload-Token"] = upload_token
        if version is not None:
            headers["X-Glance-Registry-Version"] = str(version)
        return self._call(context, "PUT", _path("images", image_id), {"image": dict(values)},
                          headers)["image"]

    def delete_image(self, context: RequestContext, image_id: str, *, final: bool = False) -> Image:
        return self._call(context, "DELETE", _path("images", image_id),
                          query={"final": str(final).lower()})["image"]

    def restore_image(self, context: RequestContext, image_id: str) -> Image:
        return self._call(context, "PUT", _path("images", image_id, "restore"))["image"]

    def beat(self, context: RequestContext, image_id: str, upload_token: str,
             received: int) -> None:
        self._call(context, "PUT", _path("images", image_id, "beat"),
                   {"beat": {"upload_token": upload_token, "received": received}})

    def usage(self, context: RequestContext, owner: str | None) -> Usage:
        query = {} if owner is None else {"owner": owner}
        return Usage(**self._call(context, "GET", "/usage", query=query)["usage"])

    def list_transient(self, context: RequestContext) -> list[Image]:
        return self._call(context, "GET", "/transient")["images"]

    def create_task(self, context: RequestContext, values: Mapping[str, Any]) -> Task:
        return self._call(context, "POST", "/tasks", {"task": dict(values)})["task"]

    def get_task(self, context: RequestContext, task_id: str) -> Task:
        return self._call(context, "GET", _path("tasks", task_id))["task"]

    def list_tasks(self, context: RequestContext, **wanted: Any) -> list[Task]:
        return self._call(context, "GET", "/tasks",
                          query={"wanted": json.dumps(wanted)})["tasks"]

    def update_task(self, context: RequestContext, task_id: str, values: Mapping[str, Any],
                    from_status: Sequence[str] = ("pending", "processing")) -> bool:
        return self._call(context, "PUT", _path("tasks", task_id), {
            "task": dict(values), "from_status": list(from_status)})["changed"]

    def metadefs(self, context: RequestContext, method: str, **args: Any) -> Any:
        return self._call(context, "POST", _path("metadefs", method), {"args": args})["result"]

    def set_tag(self, context: RequestContext, image_id: str, tag: str, present: bool,
                limit: int) -> None:
        self._call(context, "PUT" if present else "DELETE", _path("images", image_id, "tags", tag),
                   query=_limit(limit))

    def list_members(self, context: RequestContext, image_id: str) -> list[Member]:
        return self._call(context, "GET", _path("images", image_id, "members"))["members"]

    def set_member(self, context: RequestContext, image_id: str, member: str, *,
                   can_share: bool | None = None, status: str | None = None,
                   create: bool = True, limit: int = -1) -> Member:
        document = {"can_share": can_share, "status": status, "create": create}
        self._call(context, "PUT", _path("images", image_id, "members", member),
                   {"member": document}, query=_limit(limit))
        for found in self.list_members(context.for_service(), image_id):
            if found["member"] == member:
                return found
        raise exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")

    def replace_members(self, context: RequestContext, image_id: str,
                        members_wanted: Sequence[Mapping[str, Any]], limit: int = -1) -> None:
        self._call(context, "PUT", _path("images", image_id, "members"), {"memberships": [
            {"member_id": entry["member"], "can_share": bool(entry.get("can_share"))}
            for entry in members_wanted]}, query=_limit(limit))

    def delete_member(self, context: RequestContext, image_id: str, member: str) -> None:
        self._call(context, "DELETE", _path("images", image_id, "members", member))

    def shared_images(self, context: RequestContext, member: str) -> list[Member]:
        return self._call(context, "GET", _path("shared-images", member))["shared_images"]


def _path(*pieces: str) -> str:
    return "/" + "/".join(urllib.parse.quote(piece, safe="") for piece in pieces)


def _limit(limit: int) -> dict[str, str]:
    return {"limit": str(limit)} if limit >= 0 else {}


def _error(response: requests.Response) -> exceptions.GlanceError:
    """The registry's refusal as the exception it began as."""
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = "the image registry refused"
    kind = exceptions.BY_CODE.get(response.status_code)
    if kind is None:
        LOG.error("the registry answered %d: %s", response.status_code, message)
        return exceptions.Unavailable("the image registry failed")
    if kind is exceptions.Conflict and " id of another image" in message:
        kind = exceptions.Duplicate
    return kind(message)
