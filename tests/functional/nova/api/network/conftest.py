# SPDX-License-Identifier: Apache-2.0
"""The Network API's real WSGI application over SQLite; what is cast is kept."""

import json

import pytest
import webob
from oslo_config import cfg

from nova import db, policy
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.network.app import make_app
from nova.api.openstack.request_log import RequestLog
from nova.db import floating_ips, networks
from nova.db.models import Instance
from nova.network.api import API

CONF = cfg.CONF
ADMIN, ALPHA, BETA = "admin:admin", "ann:alpha", "bob:beta"


class Rpc:
    """Keeps casts."""

    def __init__(self):
        self.casts = []

    def cast(self, context, table, method, *, host=None, **args):
        table.check(method, args)
        self.casts.append((table.topic, method, host, args))

    def named(self, method):
        return [(host, args) for _, name, host, args in self.casts if name == method]


class Client:
    """Speaks to the application as one caller after the other."""

    def __init__(self, app, rpc):
        self.app, self.rpc = app, rpc

    def __call__(self, method, path, body=None, token=ALPHA, status=None, headers=None):
        req = webob.Request.blank(f"/v2.0{path}", method=method)
        if token:
            req.headers["X-Auth-Token"] = token
        if body is not None:
            req.body = body if isinstance(body, bytes) else json.dumps(body).encode()
            req.content_type = "application/json"
        req.headers.update(headers or {})
        response = req.get_response(self.app)
        response.data = json.loads(response.body) if response.body else None
        if status is not None:
            assert response.status_int == status, response.body
        return response

    def get(self, path, token=ALPHA, status=200):
        return self("GET", path, token=token, status=status).data

    def post(self, path, body, token=ALPHA, status=201):
        return self("POST", path, body, token, status).data

    def put(self, path, body, token=ALPHA, status=200):
        return self("PUT", path, body, token, status).data

    def delete(self, path, token=ALPHA, status=204):
        return self("DELETE", path, token=token, status=status).data


@pytest.fixture
def api(nova_db):
    """A client of the API; ``api.rpc`` has the casts."""
    CONF([], project="nova", default_config_files=[])
    policy.reset()
    rpc = Rpc()
    yield Client(RequestLog(NoAuth(make_app(API(rpc))), service="network"), rpc)
    CONF.reset()


@pytest.fixture
def flat(api):
    """The shared network, served by host1."""
    return networks.create({"name": "private", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1",
                            "dhcp_server": "10.0.0.1", "bridge": "br100", "host": "host1"})


@pytest.fixture
def public(api):
    """The external network with four addresses."""
    row = networks.create({"name": "public", "cidr": "172.24.4.0/24", "gateway": "172.24.4.1",
                           "external": True, "shared": False})
    floating_ips.add(row.id, [f"172.24.4.{n}" for n in range(10, 14)])
    return row


@pytest.fixture
def make_instance(api):
    """A function that writes an instance on host1."""
    def make(project="alpha", **values):
        row = Instance(**{
            "project_id": project, "user_id": "u", "display_name": "vm", "hostname": "vm",
            "reservation_id": "r-1", "vm_state": "active", "desired_state": "active",
            "flavor_id": "1", "flavor_name": "f", "vcpus": 1, "memory_mb": 1, "root_gb": 1,
            "host": "host1", "build_request": {}, **values})
        with db.writer() as session:
            session.add(row)
        return row
    return make
