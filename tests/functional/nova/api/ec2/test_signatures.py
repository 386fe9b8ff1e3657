# SPDX-License-Identifier: Apache-2.0
"""Who may come in: signatures of both versions judged by Keystone's own code, and what is never
let through."""

import datetime
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from compute_api import StubImages, StubRpc, StubWorker
from ec2_client import ENDPOINT, Keystone, ask, client
from keystoneclient.contrib.ec2.utils import Ec2Signer
from oslo_config import cfg
from sqlalchemy import func, select

from nova import db, policy
from nova.api.ec2.actions import TABLE
from nova.api.ec2.app import make_app
from nova.api.ec2.auth import KeystoneJudge
from nova.compute.api import API
from nova.db.volume_models import Base
from nova.network.api import API as NETWORK_API

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
REGIONS = {"Action": "DescribeRegions", "Version": "2016-11-15"}


def now():
    return datetime.datetime.now(datetime.UTC)


@pytest.fixture
def door(nova_db):
    cfg.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    keystone = Keystone({"AK": ("right", "alpha"), "NOPROJECT": ("right", None)})
    clock = SimpleNamespace(ahead=datetime.timedelta())
    judge = KeystoneJudge(keystone)
    app = make_app(API(images=StubImages(), network=NETWORK_API(StubRpc()),
                       scheduler=StubWorker(), compute=StubWorker()), judge, strict=True,
                   now=lambda: datetime.datetime.now(datetime.UTC) + clock.ahead)
    return SimpleNamespace(app=app, keystone=keystone, clock=clock, judge=judge)


def code_of(door, access="AK", secret="right", **more):
    with pytest.raises(ClientError) as caught:
        client(door.app, access, secret, **more).describe_regions()
    return caught.value.response["Error"]["Code"]


def signed(body, url=ENDPOINT + "/services/Cloud", method="POST", service="ec2"):
    """Return the headers of a request signed as version 4."""
    request = AWSRequest(method, url, data=body, headers=dict(FORM))
    SigV4Auth(Credentials("AK", "right"), service, "nova").add_auth(request)
    return dict(request.headers)


def error(answer):
    return answer[0], answer[2].decode().partition("<Code>")[2].partition("</Code>")[0]


def version2(secret="right", method="GET", **more):
    """Return the query of a request signed as version 2."""
    params = {**REGIONS, "AWSAccessKeyId": "AK", "SignatureVersion": "2",
              "SignatureMethod": "HmacSHA256", "Timestamp": now().strftime("%Y-%m-%dT%H:%M:%SZ"),
              **more}
    params = {key: value for key, value in params.items() if value is not None}
    params["Signature"] = Ec2Signer(secret).generate({
        "host": "ec2.example:8773", "verb": method, "path": "/services/Cloud",
        "params": dict(params)})
    return params


def get(door, params):
    return ask(door.app, "GET", f"{ENDPOINT}/services/Cloud?{urlencode(params)}")


def test_right_signatures_come_in(door):
    assert client(door.app, "AK", "right").describe_regions()["Regions"]
    assert get(door, version2())[0] == 200
    more = {"Timestamp": None, "Expires": (now() + datetime.timedelta(minutes=5)).isoformat()}
    assert get(door, version2(**more))[0] == 200


def test_security_wrong_secret_and_unknown_key_look_the_same(door):
    """L19: one answer for both, and for a key without a project."""
    assert {code_of(door, secret="wrong"), code_of(door, access="nobody"),
            code_of(door, access="NOPROJECT")} == {"AuthFailure"}
    assert error(get(door, version2(secret="wrong"))) == (401, "AuthFailure")


@pytest.mark.parametrize("minutes", [16, -16])
def test_security_old_and_future_requests_are_refused(door, minutes):
    """E5: more than 15 minutes off, in either direction and version, Keystone is not asked."""
    door.clock.ahead = datetime.timedelta(minutes=minutes)
    assert code_of(door) == "RequestExpired"
    assert error(get(door, version2()))[1] == "RequestExpired"
    assert door.keystone.asked == 0


def test_security_dates_are_needed_and_agree(door):
    """E5, E13: no date, an unsigned one, one that is not the credential's, an Expires for ever."""
    body = urlencode(REGIONS).encode()
    headers = signed(body)
    url = ENDPOINT + "/services/Cloud"
    assert ask(door.app, "POST", url, headers, body)[0] == 200
    for bad in ({**headers, "X-Amz-Date": ""}, {**headers, "X-Amz-Date": "20200101T000000Z"},
                {**headers, "Authorization": headers["Authorization"].replace(
                    ";x-amz-date", "")}):
        assert error(ask(door.app, "POST", url, bad, body))[1] == "IncompleteSignature"
    assert error(get(door, version2(Timestamp=None)))[1] == "IncompleteSignature"
    assert error(get(door, version2(Expires="2030-01-01T00:00:00Z")))[1] == "IncompleteSignature"
    far = version2(Timestamp=None, Expires="2090-01-01T00:00:00Z")
    assert error(get(door, far))[1] == "RequestExpired"


def test_security_what_was_changed_after_signing_is_refused(door):
    """E15, E17: body, path, host, query, doubled parameters, older kinds of signatures."""
    body, url = urlencode(REGIONS).encode(), ENDPOINT + "/services/Cloud"
    headers = signed(body)
    other = body.replace(b"Regions", b"Instances")
    assert error(ask(door.app, "POST", url, headers, other)) == (401, "AuthFailure")
    assert error(ask(door.app, "POST", ENDPOINT + "/", headers, body))[0] == 401
    assert error(ask(door.app, "POST", "http://other:8773/services/Cloud", headers, body))[0] == 401
    assert error(ask(door.app, "POST", url + "?Action=X", headers, body)) \
        == (400, "MalformedQueryString")
    assert error(ask(door.app, "POST", url, headers, body + b"&Action=X")) \
        == (400, "MalformedQueryString")
    assert error(ask(door.app, "POST", url, signed(body, service="s3"), body))[1] \
        == "IncompleteSignature"
    query = version2()
    for change in ({"Action": "DescribeInstances"}, {"More": "1"}):
        assert error(get(door, {**query, **change}))[0] == 401
    for change in ({"SignatureVersion": "1"}, {"SignatureMethod": "HmacSHA1"}):
        assert error(get(door, version2(**change)))[1] == "IncompleteSignature"
    assert error(get(door, REGIONS)) == (403, "MissingAuthenticationToken")


def test_security_keystones_word_is_kept_for_one_request_alone(door):
    """E2, E8: the same request is not asked about twice within the cache's time; any other is."""
    body, url = urlencode(REGIONS).encode(), ENDPOINT + "/services/Cloud"
    headers = signed(body)
    for _ in range(3):
        status, _headers, answer = ask(door.app, "POST", url, headers, body)
        assert status == 200 and b"t0ken" not in answer
    assert door.keystone.asked == 1
    ask(door.app, "POST", url, headers, body.replace(b"Regions", b"Instances"))
    assert door.keystone.asked == 2
    cfg.CONF.set_override("cache_seconds", 0, "ec2")
    try:
        door.keystone.keys.clear()
        fresh = urlencode({**REGIONS, "AllRegions": "true"}).encode()
        assert error(ask(door.app, "POST", url, signed(fresh), fresh))[0] == 401
    finally:
        cfg.CONF.clear_override("cache_seconds", "ec2")


def test_security_q27_strangers_cost_nothing_that_stays(door):
    """Q27: credentials of any length are refused before anybody is asked; nothing is written."""
    def rows():
        with db.reader() as session:
            return {table.name: session.scalar(select(func.count()).select_from(table))
                    for table in Base.metadata.sorted_tables}
    before = rows()
    for more in ({"AWSAccessKeyId": "A" * 5000}, {"AWSAccessKeyId": ""}):
        assert error(get(door, version2(**more)))[1] == "IncompleteSignature"
    long = {**version2(), "Signature": "s" * 5000}
    assert error(get(door, long))[1] == "IncompleteSignature"
    body = urlencode(REGIONS).encode()
    headers = signed(body)
    for old, new in (("Credential=AK", "Credential=" + "A" * 5000), ("Signature=", "Signature=0")):
        bad = {**headers, "Authorization": headers["Authorization"].replace(old, new)}
        assert error(ask(door.app, "POST", ENDPOINT + "/", bad, body))[1] == "IncompleteSignature"
    assert door.keystone.asked == 0
    for _ in range(20):
        assert error(get(door, version2(secret="wrong", AWSAccessKeyId="stranger")))[0] == 401
    assert rows() == before
    assert len(door.judge._kept) == 0


def test_security_e1_no_answer_has_a_secret(door):
    """E1: neither a key's secret nor Keystone's token is in anything that is described."""
    ec2, bodies = client(door.app, "AK", "right"), []
    ec2.meta.events.register("response-received.ec2", lambda response_dict, **_: bodies.append(
        response_dict["body"]))
    for name in sorted(name for name in TABLE if name.startswith("Describe")):
        method = xform_name(name)
        needs = ec2.meta.service_model.operation_model(name).input_shape.required_members
        if not needs:
            getattr(ec2, method)()
    assert len(bodies) > 10
    assert not [body for body in bodies if b"right" in body or b"t0ken" in body]


def test_a_keystone_that_fails_is_no_refusal(door):
    for status in (403, 500):
        door.keystone.status = status
        assert code_of(door) == "Unavailable"


def test_nothing_secret_is_left_for_the_log(door):
    seen = {}
    from ec2_client import environ_of
    environ = environ_of("GET", f"{ENDPOINT}/services/Cloud?{urlencode(version2())}", {}, b"")
    door.app(environ, lambda *args: seen.update(status=args[0]))
    assert environ["QUERY_STRING"] == "Action=DescribeRegions" and seen["status"] == "200 OK"


def test_bug_the_account_is_shared_with_keystonemiddleware(door):
    """Both read [keystone_authtoken]; the second one found options defined twice."""
    from keystonemiddleware import auth_token
    cfg.CONF.import_opt("delay_auth_decision", "keystonemiddleware.auth_token",
                        group="keystone_authtoken")
    assert auth_token.AuthProtocol
    from keystoneauth1 import loading
    loading.register_auth_conf_options(cfg.CONF, "keystone_authtoken")
    cfg.CONF.set_override("auth_type", "none", "keystone_authtoken")
    try:
        assert KeystoneJudge()._connected() is not None
    finally:
        cfg.CONF.clear_override("auth_type", "keystone_authtoken")
