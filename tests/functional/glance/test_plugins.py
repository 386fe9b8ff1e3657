# SPDX-License-Identifier: Apache-2.0
"""Stores and registry clients that come from other distributions, by their entry points."""

import sys

import pytest

from glance import exceptions, store
from glance.registry import client
from glance.store.filesystem import FilesystemStore

ENTRY_POINTS = """\
[glance.stores]
tape = glance_tape:TapeStore
[glance.registry.clients]
ledger = glance_tape:LedgerClient
"""
CODE = """\
from glance.registry.client.sql import SqlClient
from glance.store.filesystem import FilesystemStore

class TapeStore(FilesystemStore):
    pass

class LedgerClient(SqlClient):
    pass
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with one plug-in of each kind."""
    info = tmp_path / "site" / "glance_tape-1.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: glance-tape\nVersion: 1\n")
    (tmp_path / "site/glance_tape.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    sys.modules.pop("glance_tape", None)


def test_plugins_serve(installed, make_api):
    api = make_api(enabled_backends="file:tape", registry_client="ledger")
    image = api.active(b"on tape")
    assert api.get(image["file"]).body == b"on tape"
    assert type(api.service.stores["file"]).__name__ == "TapeStore"
    assert type(api.service.registry).__name__ == "LedgerClient"


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
