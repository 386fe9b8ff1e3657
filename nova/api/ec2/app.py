# SPDX-License-Identifier: Apache-2.0
"""The EC2 API as one WSGI application: ``/services/Cloud`` and ``/``.

    [app:ec2]
    paste.app_factory = nova.api.ec2.app:factory
    identity = keystone
"""

import datetime
import logging
import uuid
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from nova import policy
from nova.api.ec2 import (  # noqa: F401  (each enters its actions into the table)
    account,
    addresses,
    answer,
    attributes,
    auth,
    group_rules,
    images,
    instance_types,
    instances,
    interfaces,
    keypairs,
    lifecycle,
    model,
    params,
    security_groups,
    snapshots,
    tags,
    volume_changes,
    volumes,
    vpcs,
    zones,
)
from nova.api.ec2.actions import TABLE, Call
from nova.api.ec2.errors import Ec2Error, error_of, unsupported
from nova.api.openstack.compute import policies as _compute  # noqa: F401  (defines the rules)
from nova.api.openstack.network import policies as _network  # noqa: F401
from nova.api.openstack.volume import policies as _volume  # noqa: F401
from nova.compute.api import API

LOG = logging.getLogger(__name__)
MAX_BODY = 1 << 20
PATHS = ("/", "/services/Cloud", "/services/Cloud/")


class Application:
    """Reads a request, finds out who sent it, runs its action and writes the answer."""

    def __init__(self, compute: API, judge: Any, *, strict: bool = False,
                 now: Callable[[], datetime.datetime] | None = None) -> None:
        self._compute, self._judge, self._strict = compute, judge, strict
        self._now = now or (lambda: datetime.datetime.now(datetime.UTC))

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        request_id = environ.get("openstack.request_id") or f"req-{uuid.uuid4()}"
        try:
            status, body, kind = 200, self._answer(environ, request_id), "text/xml;charset=UTF-8"
        except Exception as error:  # the client gets AWS's form of every error, bugs included
            known = error_of(error)
            if known is None:
                LOG.exception("%s failed", request_id)
                known = Ec2Error("InternalError", "An internal error has occurred: see request "
                                                  f"id {request_id}.", 500)
            status, kind = known.status, "text/xml;charset=UTF-8"
            body = answer.render_error(known.code, str(known), request_id)
        start_response(f"{status} {HTTPStatus(status).phrase}",
                       [("Content-Type", kind), ("Content-Length", str(len(body))),
                        ("Server", "AmazonEC2")])
        return [body]

    def _answer(self, environ: dict[str, Any], request_id: str) -> bytes:
        query, body = environ.get("QUERY_STRING", ""), _body(environ)
        environ["QUERY_STRING"] = ""        # it is logged, and signatures are secrets for a while
        request = _request(environ, query, body)
        name, version = request.params.get("Action"), request.params.get("Version")
        if name:
            environ["QUERY_STRING"] = f"Action={ascii(name[:64])[1:-1]}"
            environ["nova.route"] = name if name in TABLE else ""   # counted by it
        signed = auth.read_signature(request, self._now())
        context = auth.context_of(self._judge.identify(signed), request_id)
        environ["nova.context"] = context
        if not name:
            raise Ec2Error("MissingAction", "The request must contain the parameter Action")
        if not version:
            raise Ec2Error("MissingParameter", "The request must contain the parameter Version")
        if version not in model.versions():
            raise Ec2Error("NoSuchVersion", f"The requested version ({ascii(version[:32])}) of "
                                            "service AmazonEC2 does not exist")
        return self._run(name, version, signed, Call(
            context, {}, self._compute, endpoint=f"{environ.get('wsgi.url_scheme', 'http')}://"
                                                 f"{signed.host}/services/Cloud"))

    def _run(self, name: str, version: str, signed: auth.SignedRequest, call: Call) -> bytes:
        described = model.load(version, TABLE)
        action, operation = TABLE.get(name), described.operation(name)
        if action is None or operation is None:
            raise unsupported(f"The action {ascii(name[:128])[1:-1]}")
        policy.authorize(call.context, action.policy)
        sent = {key: value for key, value in signed.params.items()
                if key not in ("Action", "Version")
                and (signed.signed_headers or key not in auth.V2_PARAMETERS)}
        values = params.parse(sent, operation.input_shape)
        for key in values:
            if key not in action.takes:
                raise unsupported(f"The parameter {key} of {name}")
        if values.get("DryRun"):
            raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is "
                                              "set.", 412)
        found = action.run(Call(call.context, values, call.compute, call.endpoint))
        return answer.render(operation, version, str(call.context.request_id), found,
                             strict=self._strict and version == model.versions()[-1])


def _body(environ: dict[str, Any]) -> bytes:
    text = environ.get("CONTENT_LENGTH") or "0"
    if not text.isascii() or not text.isdigit() or int(text) > MAX_BODY:
        raise Ec2Error("InvalidRequest", f"A body has at most {MAX_BODY} bytes.", 413)
    return environ["wsgi.input"].read(int(text)) if int(text) else b""


def _request(environ: dict[str, Any], query: str, body: bytes) -> auth.SignedRequest:
    method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get(
        "PATH_INFO", "/")
    if path not in PATHS:
        raise Ec2Error("InvalidAction", "There is nothing at this path.", 404)
    if method not in ("GET", "POST"):
        raise Ec2Error("InvalidAction", "Only GET and POST are known here.", 405)
    if method == "POST" and query or method == "GET" and body:
        # The one is not covered by every signature, the other never meant anything.
        raise Ec2Error("MalformedQueryString", "Parameters are in the query of a GET or in the "
                                               "body of a POST.")
    headers = {key[5:].replace("_", "-").title(): value for key, value in environ.items()
               if key.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").title()] = environ[name]
    return auth.SignedRequest(method, environ.get("HTTP_HOST", ""), path,
                              _parameters(query or body), headers, body)


def _parameters(text: str | bytes) -> dict[str, str]:
    """Return the parameters of a query or a form; each may be there once."""
    try:
        plain = text if isinstance(text, str) else text.decode("ascii")
        pairs = parse_qsl(plain, keep_blank_values=True, errors="strict",
                          max_num_fields=params.MAX_PARAMETERS)
    except ValueError:
        raise Ec2Error("MalformedQueryString", "The parameters are too many or not URL-encoded "
                                               "UTF-8.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ec2Error("MalformedQueryString", "A parameter is there twice.")
    return found


def make_app(compute: API | None = None, judge: Any = None, **more: Any) -> Application:
    """Return the application; by default on the real Compute API, asking Keystone."""
    return Application(compute or API(), judge or auth.KeystoneJudge(), **more)


def factory(_global_conf: dict[str, str], identity: str = "keystone", **_local: Any) -> Callable:
    """Return the application, as paste.deploy wants it; ``identity`` is keystone or noauth."""
    if identity not in ("keystone", "noauth"):
        raise ValueError(f"identity: {identity!r} is neither keystone nor noauth")
    return make_app(judge=auth.Believer() if identity == "noauth" else None)
