# SPDX-License-Identifier: Apache-2.0
"""What a proxy gets although its configuration does not name it."""
import logging

import pytest

from swift.common.app_conf import load_context
from swift.common.pipeline import complete, names_of

WHOLE = "catch_errors gatekeeper listing_formats copy dlo versioned_writes"
LOGGER = logging.getLogger("test-pipeline")


def foreign_filter(global_conf, **conf):
    """An auth filter that only others know."""
    return lambda app: app


def completed(tmp_path, pipeline, app="proxy"):
    """``[name, ...]`` of a pipeline, and its context."""
    names = [name for name in pipeline.split() if name != "foreign"]
    text = f"[DEFAULT]\nhere_too = yes\n[pipeline:main]\npipeline = {pipeline} server\n" \
        f"[app:server]\nuse = egg:swift#{app}\n" \
        f"[filter:foreign]\nuse = call:{__name__}:foreign_filter\n"
    for name in dict.fromkeys(names):
        text += f"[filter:{name}]\nuse = egg:swift#{name}\n"
    (tmp_path / "server.conf").write_text(text)
    context = complete(load_context(str(tmp_path / "server.conf")), LOGGER)
    return names_of(context.filter_contexts), context


@pytest.mark.parametrize("given, becomes", [
    ("", WHOLE),
    (WHOLE, WHOLE),
    # As the sample was in 2012 and in 2016.
    ("catch_errors healthcheck cache ratelimit tempauth proxy-logging",
     "catch_errors gatekeeper healthcheck cache ratelimit tempauth proxy_logging listing_formats "
     "copy dlo versioned_writes"),
    ("catch_errors gatekeeper healthcheck proxy-logging cache tempurl tempauth "
     "container-quotas slo dlo versioned_writes proxy-logging",
     "catch_errors gatekeeper healthcheck proxy_logging cache listing_formats tempurl tempauth "
     "copy container_quotas slo dlo versioned_writes the second proxy_logging"),
    ("healthcheck memcache foreign slo symlink",
     f"catch_errors gatekeeper healthcheck cache listing_formats {__name__} copy slo dlo "
     "versioned_writes symlink"),
    ("healthcheck s3api foreign proxy-logging encryption proxy-logging",
     f"catch_errors gatekeeper healthcheck s3api {__name__} proxy_logging listing_formats copy dlo "
     "versioned_writes encryption the second proxy_logging")])
def test_a_proxy_has_what_it_needs(tmp_path, given, becomes, caplog):
    caplog.set_level("INFO")
    names, _ = completed(tmp_path, given)
    assert names == becomes.split() if "second" not in becomes else " ".join(names) == becomes
    assert len(caplog.messages) == len(names) - len(given.split())


def test_what_is_put_in_knows_the_defaults_of_the_file(tmp_path):
    _, context = completed(tmp_path, "tempauth")
    assert {c.global_conf["here_too"] for c in context.filter_contexts} == {"yes"}


@pytest.mark.parametrize("app", ["account", "container", "object"])
def test_a_storage_server_is_left_alone(tmp_path, app):
    assert completed(tmp_path, "healthcheck recon", app)[0] == ["healthcheck", "recon"]


def test_security_a_proxy_without_gatekeeper_in_its_file_takes_no_inner_headers(
        tmp_path, monkeypatch):
    seen = {}

    def server(global_conf, **conf):
        def app(env, start_response):
            seen.update(env)
            start_response("200 OK", [("X-Container-Sysmeta-A", "b")])
            return [b""]
        return app
    _, context = completed(tmp_path, "")
    context.app_context.object = server
    shown = []
    list(context.create()(
        {"PATH_INFO": "/v1/a/c", "REQUEST_METHOD": "GET", "QUERY_STRING": "", "SCRIPT_NAME": "",
         "HTTP_X_CONTAINER_SYSMETA_A": "b", "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES": "true"},
        lambda status, headers, exc_info=None: shown.extend(headers)))
    assert not {"HTTP_X_CONTAINER_SYSMETA_A", "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"} & seen.keys()
    assert "X-Container-Sysmeta-A" not in dict(shown)
