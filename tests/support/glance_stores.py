# SPDX-License-Identifier: Apache-2.0
"""Stores to test, and a small object storage service with failure knobs."""

import functools
import hashlib
import json
import threading
import urllib.parse
import uuid

# by name: importing eventlet makes the attribute http.server a green copy of the module
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from glance.outbound import Fetcher
from glance.store import s3
from glance.store.http import HttpStore
from glance.store.swift import LoginV1, SwiftStore

USER, KEY, TOKEN = "images:glance", "s3cret-key", "t0ken"


class SwiftHandler(BaseHTTPRequestHandler):
    """Enough of the object storage API: one account, containers, objects, tempauth's login."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            wanted = int(self.headers.get("Content-Length", 0))
            data = self.rfile.read(wanted)
            return data if len(data) == wanted else None
        data = b""
        while True:
            line = self.rfile.readline().strip()
            if not line:
                return None
            piece = self.rfile.read(int(line, 16))
            self.rfile.readline()
            if not piece:
                return data
            data += piece

    def handle_any(self):
        cloud = self.server.cloud
        parsed = urllib.parse.urlsplit(self.path)
        if parsed.path == "/auth/v1.0":
            if (self.headers["X-Auth-User"], self.headers["X-Auth-Key"]) != (USER, KEY):
                return self.answer(401)
            cloud.logins += 1
            return self.answer(200, X_Storage_Url=f"{cloud.url}/v1/AUTH_images",
                               X_Auth_Token=cloud.token)
        cloud.requests.append((self.command, parsed.path))
        data = self.body() if self.command == "PUT" else b""
        query = urllib.parse.parse_qs(parsed.query)
        if data is None:
            self.close_connection = True
            return None
        if cloud.fail_with and self.command in cloud.fail_methods:
            return self.answer(cloud.fail_with, b"secret backend text " + cloud.url.encode())
        if self.headers.get("X-Auth-Token") != cloud.token:
            return self.answer(401)
        container, _, name = urllib.parse.unquote(
            parsed.path.removeprefix("/v1/AUTH_images/")).partition("/")
        if not name:
            return self.container(container, query)
        return self.object(container, name, data, query.get("multipart-manifest", [""])[0])

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def container(self, container, query):
        cloud = self.server.cloud
        if self.command == "PUT":
            cloud.containers.setdefault(container, {})
            return self.answer(201)
        if container not in cloud.containers:
            return self.answer(404)
        marker = query.get("marker", [""])[0]
        prefix = query.get("prefix", [""])[0]
        names = sorted(name for name in cloud.containers[container]
                       if name > marker and name.startswith(prefix))[:2]
        return self.answer(200, json.dumps([{"name": name} for name in names]).encode())

    def object(self, container, name, data, manifest):
        cloud = self.server.cloud
        objects = cloud.containers.get(container)
        if objects is None or (name not in objects and self.command != "PUT"):
            return self.answer(404)
        if self.command == "PUT":
            if name in objects and self.headers.get("If-None-Match") == "*":
                return self.answer(412)
            objects[name] = data
            if manifest == "put":
                objects[name] = json.loads(data)
                for entry in objects[name]:
                    part = objects[entry["path"].rpartition("/")[2]]
                    assert entry["size_bytes"] == len(part) > 0
                    assert entry["etag"] == hashlib.md5(part).hexdigest()
            etag = hashlib.md5(data).hexdigest()
            return self.answer(201, ETag=cloud.wrong_etag or etag)
        if self.command == "DELETE":
            del objects[name]
            return self.answer(204)
        found, extra = objects[name], {}
        if isinstance(found, list):
            extra = {"X_Static_Large_Object": "True"}
            if manifest == "get":
                return self.answer(200, json.dumps(
                    [{"name": entry["path"]} for entry in found]).encode(), **extra)
            found = b"".join(objects[entry["path"].rpartition("/")[2]] for entry in found)
        status = 200
        if "Range" in self.headers and self.command == "GET":
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            if int(first) >= len(found):
                return self.answer(416)
            found = found[int(first):int(last) + 1 if last else None]
            status = 206
        if cloud.cut_after is not None and self.command == "GET":
            self.send_response(status)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found[:cloud.cut_after])
            self.close_connection = True
            return None
        return self.answer(status, found, **extra)


class Cloud:
    """The state behind the handler, and its knobs."""

    def __init__(self):
        self.containers = {}
        self.requests = []
        self.token = TOKEN
        self.logins = 0
        self.fail_with = None
        self.fail_methods = ("GET", "HEAD", "PUT", "DELETE")
        self.wrong_etag = None
        self.cut_after = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), SwiftHandler)
        self.server.daemon_threads = True
        self.server.cloud = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    def store(self, **options):
        login = LoginV1(f"{self.url}/auth/v1.0", USER, KEY)
        return SwiftStore("deep", login, **{"create_container": True, "connect_timeout": 2,
                                            "timeout": 5, **options})


ACCESS, SECRET = "AKIDEXAMPLE", "s3cret-key"


@functools.cache
def s3_client(url):
    """Making one takes a second: one for each address."""
    return s3.make_client(url, ACCESS, SECRET, style="path", connect_timeout=2, timeout=2)


def make_s3(url):
    """A store in a bucket of its own."""
    store = s3.S3Store("deep", s3_client(url), bucket=f"glance-{uuid.uuid4().hex}",
                       create_bucket=True, part=5 << 20)
    store.check()
    return store


def make_http(port):
    """A store that may fetch from that one port of loopback."""
    return HttpStore("deep", Fetcher(networks=["127.0.0.0/8"], ports=[port], connect_timeout=2,
                                     read_timeout=1))
