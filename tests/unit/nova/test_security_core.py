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
TREE = Path(nova.__file__).parents[1]


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


def test_security_x2_xml_is_read_without_entities_everywhere():
    """X2: whoever reads XML hands over a parser, and parsers expand nothing and fetch nothing."""
    call = re.compile(r"\b(?:fromstring|etree\.parse|iterparse|XML)\(([^)]*)\)")
    other = re.compile(r"minidom|expat\b|ElementTree|sax\.(?:parse|make_parser)|xmltodict")
    for path in sorted(one for service in ("nova", "glance", "swift")
                       for one in (TREE / service).rglob("*.py")):
        text = path.read_text()
        assert not other.search(text), path
        for arguments in call.findall(text):
            assert re.search(r"parser", arguments, re.I), f"{path}: {arguments}"
        for made in re.findall(r"XMLParser\(([^)]*)\)", text):
            assert "resolve_entities=False" in made and "no_network=True" in made, path


def test_security_c8_what_upstream_has_dropped_is_not_leaned_on():
    """C8: signatures are taken to Keystone by our own code, not by filters that are gone."""
    gone = re.compile(r"keystonemiddleware[. ].*(ec2_token|s3_token)")
    for path in [*TREE.glob("etc/**/*paste*"), *(
            one for service in ("nova", "glance", "swift")
            for one in (TREE / service).rglob("*.py"))]:
        assert not gone.search(path.read_text()), path


def test_security_r11_no_name_of_a_host_is_part_of_a_command():
    """R11, R7 to R9: nothing is run on another host, nor by ssh."""
    wrong = re.compile(r"[\[(]\s*[\"'](ssh|scp|rsync|sftp)[\"' ]|qemu\+(ssh|tcp|tls)")
    for path in sorted((TREE / "nova").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not wrong.search(line.partition("#")[0]), f"{path}:{number}: {line.strip()}"


def test_security_r1_only_known_programs_are_run():
    """R1: no sudo, no shell, and the program's name is never somebody's value."""
    first = re.compile(r"(?:\brun|\brunner|_run)\(\s*([^\s,()*]+)")
    known = {"ip", "tee", "arping", "conntrack", "dnsmasq", "modprobe", "iptables-restore",
             "ip6tables-restore", "iptables-save", "ip6tables-save", "ebtables", "ebtables-restore",
             "genisoimage", "create", "info", "convert", "resize"}
    for path in sorted((TREE / "nova/linux").glob("*.py")):
        for word in first.findall(path.read_text()):
            if word.startswith('"'):
                assert word.strip('"') in known, f"{path}: {word}"
    for path in SOURCES:
        assert not re.search(r"\b(sudo|rootwrap|setuid)\b", path.read_text()), path


@pytest.mark.parametrize("text, value", [
    ("False", False), ("false", False), ("0", False), ("no", False), ("off", False),
    ("True", True), ("true", True), ("1", True), ("yes", True)])
def test_security_c4_words_for_no_are_no(text, value, places):
    """C4: "insecure = False" is not a string that is true."""
    file = places.parent / "more.conf"
    file.write_text(f"[glance]\ninsecure = {text}\n[ec2]\ninsecure = {text}\n")
    from nova.api.ec2 import auth
    from nova.image import transport
    assert transport and auth
    config.CONF(["--config-file", str(file)], project="nova")
    assert config.CONF.glance.insecure is value
    assert config.CONF.ec2.insecure is value


@pytest.mark.parametrize("text", ["maybe", "", "2", "falsch"])
def test_security_c4_other_words_are_an_error(text, places):
    """C4: nobody guesses what was meant."""
    from oslo_config import cfg
    file = places.parent / "more.conf"
    file.write_text(f"[glance]\ninsecure = {text}\n")
    config.CONF(["--config-file", str(file)], project="nova")
    with pytest.raises(cfg.ConfigFileValueError):
        assert config.CONF.glance.insecure


@pytest.mark.parametrize("secret", ['a"b', "a'b", "a\\b", "a b", "a\nb", "a,b", "a=b", "æ\u2028b"])
def test_security_l7_a_failed_command_does_not_say_what_it_was_fed(secret):
    """L6, L7: secrets go to programs by standard input, which no error shows, however quoted."""
    from nova.linux.run import CommandFailed, Runner
    with pytest.raises(CommandFailed) as caught:
        Runner()("false", stdin=f"password={secret}")
    assert secret not in str(caught.value) and secret not in repr(caught.value.__dict__)


def test_security_n20_a_command_that_never_ends_is_ended():
    """N20: no child, however it hangs, holds up the work of a worker for longer than its limit."""
    from nova.linux.run import CommandFailed, Runner
    with pytest.raises(CommandFailed, match="not done in 1 s"):
        Runner()("sleep", "3600.125", timeout=1)
    assert not any(b"3600.125" in _read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def _read(path):
    try:
        return path.read_bytes()
    except OSError:     # gone meanwhile
        return b""
