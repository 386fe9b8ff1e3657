# SPDX-License-Identifier: Apache-2.0
"""Stores and registry clients that come from other distributions, by their entry points: a store,
and the registry in another database that doc/registry.rst describes."""

import json
import sys

import pytest

from glance import exceptions, store
from glance.image.audit import findings
from glance.registry import client
from glance.store.filesystem import FilesystemStore

OCTETS = {"Content-Type": "application/octet-stream"}
ENTRY_POINTS = """\
[glance.stores]
tape = glance_tape:TapeStore
[glance.registry.clients]
documents = glance_documents:DocumentClient
"""
CODE = """\
from glance.store.filesystem import FilesystemStore

class TapeStore(FilesystemStore):
    pass
"""


@pytest.fixture
def installed(tmp_path, monkeypatch, documents):
    """A distribution with one plug-in of each kind."""
    info = tmp_path / "site" / "glance_tape-1.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: glance-tape\nVersion: 1\n")
    (tmp_path / "site/glance_tape.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    sys.modules.pop("glance_tape", None)


def test_plugins_serve(installed, make_api, tmp_path):
    """A whole image service without a database server or a table."""
    path = tmp_path / "known.json"
    api = make_api(enabled_backends="file:tape", registry_client="documents",
                   documents={"path": path}, database={"connection": "sqlite:////nowhere/x"})
    image = api.active(b"on tape", name="x", tags=["a"])
    assert api.get(image["file"]).body == b"on tape"
    assert type(api.service.stores["file"]).__name__ == "TapeStore"
    assert type(api.service.registry).__name__ == "DocumentClient"
    bob, member = api.as_("bob:beta"), f"/v2/images/{image['id']}/members"
    assert api.call("POST", member, {"member": "beta"}).status_int == 200
    assert bob.ids("?visibility=shared&member_status=pending") == [image["id"]]
    assert bob.call("PUT", f"{member}/beta", {"status": "accepted"}).status_int == 200
    assert bob.ids() == api.ids("?tag=a&name=x") == [image["id"]]
    assert bob.call("DELETE", f"/v2/images/{image['id']}").status_int == 403
    upload = api.create()["id"]
    assert api.call("PUT", f"/v2/images/{upload}/stage", b"x" * 10, OCTETS).status_int == 204
    api.service.importer.spawn = lambda function, *args: function(*args)
    api.call("POST", f"/v2/images/{upload}/import", {"method": {"name": "glance-direct"}})
    assert api.show(upload)["status"] == "active"
    assert list(findings(api.service)) == []
    assert json.loads(path.read_text())["images"][upload]["status"] == "active"
    response = api.get("/v2/metadefs/namespaces")
    assert response.status_int == 501 and "metadata definitions" in response.text
    for each in (image["id"], upload):
        assert api.call("DELETE", f"/v2/images/{each}").status_int == 204
    assert api.ids() == []
    assert list(findings(api.service)) == []


def test_our_own_need_no_installation(make_conf, tmp_path):
    conf = make_conf(DEFAULT={"enabled_backends": "a:filesystem"},
                     a={"filesystem_store_datadir": tmp_path})
    assert isinstance(store.Stores.from_conf(conf)["a"], FilesystemStore)


@pytest.mark.parametrize("options, word", [
    ({"enabled_backends": "a:punchcard"}, "punchcard"), ({"enabled_backends": ""}, "enabled_back"),
    ({"enabled_backends": "a:file,b:file"}, "default_backend"),
    ({"enabled_backends": "a:swift"}, "swift_store_auth_address")])
def test_stores_that_cannot_be(make_conf, options, word):
    with pytest.raises(exceptions.ConfigurationError, match=word):
        store.Stores.from_conf(make_conf(DEFAULT=options))


def test_registry_client_that_cannot_be(make_conf):
    with pytest.raises(exceptions.ConfigurationError, match="registry_client.*abacus"):
        client.from_conf(make_conf(DEFAULT={"registry_client": "abacus"}))
