# SPDX-License-Identifier: Apache-2.0
"""Rows of the catalogue of old mistakes that fit nova's core, each as a test."""

import logging
import os
import re
from pathlib import Path

import pytest

import nova
from nova import config
from nova.context import RequestContext
from nova.db.models import Base

SOURCES = sorted(Path(nova.__file__).parent.rglob("*.py"))


@pytest.fixture
def places(tmp_path):
    """Configuration with a state directory of its own; returns that directory."""
    file = tmp_path / "nova.conf"
    file.write_text(f"[DEFAULT]\nstate_path = {tmp_path}/state\n")
    file.chmod(0o600)
    config.CONF(["--config-file", str(file)], project="nova")
    yield tmp_path / "state"
    config.CONF.reset()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_security_k8_state_directory_others_may_write_is_refused(places, mode):
    """K8: no service trusts a directory that somebody else could have prepared."""
    config.check_places()
    assert places.stat().st_mode & 0o022 == 0
    places.chmod(mode)
    with pytest.raises(PermissionError, match="state_path"):
        config.check_places()


def test_security_k8_state_directory_of_somebody_else_is_refused(places):
    """K8: nor one that belongs to another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    places.mkdir()
    os.chown(places, 65534, 65534)
    with pytest.raises(PermissionError, match="state_path"):
        config.check_places()


def test_security_r5_loose_configuration_is_spoken_of(places, caplog):
    """R5: a file with passwords that everybody can read is warned of, by name."""
    path = places.parent / "nova.conf"
    with caplog.at_level(logging.WARNING):
        config.check_places()
        assert not caplog.records
        path.chmod(0o644)
        config.check_places()
    assert str(path) in caplog.text


def test_security_t20_every_row_of_a_user_has_an_owner():
    """T20: tables with what users made have a project or user, or hang on one that has."""
    # ec2_ids only numbers UUIDs; whose the thing behind one is, is asked of the thing's own row.
    nobodys = {"services", "compute_nodes", "flavors", "fixed_ips", "key_pairs", "ec2_ids",
               "volume_hosts", "volume_types"}
    for table in Base.metadata.sorted_tables:
        if table.name in nobodys or "project_id" in table.columns:
            continue
        parents = {key.column.table for key in table.foreign_keys}
        assert any("project_id" in parent.columns for parent in parents), table.name
    assert "user_id" in Base.metadata.tables["key_pairs"].columns


def test_security_l5_a_context_on_the_bus_has_no_token():
    """L5: what travels is an explicit list, however much the context knows."""
    context = RequestContext(auth_token="s3cret", service_token="s3cret", user_id="u",
                             project_id="p", roles=["member"], overwrite=False)
    assert set(context.to_wire()) == {"user_id", "project_id", "roles", "is_admin", "request_id"}
    assert "s3cret" not in repr(context.to_wire())


def test_security_x_pickle_yaml_eval_and_shells_are_not_used():
    """Nothing from the wire or a row is ever run as code."""
    wrong = re.compile(r"\bpickle\b|yaml\.load\(|\beval\(|\bexec\(|shell=True|os\.system\(")
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not wrong.search(line), f"{path}:{number}: {line.strip()}"


def test_security_e16_secrets_are_not_compared_with_equals():
    """E16: signatures and tokens are compared in constant time."""
    wrong = re.compile(r"(signature|hmac|digest|token)\s*(==|!=)\s*[^N\"']", re.I)
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not wrong.search(line.partition("#")[0]), f"{path}:{number}: {line.strip()}"
