# SPDX-License-Identifier: Apache-2.0
"""s3token: what Keystone says of signatures, and what is made of it."""
import base64
import json
from types import SimpleNamespace

import pytest
from keystoneauth1 import exceptions, session

from swift.common.exceptions import ConfigError
from swift.common.middleware.authbase import JudgeUnavailable, WrongSignature
from swift.common.middleware.keystoneauth import KeystoneAuth
from swift.common.middleware.s3api.app import S3Api
from swift.common.middleware.s3api.signature import SignatureV2
from swift.common.middleware.s3token import S3Token
from swift.common.request import Request

CONF = {"auth_url": "http://127.0.0.1:1", "username": "swift", "password": "x",
        "project_name": "service", "user_domain_id": "default", "project_domain_id": "default"}
SECRET = "a secret"
TOKEN = {"user": {"id": "u1", "name": "ann", "domain": {"id": "default"}},
         "project": {"id": "p1", "name": "proj", "domain": {"id": "default"}},
         "roles": [{"name": "admin"}]}


class FakeSession(session.Session):
    """A Keystone that knows one key."""

    def __init__(self):
        super().__init__()
        self.asked, self.tokens, self.secrets, self.token = [], 200, 200, TOKEN

    def request(self, url, method, **more):
        assert more["authenticated"] and not more["redirect"] and not more["log"]
        self.asked.append((method, url))
        if self.tokens is None:
            raise exceptions.ConnectFailure("http://secret-host")
        if url.endswith("/s3tokens"):
            asked = more["json"]["credentials"]
            text = base64.urlsafe_b64decode(asked["token"])
            made = SignatureV2(asked["access"], asked["signature"], text).made_with(SECRET)
            right = asked["access"] == "key" and made
            return SimpleNamespace(status_code=self.tokens if right else 401,
                                   json=lambda: {"token": self.token})
        return SimpleNamespace(status_code=self.secrets, json=lambda: {
            "credential": {"secret": SECRET}})


def signature(access="key", secret=SECRET, text=b"GET\n"):
    import hmac
    made = base64.b64encode(hmac.new(secret.encode(), text, "sha1").digest()).decode()
    return SignatureV2(access, made, text)


@pytest.fixture
def proxy():
    def app(env, start_response):
        raise AssertionError("nothing is to be asked of the proxy")
    return app


@pytest.fixture
def judge(proxy):
    made = S3Token(KeystoneAuth(proxy, {"operator_roles": "admin"}), dict(CONF))
    made.session = FakeSession()
    return made


def test_who_signed(judge):
    signed = judge.identify_signer(signature())
    assert (signed.account, signed.user, signed.secret) == ("AUTH_p1", "proj:ann", SECRET)
    env = {"REQUEST_METHOD": "PUT", "PATH_INFO": "/v1/AUTH_p1/c/o", **signed.environ}
    assert env["swift.authorize"](Request(env)) is None and env["swift_owner"]
    env["PATH_INFO"] = "/v1/AUTH_p2/c/o"
    assert env["swift.authorize"](Request(env)).status == 403


def test_security_e8_no_token_comes_of_a_signature(judge):
    """E8, E12: what is kept of Keystone's answer is an identity; there is no token to be had."""
    signed = judge.identify_signer(signature())
    assert not [n for n in signed.environ if "TOKEN" in n.upper()]
    assert not any(n.startswith("HTTP_") for n in signed.environ)


def test_a_known_key_is_judged_here_for_a_while(judge, monkeypatch):
    judge.identify_signer(signature())
    count = len(judge.session.asked)
    assert judge.identify_signer(signature(text=b"PUT\n")).user == "proj:ann"
    with pytest.raises(WrongSignature):
        judge.identify_signer(signature(secret="wrong"))
    assert len(judge.session.asked) == count
    judge.kept["key"] = (0, judge.kept["key"][1])          # the while is over
    judge.session.tokens = 401
    assert judge.identify_signer(signature()) is None


def test_nobody(judge):
    assert judge.identify_signer(signature(access="other")) is None
    assert judge.identify_signer(signature(secret="wrong")) is None
    judge.session.token = {**TOKEN, "project": None}
    assert judge.identify_signer(signature()) is None and not judge.kept


def test_without_the_right_to_secrets_every_request_is_asked_about(judge):
    judge.session.secrets = 403
    assert judge.identify_signer(signature()).secret is None
    judge.identify_signer(signature())
    assert [u.rpartition("/")[2] for _, u in judge.session.asked].count("s3tokens") == 2


@pytest.mark.parametrize("status", [None, 403, 500, 503])
def test_a_keystone_that_does_not_say(judge, status, caplog):
    judge.session.tokens = status
    with pytest.raises(JudgeUnavailable):
        judge.identify_signer(signature())
    assert "secret-host" not in caplog.text


def test_names_of_other_domains_are_ids(judge):
    """S16: owners and grantees of other domains are known by ids only."""
    judge.session.token = json.loads(json.dumps(TOKEN).replace("default", "other"))
    assert judge.identify_signer(signature()).user == "p1:u1"


@pytest.mark.parametrize(("value", "verify"), [
    ("False", True), ("false", True), ("0", True), ("no", True), ("", True), ("True", False),
    ("yes", False), ("1", False)])
def test_security_c5_insecure_is_a_boolean(proxy, value, verify):
    """C5: "False" is false: certificates are checked unless it says true."""
    made = S3Token(KeystoneAuth(proxy, {}), {**CONF, "insecure": value})
    assert made.session.verify is verify


@pytest.mark.parametrize("value", ["maybe", "2", "none"])
def test_security_c5_unknown_text_is_an_error(proxy, value):
    """C5: what is neither true nor false is refused."""
    with pytest.raises(ConfigError, match="insecure"):
        S3Token(KeystoneAuth(proxy, {}), {**CONF, "insecure": value})


@pytest.mark.parametrize("conf, asked, logs_in_at", [
    ({}, "http://127.0.0.1:1/v3", "http://127.0.0.1:1"),
    ({"auth_uri": "http://127.0.0.1:2/v3/"}, "http://127.0.0.1:2/v3", "http://127.0.0.1:1"),
    ({"auth_uri": "http://127.0.0.1:2", "auth_url": ""}, "http://127.0.0.1:2/v3",
     "http://127.0.0.1:2")])
def test_where_keystone_is_asked_and_where_the_account_logs_in(proxy, conf, asked, logs_in_at):
    made = S3Token(KeystoneAuth(proxy, {"operator_roles": "admin"}), {**CONF, **conf})
    assert made.session.auth.auth_url == logs_in_at
    made.session = FakeSession()
    made.identify_signer(signature())
    assert made.session.asked[0] == ("POST", asked + "/s3tokens")


@pytest.mark.parametrize("conf, cert", [
    ({}, None), ({"certfile": "c"}, "c"), ({"certfile": "c", "keyfile": "k"}, ("c", "k"))])
def test_keystone_may_want_a_certificate_of_its_clients(proxy, conf, cert):
    assert S3Token(KeystoneAuth(proxy, {}), {**CONF, **conf}).session.cert == cert


def test_pipelines_that_cannot_work(proxy, judge):
    with pytest.raises(ConfigError, match="keystoneauth"):
        S3Token(proxy, dict(CONF))
    with pytest.raises(ConfigError, match="auth_url"):
        S3Token(KeystoneAuth(proxy, {}), {})
    with pytest.raises(ConfigError, match="certfile"):
        S3Token(KeystoneAuth(proxy, {}), {**CONF, "keyfile": "k"})
    with pytest.raises(ConfigError, match="s3api needs"):
        S3Api(proxy, {})
    with pytest.raises(ConfigError, match="s3api needs"):
        S3Api(KeystoneAuth(proxy, {}), {})
    assert S3Api(judge, {}).below is proxy

    class Between:
        def __init__(self, app):
            self.app = app
    with pytest.raises(ConfigError, match="Between must not stand"):
        S3Api(Between(judge), {})
