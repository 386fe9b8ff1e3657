# SPDX-License-Identifier: Apache-2.0
"""The Volume API's real WSGI application over SQLite; what is cast is kept."""

from types import SimpleNamespace

import pytest
from compute_api import Client, StubImages
from oslo_config import cfg
from volume_rows import RecordingRpc, add_host

from nova import policy
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.request_log import RequestLog
from nova.api.openstack.volume.app import make_app
from nova.db import volume_types
from nova.volume.api import API

CONF = cfg.CONF


@pytest.fixture
def cloud(nova_db):
    """A cloud with one volume host that is up and one public volume type."""
    CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    rpc = RecordingRpc()
    api = API(rpc, StubImages())
    add_host()
    volume_types.create("plain")
    application = make_app(api)
    app = RequestLog(NoAuth(application))
    return SimpleNamespace(
        app=app, api=api, rpc=rpc, routes=application.routes,
        alpha=Client(app, "alice:alpha", "/v3"), beta=Client(app, "bob:beta", "/v3"),
        admin=Client(app, "admin:admin", "/v3"), nobody=Client(app, None, "/v3"),
        client=lambda token, prefix="/v3": Client(app, token, prefix))
