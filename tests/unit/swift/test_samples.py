# SPDX-License-Identifier: Apache-2.0
"""The sample configuration of the storage servers: complete, and it loads as it is."""
import re
from pathlib import Path

import pytest

import swift
from swift.common import app_conf, conf, storage, storage_policy

ETC = Path(swift.__file__).parents[1] / "etc/swift"
KINDS = {"object": "obj", "container": "container", "account": "account"}
SHARED = ("runner", "log", "backend_server", "db_server", "db_replicator", "db_auditor",
          "devices")
READ = re.compile(r"""(?:conf\.get|config_int|config_float)\(\s*(?:conf,\s*)?"([a-z_]+)\"""")
# Read under another name, for files written for older releases; or of another kind of server.
NOT_SHOWN = {"run_pause", "log_name", "__file__"}
OF_DATABASES = {"databases_per_second", "extra_save_headers", "max_diffs", "per_diff",
                "auto_create_account_prefix", "db_preallocation"}


def options_read(kind):
    package = Path(swift.__file__).parent
    files = [*(package / KINDS[kind]).glob("*.py"),
             *(package / "common" / f"{name}.py" for name in SHARED)]
    found = {name for path in files for name in READ.findall(path.read_text())}
    return found - NOT_SHOWN - (OF_DATABASES if kind == "object" else set())


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_in_the_sample(kind):
    text = (ETC / f"{kind}-server.conf-sample").read_text()
    if kind == "container":
        text += (ETC / "container-reconciler.conf-sample").read_text()
    shown = set(re.findall(r"^# (?:set )?([a-z_]+) =", text, re.MULTILINE))
    missing = options_read(kind) - shown
    assert kind == "object" or "reclaim_age" in shown
    assert not missing


@pytest.mark.parametrize("kind", KINDS)
def test_the_sample_loads(kind, monkeypatch):
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    monkeypatch.setattr(conf, "SWIFT_DIR", "/nonexistent")
    app = app_conf.load_context(str(ETC / f"{kind}-server.conf-sample")).create()
    while hasattr(app, "app"):
        app = app.app
    assert app.server_type == kind


def test_swift_conf_sample_is_read_and_asks_for_a_secret(monkeypatch):
    sections = conf.read_swift_conf(str(ETC / "swift.conf-sample"))
    assert storage_policy.parse_policies(sections).default.name == "Policy-0"
    assert sections["swift-hash"]["swift_hash_path_suffix"] == ""
    monkeypatch.setattr(storage, "_secrets", None)
    monkeypatch.setenv("SWIFT_CONF", str(ETC / "swift.conf-sample"))
    with pytest.raises(conf.ConfigError, match="swift_hash_path_suffix"):
        storage.hash_secrets()
