# SPDX-License-Identifier: Apache-2.0
"""The metadata service: a guest is known by the address it asks from and by nothing it says.

The rules of the host keep guests from using an address that is not theirs, and lead nobody else
here.  Only a proxy named in ``trusted_proxies`` is believed about whom it asks for, and then only
the hop it added itself.
"""

import base64
import hmac
import ipaddress
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import webob
from oslo_config import cfg
from oslo_log import log

from nova import exception
from nova.api.metadata.content import EC2_VERSIONS, OPENSTACK_VERSIONS, Content, Tree
from nova.db import ports
from nova.db.models import Instance

LOG = log.getLogger(__name__)

OPTS = [
    cfg.ListOpt("trusted_proxies", default=[],
                help="Addresses of proxies before the metadata service; the last entry of their "
                     "X-Forwarded-For is taken as the guest's address. Nobody else's is."),
    cfg.BoolOpt("require_token", default=False,
                help="Answer only requests with a session token (PUT latest/api/token first)."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "metadata")

MAX_TOKEN_SECONDS = 21600
MAX_PATH = 1024
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_TOKEN, _TTL = "HTTP_X_AWS_EC2_METADATA_TOKEN", "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS"


class Tokens:
    """Session tokens, each good for one instance and a time; nothing is kept but one secret.

    A restart makes all of them void; clients then ask for new ones.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def make(self, instance_id: str, seconds: int) -> str:
        """Return a token."""
        expires = f"{int(time.time()) + seconds}".encode()
        return base64.urlsafe_b64encode(self._sign(instance_id, expires) + expires).decode()

    def good(self, token: str, instance_id: str) -> bool:
        """Tell whether a token is this instance's and has time left."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii"))
            expires = int(raw[32:])
        except ValueError:
            return False
        return hmac.compare_digest(raw[:32], self._sign(instance_id, raw[32:])) \
            and expires > time.time()

    def _sign(self, instance_id: str, expires: bytes) -> bytes:
        return hmac.digest(self._secret, instance_id.encode() + b"\0" + expires, "sha256")


class MetadataApplication:
    """The WSGI application."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self._proxies = frozenset(CONF.metadata.trusted_proxies)

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        req = webob.Request(environ)
        try:
            response = self._answer(req)
        except exception.NovaError as error:
            LOG.warning("Metadata could not be looked up: %s", error)
            response = _text(503, "The metadata cannot be looked up now.")
        except Exception:       # the one boundary: a guest gets no more than "500"
            LOG.exception("Unexpected error of the metadata service")
            response = _text(500, "Internal error.")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if req.method == "HEAD":
            length = response.content_length
            response.body = b""
            response.content_length = length
        return response(environ, start_response)

    def _answer(self, req: webob.Request) -> webob.Response:
        path = _path_of(req)
        if path is None:
            return _missing()
        token_asked = len(path) == 3 and path[1:] == ["api", "token"] and _is_ec2(path[0])
        if token_asked != (req.method == "PUT") or req.method not in ("GET", "HEAD", "PUT"):
            return _text(405, "Method not allowed.", Allow="PUT" if token_asked else "GET, HEAD")
        instance = self._asker(req)
        if instance is None:
            return _missing()
        if token_asked:
            return self._make_token(req, instance)
        token = req.environ.get(_TOKEN)
        if (token is None and CONF.metadata.require_token) or (
                token is not None and not self.tokens.good(token, instance.id)):
            return _text(401, "The session token is missing, not yours, or too old.")
        return _read(path, Content(instance))

    def _asker(self, req: webob.Request) -> Instance | None:
        """Return the instance that asks; None when there is none, or more than one it could be."""
        address = req.environ.get("REMOTE_ADDR", "")
        if address in self._proxies:
            address = req.environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        try:
            plain = ipaddress.ip_address(address)
        except ValueError:
            return None
        mapped = getattr(plain, "ipv4_mapped", None)
        found = ports.instances_at(str(mapped or plain))
        if len(found) > 1:
            LOG.error("Address %s is of %d instances: none is answered", address, len(found))
        return found[0] if len(found) == 1 else None

    def _make_token(self, req: webob.Request, instance: Instance) -> webob.Response:
        # Asked through a proxy inside the guest, somebody else may be asking.
        if "HTTP_X_FORWARDED_FOR" in req.environ \
                and req.environ.get("REMOTE_ADDR") not in self._proxies:
            return _text(403, "No tokens through proxies.")
        text = req.environ.get(_TTL, "")
        if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) \
                or not 1 <= int(text) <= MAX_TOKEN_SECONDS:
            return _text(400, "X-aws-ec2-metadata-token-ttl-seconds has to be from 1 to "
                              f"{MAX_TOKEN_SECONDS}.")
        response = _text(200, self.tokens.make(instance.id, int(text)))
        response.headers["X-aws-ec2-metadata-token-ttl-seconds"] = text
        return response


def _path_of(req: webob.Request) -> list[str] | None:
    """Return the path's parts; None for one that cannot be ours."""
    raw = req.environ.get("PATH_INFO", "")
    if len(raw) > MAX_PATH:
        return None
    try:
        return [part for part in raw.encode("latin-1").decode("utf-8").split("/") if part]
    except UnicodeError:
        return None


def _is_ec2(version: str) -> bool:
    return version in ("latest", "1.0") or bool(_DATE.match(version))


def _read(path: list[str], content: Content) -> webob.Response:
    """Walk down a tree and answer what is there: a leaf, or the names below."""
    if not path:
        return _text(200, "\n".join((*EC2_VERSIONS, "latest")))
    if path[0] == "openstack":
        versions = (*OPENSTACK_VERSIONS, "latest")
        if len(path) == 1:
            return _text(200, "\n".join(versions))
        if path[1] != "latest" and not _DATE.match(path[1]):
            return _missing()
        return _walk(content.openstack(), path[2:])
    if not _is_ec2(path[0]):
        return _missing()
    return _walk(content.ec2(), path[1:])


def _walk(tree: Tree, path: list[str]) -> webob.Response:
    place: Any = tree
    name = ""
    for name in path:
        if not isinstance(place, dict):
            return _missing()
        # "0=name" is what is listed; it is found by the number alone.
        place = {key.partition("=")[0]: value for key, value in place.items()}.get(name)
        if place is None:
            return _missing()
    if isinstance(place, dict):
        return _text(200, "\n".join(
            key + "/" if isinstance(value, dict) and "=" not in key else key
            for key, value in sorted(place.items())))
    value = place() if callable(place) else place
    if isinstance(value, bytes):
        return webob.Response(value, content_type="application/octet-stream", charset=None)
    if name.endswith(".json"):
        return webob.Response(value.encode(), content_type="application/json", charset="UTF-8")
    return _text(200, value)


def _text(status: int, text: str, **headers: str) -> webob.Response:
    response = webob.Response(text.encode(), status=status, content_type="text/plain",
                              charset="UTF-8")
    response.headers.update(headers)
    return response


def _missing() -> webob.Response:
    return _text(404, "Not found.")
