# SPDX-License-Identifier: Apache-2.0
"""Stand-ins around the Compute API: images, workers, and a client that speaks JSON to it."""

import json

import webob

from nova import exception
from nova.image.model import Image

IMAGE_ID = "0f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a11"
PRIVATE_IMAGE_ID = "9a1b1a52-75a3-4f7e-8a1a-0d6c7c6a2b22"


class StubImages:
    """The image service's answers, kept in a dict."""

    def __init__(self):
        self.images = {
            IMAGE_ID: Image(id=IMAGE_ID, name="tiny", size=1 << 20, disk_format="qcow2",
                            container_format="bare", visibility="public", owner="elsewhere",
                            created_at="2026-01-01T00:00:00Z",
                            updated_at="2026-01-01T00:00:00Z",
                            properties={"os_distro": "debian"}),
            PRIVATE_IMAGE_ID: Image(id=PRIVATE_IMAGE_ID, name="mine", size=1 << 20,
                                    disk_format="raw", container_format="bare", owner="alpha"),
        }

    def get(self, context, image_id):
        image = self.images.get(image_id)
        if image is None or (image.visibility != "public" and not context.is_admin
                             and image.owner != context.project_id):
            raise exception.ImageNotFound(image_id=image_id)
        return image

    def list(self, context, filters=None, *, marker=None, limit=None, sort=()):
        found = [image for image in self.images.values()
                 if image.visibility == "public" or image.owner == context.project_id]
        return found[:limit]

    def delete(self, context, image_id):
        if self.get(context, image_id).owner != context.project_id:
            raise exception.Forbidden()
        del self.images[image_id]

    def set_properties(self, context, image_id, values, remove=()):
        image = self.get(context, image_id)
        kept = {k: v for k, v in {**image.properties, **values}.items() if k not in remove}
        self.images[image_id] = Image(**{**vars(image), "properties": kept})
        return self.images[image_id]


class StubWorker:
    """Notes what it is told; answers calls from a table."""

    def __init__(self):
        self.casts = []
        self.answers = {}
        self.broken = False

    def cast(self, context, method, *, host=None, **args):
        if self.broken:
            raise exception.RpcUnavailable(reason="no broker")
        self.casts.append((method, host, args))

    def call(self, context, method, *, host=None, timeout=None, **args):
        return self.answers[method](host, **args)


class StubRpc:
    """What the network API sends to hosts, noted."""

    def __init__(self):
        self.sent = []

    def cast(self, context, table, method, *, host=None, **args):
        self.sent.append((table.topic, method, host, args))

    call = cast


class Client:
    """Speaks JSON to a WSGI application under a token."""

    def __init__(self, app, token, prefix="/v2.1"):
        self.app, self.token, self.prefix = app, token, prefix

    def request(self, method, path, body=None, headers=None, raw=None):
        req = webob.Request.blank(self.prefix + path, method=method)
        if self.token:
            req.headers["X-Auth-Token"] = self.token
        if body is not None or raw is not None:
            req.body = raw if raw is not None else json.dumps(body).encode()
            req.content_type = "application/json"
        for name, value in (headers or {}).items():
            req.headers[name] = value
        return req.get_response(self.app)

    def ok(self, method, path, body=None, status=None):
        """Return the decoded answer of a request that has to succeed."""
        response = self.request(method, path, body)
        assert response.status_int < 400 if status is None else response.status_int == status, \
            (response.status, response.text)
        return json.loads(response.body) if response.body else None

    def fails(self, status, method, path, body=None, **kwargs):
        """Return the message of a request that has to fail so."""
        response = self.request(method, path, body, **kwargs)
        assert response.status_int == status, (response.status, response.text)
        [fault] = json.loads(response.body).values()
        assert fault["code"] == status
        return fault["message"]

    def get(self, path):
        return self.ok("GET", path)

    def post(self, path, body):
        return self.ok("POST", path, body)

    def boot(self, name="one", **more):
        """Create a server and return its id."""
        return self.post("/servers", {"server": {
            "name": name, "flavorRef": "1", "imageRef": IMAGE_ID, **more}})["server"]["id"]
