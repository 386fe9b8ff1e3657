# SPDX-License-Identifier: Apache-2.0
"""A real boto3 client that speaks to the WSGI application in this process, and a Keystone that
judges signatures with the code the real one uses."""

import io
from types import SimpleNamespace
from urllib.parse import urlsplit

import boto3
import botocore.awsrequest
import botocore.config
import botocore.loaders
import botocore.session
from keystoneclient.contrib.ec2 import utils as keystone_signer

# Reading the model of EC2 takes the better part of a second, once for all clients.
_MODELS = botocore.loaders.create_loader()
ENDPOINT = "http://ec2.example:8773"


class Raw:
    """What botocore reads an answer from."""

    def __init__(self, body):
        self._body = io.BytesIO(body)

    def stream(self, *_args, **_kwargs):
        yield self._body.read()


def environ_of(method, url, headers, body):
    """Return the environment our server makes of a request."""
    parts = urlsplit(url)
    environ = {"REQUEST_METHOD": method, "PATH_INFO": parts.path or "/", "SCRIPT_NAME": "",
               "QUERY_STRING": parts.query, "wsgi.input": io.BytesIO(body),
               "wsgi.url_scheme": parts.scheme, "HTTP_HOST": parts.netloc,
               "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1"}
    for name, value in headers.items():
        value = value.decode() if isinstance(value, bytes) else str(value)
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key != "CONTENT_LENGTH":
            environ["HTTP_" + key] = value
    return environ


def ask(app, method, url, headers=None, body=b""):
    """Return (status, headers, body) of a request to a WSGI application."""
    seen = []
    parts = app(environ_of(method, url, headers or {}, body),
                lambda status, head, *_: seen.append((int(status[:3]), dict(head))))
    return (*seen[0], b"".join(parts))


def client(app, access, secret="secret", version=None, url=ENDPOINT, signature="v4"):
    """Return a boto3 EC2 client whose requests go straight into an application."""
    session = botocore.session.Session()
    session.register_component("data_loader", _MODELS)
    made = boto3.session.Session(botocore_session=session).client(
        "ec2", region_name="nova", endpoint_url=url, aws_access_key_id=access,
        aws_secret_access_key=secret, api_version=version,
        config=botocore.config.Config(retries={"max_attempts": 0}, signature_version=signature))

    def send(request, **_kwargs):
        body = request.body or b""
        status, headers, answer = ask(app, request.method, request.url, dict(request.headers),
                                      body if isinstance(body, bytes) else body.encode())
        return botocore.awsrequest.AWSResponse(request.url, status, headers, Raw(answer))
    made.meta.events.register("before-send.ec2", send)
    return made


class Keystone:
    """``session.post`` of a Keystone that knows these keys: ``{access: (secret, project)}``."""

    def __init__(self, keys):
        self.keys, self.asked, self.status = keys, 0, None

    def post(self, _url, json, **_kwargs):
        self.asked += 1
        asked = json["credentials"]
        secret, project = self.keys.get(asked["access"], (None, None))
        if self.status or secret is None:
            return SimpleNamespace(status_code=self.status or 401)
        signer = keystone_signer.Ec2Signer(secret)
        if signer.generate({**asked, "params": dict(asked["params"])}) != asked["signature"]:
            return SimpleNamespace(status_code=401)
        return SimpleNamespace(
            status_code=200, headers={"X-Subject-Token": "t0ken"}, json=lambda: {"token": {
                "user": {"id": asked["access"], "name": "u"},
                "project": project and {"id": project, "name": project},
                "roles": [{"name": "member"}]}})
