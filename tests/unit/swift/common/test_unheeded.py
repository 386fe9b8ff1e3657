# SPDX-License-Identifier: Apache-2.0
"""Options of OpenStack Swift that change nothing here are told of."""
import logging
import re
from pathlib import Path

import pytest

import swift
from swift.common import daemon, unheeded
from swift.obj.updater import ObjectUpdater

ROOT = Path(swift.__file__).parent


LOGGER = logging.getLogger("unheeded")


@pytest.fixture
def conf(tmp_path):
    def write(text):
        path = tmp_path / "server.conf"
        path.write_text(text)
        return str(path)
    return write


def test_what_changes_nothing_is_told(conf, caplog):
    path = conf("[DEFAULT]\nbroker_timeout = 5\n[app:proxy-server]\nallow_versions = on\n"
                "[filter:catch_errors]\nlog_format = x\n[filter:slo]\nconcurrency = 2\n"
                "[object-updater]\nrequest_tries = 1\n"
                "[proxy-server:policy:1]\ncooperative_period = 1\n")
    unheeded.check(path, "proxy-server", LOGGER)
    assert [line.split(" changes nothing: ")[0] for line in caplog.messages] == [
        "allow_versions", "broker_timeout", "cooperative_period", "log_format"]


def test_a_name_may_mean_something_elsewhere(conf, caplog):
    path = conf("[object-expirer]\nreclaim_age = 2\n[object-replicator]\nreclaim_age = 2\n")
    unheeded.check(path, "object-replicator", LOGGER)
    assert not caplog.messages
    unheeded.check(path, "object-expirer", LOGGER)
    assert [line.split()[0] for line in caplog.messages] == ["object-expirer/reclaim_age"]


def test_a_name_may_end_as_it_likes(conf, caplog):
    path = conf("[DEFAULT]\nstatsd_user_label_site = a\nstatsd_user_label_b = c\n"
                "[app:proxy-server]\n[filter:tempauth]\nfernet_key_mine = x\n")
    unheeded.check(path, "proxy-server", LOGGER)
    assert [line.split()[0] for line in caplog.messages] == ["fernet_key_*",
                                                             "statsd_user_label_*"]


def test_a_daemon_tells_at_its_start(conf, caplog, monkeypatch):
    path = conf("[object-updater]\nrequest_tries = 3\nlog_address = /none\n")
    monkeypatch.setattr(daemon, "get_logger", lambda *_: logging.getLogger("updater"))
    assert isinstance(daemon.make(ObjectUpdater, path), ObjectUpdater)
    assert caplog.messages == [
        "request_tries changes nothing: what failed is tried again in the next pass"]


def test_only_object_servers_have_several_ports(conf, caplog):
    path = conf("[DEFAULT]\nservers_per_port = 2\n[app:object-server]\n[app:account-server]\n")
    unheeded.check(path, "object-server", LOGGER)
    assert not caplog.messages
    unheeded.check(path, "account-server", LOGGER)
    assert [line.split()[0] for line in caplog.messages] == ["app:account-server/servers_per_port"]


def test_nothing_that_is_read_is_said_to_be_unheeded():
    read = set()
    for path in ROOT.rglob("*.py"):
        if path.name != "unheeded.py":
            read |= set(re.findall(r"""["']([a-z_]{4,})["']""", path.read_text()))
    assert not unheeded.IGNORED.keys() & read
