# SPDX-License-Identifier: Apache-2.0
"""A whole image service in one process: real paste pipelines, SQLite, files in a temp folder."""

import importlib
import json
import pathlib
import shutil
import socketserver
import threading
import wsgiref.simple_server

import pytest
import webob
from oslo_config import cfg
from web_server import web_server

from glance import config, wsgi
from glance.api import app
from glance.image.service import ImageService
from glance.registry.client.rest import RestClient
from glance.registry.client.sql import SqlClient
from glance.registry.db import migration
from glance.registry.db.session import Database

EXAMPLES = pathlib.Path(__file__).parents[3] / "doc/examples"
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


class ThreadedServer(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """Each request in a thread, so that one can wait for another."""

    daemon_threads = True


class QuietHandler(wsgiref.simple_server.WSGIRequestHandler):
    """Keeps the access log out of the test's output."""

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """A function that serves a WSGI application on a free port of loopback; returns its URL."""
    servers = []

    def start(application):
        server = wsgiref.simple_server.make_server(
            "127.0.0.1", 0, application, ThreadedServer, QuietHandler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Api:
    """Calls the application as one identity (``user:project:roles`` of the noauth pipeline)."""

    def __init__(self, application, token, service):
        self.app = application
        self.token = token
        self.service = service

    def as_(self, token):
        """The same service, somebody else asking."""
        return Api(self.app, token, self.service)

    def call(self, method, path, body=None, headers=None, **options):
        request = webob.Request.blank(path, method=method, headers=headers or {}, **options)
        if self.token:
            request.headers["X-Auth-Token"] = self.token
        if isinstance(body, (dict, list)):
            request.headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body).encode()
        if isinstance(body, bytes):
            request.body = body
        elif body is not None:
            request.body_file = body
            request.content_length = None
            request.environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        return request.get_response(self.app)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def create(self, **fields):
        values = {"disk_format": "raw", "container_format": "bare", **fields}
        response = self.call("POST", "/v2/images", values)
        assert response.status_int == 201, response.text
        return response.json

    def upload(self, image_id, data, **options):
        return self.call("PUT", f"/v2/images/{image_id}/file", data,
                         options.pop("headers", OCTETS), **options)

    def active(self, data=b"bytes of an image", **fields):
        """An image with data; returns its document."""
        image = self.create(**fields)
        response = self.upload(image["id"], data)
        assert response.status_int == 204, response.text
        return self.show(image["id"])

    def show(self, image_id):
        response = self.get(f"/v2/images/{image_id}")
        assert response.status_int == 200, response.text
        return response.json

    def patch(self, image_id, *operations):
        return self.call("PATCH", f"/v2/images/{image_id}",
                         [{"op": op, "path": path, **({"value": value[0]} if value else {})}
                          for op, path, *value in operations], PATCH)

    def ids(self, query=""):
        response = self.get(f"/v2/images{query}")
        assert response.status_int == 200, response.text
        return [image["id"] for image in response.json["images"]]


@pytest.fixture
def make_conf(tmp_path):
    """A function that parses a configuration made of section -> {option: value}."""

    def make(program="glance-api", **sections):
        text = []
        for section, options in sections.items():
            text.append(f"[{section}]")
            text += [f"{name} = {value}" for name, value in options.items()]
        path = tmp_path / f"{program}.conf"
        path.write_text("\n".join(text))
        conf = cfg.ConfigOpts()
        conf.register_opts(config.PASTE_OPTIONS, config.PASTE_GROUP)
        conf(["--config-file", str(path)], project="glance", prog=program)
        return conf

    return make


@pytest.fixture
def web():
    """A web server; its ``files`` are a dictionary."""
    with web_server() as server:
        yield server


@pytest.fixture
def importing_api(make_api, web):
    """The service with two stores and web servers as a third, allowed to fetch from `web`;
    imports are over when the call that starts them returns."""
    api = make_api(
        enabled_backends="file:file,deep:file,web:http",
        glance_store={"default_backend": "file"}, show_multiple_locations=True,
        deep={"filesystem_store_datadir": "/nowhere"},
        import_filtering_opts={"allowed_networks": "127.0.0.0/8",
                               "allowed_ports": web.server_port})
    api.service.importer.spawn = lambda function, *args: function(*args)
    return api


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """A database file at this release's schema, made once by the migrations."""
    path = tmp_path_factory.mktemp("schema") / "registry.sqlite"
    database = Database(f"sqlite:///{path}")
    migration.sync(database)
    database.close()
    return path


@pytest.fixture
def database_url(tmp_path, empty_registry):
    """URL of a fresh SQLite registry database at this release's schema."""
    shutil.copy(empty_registry, tmp_path / "registry.sqlite")
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def make_api(make_conf, tmp_path, database_url):
    """A function that builds the service with some options changed; called by a member."""
    services = []

    def make(token="alice:alpha", registry=None, **options):
        sections = {
            "DEFAULT": {"state_path": tmp_path / "state"},
            "paste_deploy": {"flavor": "noauth"},
            "database": {"connection": database_url},
            "file": {"filesystem_store_datadir": tmp_path / "images"}}
        if "deep" in options:
            options["deep"] = {"filesystem_store_datadir": tmp_path / "deep"}
        for name, value in options.items():
            if isinstance(value, dict):
                sections.setdefault(name, {}).update(value)
            else:
                sections["DEFAULT"][name] = value
        conf = make_conf(**sections)
        service = ImageService.from_conf(conf)
        if registry is not None:
            service.registry = registry
        service.check()
        services.append(service)
        return Api(app.load(conf, "glance-api", service), token, service)

    yield make
    for service in services:
        service.worker.close()
        database = getattr(service.registry, "database", None)
        if database is not None:
            database.close()


@pytest.fixture
def api(make_api):
    """The service with default options, called by alice, a member of project alpha."""
    return make_api()


@pytest.fixture
def admin(api):
    """The same service, called by an administrator."""
    return api.as_("root:ops:admin,member,reader")


@pytest.fixture
def bob(api):
    """The same service, called by a member of another project."""
    return api.as_("bob:beta")


@pytest.fixture
def image_files(tmp_path):
    """A function that lists the files of the store, finished and unfinished."""

    def files():
        folder = pathlib.Path(tmp_path / "images")
        return sorted(path.name for path in folder.rglob("*") if path.is_file())

    return files


@pytest.fixture
def documents(monkeypatch):
    """The module of doc/examples that keeps a registry in a file."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("glance_documents")


@pytest.fixture(params=["sql", "rest", "documents"])
def registry(request, make_conf, database_url, serve, tmp_path):
    """A registry client of each kind over a fresh database."""
    if request.param == "documents":
        module = request.getfixturevalue("documents")
        yield module.DocumentClient(tmp_path / "registry.json")
        return
    database = Database(database_url)
    client = SqlClient(database)
    if request.param == "rest":
        conf = make_conf("glance-registry", paste_deploy={"flavor": "trusted"})
        application = config.load_app(conf, "glance-registry")
        yield RestClient(serve(wsgi.WithEnviron(application, {wsgi.REGISTRY_KEY: client})))
    else:
        yield client
    database.close()
