# SPDX-License-Identifier: Apache-2.0
"""Who sent a request: signatures of version 4 (in the Authorization header) and 2 (in the query).

What was signed and when is checked here; whether the signature is right is Keystone's to say, and
it is asked with the service's own account.  Its token serves one request and never leaves us.  An
unknown key and a wrong secret get the same answer.
"""

import collections
import datetime
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading
from oslo_config import cfg

from nova.api.ec2.errors import Ec2Error
from nova.api.ec2.params import timestamp
from nova.context import RequestContext

LOG = logging.getLogger(__name__)
OPTS = [
    cfg.URIOpt("tokens_url", schemes=["http", "https"],
               help="URL of Keystone's ec2tokens; by default the identity service of the catalog "
                    "is asked."),
    cfg.IntOpt("keystone_timeout", default=10, min=1,
               help="Seconds to wait for Keystone to judge a signature."),
    cfg.IntOpt("cache_seconds", default=30, min=0,
               help="Seconds for which Keystone's word on one signed request is believed again "
                    "for the very same request; a right that is taken away works that long."),
    cfg.StrOpt("region_name", default="nova",
               help="Name of the one region, for DescribeRegions."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "ec2")
loading.register_session_conf_options(CONF, "ec2")

ACCOUNT = "keystone_authtoken"      # section of the service's own account
MAX_SKEW = datetime.timedelta(minutes=15)
CACHED = 1024
MAX_CREDENTIAL = 256   # characters of an access key or a signature
V2_PARAMETERS = ("AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp",
                 "Expires")
_V4 = re.compile(r"AWS4-HMAC-SHA256 +Credential=([^,\s]{1,512}), *"
                 r"SignedHeaders=([a-z0-9;_-]{1,2048}), *Signature=([0-9a-f]{64})\Z")
_SCOPE = re.compile(r"(?P<access>[^/]{1,256})/(?P<day>[0-9]{8})/[^/]{1,64}/ec2/aws4_request\Z")
_V4_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")


@dataclass(frozen=True)
class SignedRequest:
    """A request as it was sent, and what its signature says."""

    method: str
    host: str
    path: str
    params: Mapping[str, str]       # of the query or the form
    headers: Mapping[str, str]      # Title-Case, as they came
    body: bytes
    access: str = ""
    signature: str = ""
    signed_headers: tuple[str, ...] = field(default=())

    def credentials(self) -> dict[str, Any]:
        """Return the question to Keystone."""
        params = {name: value for name, value in self.params.items() if name != "Signature"}
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() in self.signed_headers}
        if self.signed_headers:
            headers["Authorization"] = self.headers["Authorization"]
        return {"access": self.access, "signature": self.signature, "host": self.host,
                "verb": self.method, "path": self.path, "params": params, "headers": headers,
                "body_hash": hashlib.sha256(self.body).hexdigest()}


def _incomplete(message: str) -> Ec2Error:
    return Ec2Error("IncompleteSignature", message)


def refused() -> Ec2Error:
    """Return the one answer to a wrong key, a wrong secret and a signature of something else."""
    return Ec2Error("AuthFailure",
                    "AWS was not able to validate the provided access credentials", 401)


def read_signature(request: SignedRequest, now: datetime.datetime) -> SignedRequest:
    """Return the request with its key and signature; Ec2Error for one that is not signed, not by
    a known method or not lately."""
    header = request.headers.get("Authorization")
    if header is not None and "Signature" in request.params:
        raise _incomplete("The request is signed twice.")
    if header is not None:
        return _version4(request, header, now)
    if "Signature" in request.params or "AWSAccessKeyId" in request.params:
        return _version2(request, now)
    raise Ec2Error("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


def _version4(request: SignedRequest, header: str, now: datetime.datetime) -> SignedRequest:
    found = _V4.match(header)
    scope = _SCOPE.match(found[1]) if found else None
    if not found or not scope:
        raise _incomplete("Authorization is not AWS4-HMAC-SHA256 with a Credential for ec2, "
                          "SignedHeaders and a Signature.")
    signed = tuple(found[2].split(";"))
    if "host" not in signed or "x-amz-date" not in signed:
        raise _incomplete("host and x-amz-date have to be among the SignedHeaders.")
    date = request.headers.get("X-Amz-Date", "")
    if not _V4_DATE.match(date) or not date.startswith(scope["day"]):
        raise _incomplete("X-Amz-Date is not a date, or not the Credential's.")
    _check_age(timestamp(date, "X-Amz-Date"), now)
    return SignedRequest(request.method, request.host, request.path, request.params,
                         request.headers, request.body, scope["access"], found[3], signed)


def _version2(request: SignedRequest, now: datetime.datetime) -> SignedRequest:
    params = request.params
    if params.get("SignatureVersion") != "2" or params.get("SignatureMethod") != "HmacSHA256":
        raise _incomplete("SignatureVersion has to be 2 and SignatureMethod HmacSHA256.")
    if not params.get("AWSAccessKeyId") or not params.get("Signature"):
        raise _incomplete("AWSAccessKeyId and Signature belong together.")
    if max(len(params["AWSAccessKeyId"]), len(params["Signature"])) > MAX_CREDENTIAL:
        raise _incomplete(f"AWSAccessKeyId and Signature have at most {MAX_CREDENTIAL} "
                          "characters.")
    if ("Timestamp" in params) == ("Expires" in params):
        raise _incomplete("One of Timestamp and Expires is needed.")
    if "Timestamp" in params:
        _check_age(timestamp(params["Timestamp"], "Timestamp"), now)
    elif not now <= timestamp(params["Expires"], "Expires") <= now + MAX_SKEW:
        raise _expired()
    return SignedRequest(request.method, request.host, request.path, params, request.headers,
                         request.body, params["AWSAccessKeyId"], params["Signature"])


def _expired() -> Ec2Error:
    return Ec2Error("RequestExpired", "Request has expired.")


def _check_age(moment: datetime.datetime, now: datetime.datetime) -> None:
    if abs(now - moment) > MAX_SKEW:
        raise _expired()


class Believer:
    """For tests and a cloud without accounts: the access key ``user:project`` is believed."""

    def identify(self, request: SignedRequest) -> dict[str, Any]:
        """Return the context's values; AuthFailure for a key without a name."""
        user, _, project = request.access.partition(":")
        if not user:
            raise refused()
        admin = user == "admin"
        return {"auth_token": request.access, "user_id": user[:64],
                "project_id": (project or user)[:64],
                "roles": ["admin", "member", "reader"] if admin else ["member", "reader"],
                "is_admin": admin}


class KeystoneJudge:
    """Asks Keystone; its word on a request is kept for ``[ec2] cache_seconds`` for that request
    alone: method, host, path, parameters, signed headers, body, key and signature."""

    def __init__(self, session: Any = None) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._kept: collections.OrderedDict[bytes, tuple[float, dict[str, Any]]] = \
            collections.OrderedDict()

    def identify(self, request: SignedRequest) -> dict[str, Any]:
        """Return the context's values; AuthFailure, or Unavailable when Keystone does not say."""
        question = request.credentials()
        key = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()
        with self._lock:
            until, values = self._kept.get(key, (0.0, {}))
        if until > time.monotonic():
            return values
        values = self._ask(question)
        with self._lock:
            self._kept[key] = (time.monotonic() + CONF.ec2.cache_seconds, values)
            while len(self._kept) > CACHED:
                self._kept.popitem(last=False)
        return values

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        unavailable = Ec2Error("Unavailable", "The identity service cannot be used now.", 503)
        try:
            answer = self._post({"credentials": question})
        except keystone_exceptions.ClientException as error:
            # The text of these may carry URLs and names of accounts.
            LOG.error("Keystone cannot be asked about a signature: %s", type(error).__name__)
            raise unavailable from None
        if answer.status_code in (400, 401, 404):
            raise refused()
        if answer.status_code != 200:
            LOG.error("Keystone answers %d to ec2tokens: may the service's account ask?",
                      answer.status_code)
            raise unavailable
        values = _values_of(answer)
        if values is None:
            raise refused()     # a key without a project
        return values

    def _post(self, body: dict[str, Any]) -> Any:
        session = self._connected()
        more: dict[str, Any] = {} if CONF.ec2.tokens_url else {"endpoint_filter": {
            "service_type": "identity", "interface": "public", "version": (3, 0)}}
        return session.post(CONF.ec2.tokens_url or "/ec2tokens", json=body, raise_exc=False,
                            authenticated=True, redirect=False, log=False, **more)

    def _connected(self) -> Any:
        with self._lock:
            if self._session is None:
                # The account is keystonemiddleware's too, which has its own idea of that
                # section's other options: how the connection is made stands in [ec2].
                loading.register_auth_conf_options(CONF, ACCOUNT)
                self._session = loading.load_session_from_conf_options(
                    CONF, "ec2", auth=loading.load_auth_from_conf_options(CONF, ACCOUNT),
                    timeout=CONF.ec2.keystone_timeout)
            return self._session


def _values_of(answer: Any) -> dict[str, Any] | None:
    token = answer.json()["token"]
    project = token.get("project")
    if not project:
        return None
    roles = [role["name"] for role in token.get("roles", ())]
    return {"auth_token": answer.headers.get("X-Subject-Token"), "user_id": token["user"]["id"],
            "user_name": token["user"].get("name"), "project_id": project["id"],
            "project_name": project.get("name"), "roles": roles,
            "is_admin": any(role.lower() == "admin" for role in roles)}


def context_of(values: Mapping[str, Any], request_id: str) -> RequestContext:
    """Return the context of one request."""
    return RequestContext(**values, request_id=request_id, overwrite=False)
