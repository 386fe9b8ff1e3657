# SPDX-License-Identifier: Apache-2.0
"""No parameters of any action make a 500."""

import datetime
from urllib.parse import urlencode

import pytest
from compute_api import StubImages, StubRpc, StubWorker
from ec2_client import ENDPOINT, ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from nova import policy
from nova.api.ec2.actions import TABLE
from nova.api.ec2.app import make_app
from nova.api.ec2.auth import Believer
from nova.compute.api import API
from nova.db import networks
from nova.network.api import API as NETWORK_API

TEXTS = st.one_of(st.text(max_size=8), st.sampled_from([
    "", "1", "-1", "0", "true", "tcp", "i-0", "sg-1", "ami-", "default", "0.0.0.0/0", "::/0",
    "instance", "Name", "MTIz", "99999999999"]))


@pytest.fixture
def app(nova_db):
    cfg.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    networks.create({"name": "empty", "cidr": "", "gateway": ""})
    return make_app(API(images=StubImages(), network=NETWORK_API(StubRpc()),
                        scheduler=StubWorker(), compute=StubWorker()), Believer(), strict=True)


def version2(access="alice:alpha"):
    return {"AWSAccessKeyId": access, "SignatureVersion": "2", "SignatureMethod": "HmacSHA256",
            "Timestamp": datetime.datetime.now(datetime.UTC).isoformat(), "Signature": "x"}


@settings(deadline=None, max_examples=150,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_parameters_make_a_500(app, data):
    name = data.draw(st.sampled_from(sorted(TABLE)))
    wanted = [f"{key}{tail}" for key in sorted(TABLE[name].takes)
              for tail in ("", ".1", ".1.Name", ".1.Value.1")]
    names = st.sampled_from([*wanted, "Filter.1.Name", "Filter.1.Value.1", "InstanceId.1",
                             "IpPermissions.1.IpProtocol", "IpPermissions.1.IpRanges.1.CidrIp",
                             "Tag.1.Key", "ResourceId.1", "Action.1"])
    sent = data.draw(st.dictionaries(names, TEXTS, max_size=6))
    query = urlencode({**sent, "Action": name, "Version": "2016-11-15", **version2()})
    status, _headers, body = ask(app, "GET", f"{ENDPOINT}/?{query}")
    assert status < 500, (status, sent, body)
