# SPDX-License-Identifier: Apache-2.0
"""Health and metrics: what is said when all is well, when something is not, and to whom."""

import configparser
import threading
from pathlib import Path

import pytest
import webob
from prometheus_client import generate_latest
from prometheus_client.core import REGISTRY
from volume_rows import add_volume

from nova import metrics, monitoring, rpc, service
from nova.api.openstack import wsgi
from nova.api.openstack.faults import compute_fault
from nova.api.openstack.request_log import RequestLog
from nova.db import instances
from nova.db import session as db_session
from nova.db.models import Instance
from nova.exception import NoValidHost
from nova.rpc import broker as broker_module
from nova.scheduler.manager import SchedulerManager


def ask(app, path, method="GET"):
    return webob.Request.blank(path, method=method).get_response(app)


def sample(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_each_check_has_a_line_and_one_that_fails_makes_503():
    wrong = []
    health = monitoring.Health({"one": lambda: None, "two": lambda: wrong and wrong[0] or None})
    app = monitoring.application(health)
    answer = ask(app, "/healthz")
    assert (answer.status_int, answer.text) == (200, "one: ok\ntwo: ok\n")
    wrong.append("it hurts")
    assert ask(app, "/healthz").status_int == 200      # asked a moment ago
    health._known = None
    answer = ask(app, "/healthz")
    assert (answer.status_int, answer.text) == (503, "one: ok\ntwo: it hurts\n")


def test_a_check_that_hangs_is_an_answer_too(monkeypatch):
    monkeypatch.setattr(monitoring, "CHECK_TIMEOUT", 0.05)
    never = threading.Event()
    health = monitoring.Health({"stuck": lambda: never.wait(60)})
    assert health.ask() == (False, "stuck: no answer in 0.05 seconds\n")
    never.set()


def test_many_who_ask_are_one_question():
    """Nobody says who he is, so asking must not cost the database anything each time."""
    asked = []
    health = monitoring.Health({"database": lambda: asked.append(1)})
    app = monitoring.application(health)
    for _ in range(50):
        assert ask(app, "/healthz").status_int == 200
    assert len(asked) == 1


def test_an_api_is_well_while_its_database_answers(nova_db, monkeypatch):
    app = monitoring.HealthFilter.factory({})(webob.Response("the api"))
    assert ask(app, "/healthz").text == "database: ok\n"
    assert ask(app, "/v2.1").text == "the api"
    assert ask(app, "/healthz", "POST").text == "the api"
    app._health._known = None
    def broken():
        raise OSError("with a secret in it")

    with monkeypatch.context() as patched:
        patched.setattr(db_session, "database", broken)
        answer = ask(app, "/healthz")
    assert answer.status_int == 503
    assert answer.text == "database: the database cannot be used (OSError)\n"


def test_every_api_answers_for_its_health():
    paste = configparser.ConfigParser(interpolation=None)
    paste.read(Path(monitoring.__file__).parents[1] / "etc/nova/api-paste.ini")
    pipelines = [paste[name]["pipeline"] for name in paste.sections()
                 if name.startswith("pipeline:")]
    assert len(pipelines) >= 9
    assert all(one.startswith("health ") for one in pipelines)


def test_nothing_else_is_served():
    app = monitoring.application(monitoring.Health({}))
    assert ask(app, "/").status_int == 404
    assert ask(app, "/metrics", "POST").status_int == 405
    assert ask(app, "/metrics").content_type == "text/plain"


@pytest.fixture
def memory(monkeypatch):
    made = rpc.configure("memory://")
    yield
    made.close()
    monkeypatch.setattr(broker_module, "_broker", None)


class Manager:
    def echo(self, context, text):
        if text == "no":
            raise NoValidHost(reason="none")
        return text


TABLE = rpc.MethodTable("unit", [rpc.Method("echo", ("text",))])


def test_a_worker_is_well_while_its_heartbeats_are_written(nova_db, memory, monkeypatch):
    worker = service.Worker("nova-unit", TABLE, Manager(), host="h")
    assert worker.unwell() == "no heartbeat yet"
    worker.start()
    assert worker.heartbeat()
    served = monitoring.MonitoringService([worker])
    assert served.health.ask() == (True, "nova-unit: ok\n")
    monkeypatch.setattr(worker, "_last_beat", worker._last_beat - 1000)
    assert worker.unwell().startswith("no heartbeat for 1")
    worker.stop(1)


def test_messages_are_counted_by_method_and_outcome(nova_db, memory, caplog):
    worker = service.Worker("nova-unit", TABLE, Manager(), host="h")
    worker.start()
    context = rpc.RequestContext(request_id="req-11111111-2222-3333-4444-555555555555")
    before = sample("nova_rpc_handled_seconds_count", topic="unit", method="echo", outcome="ok")
    with caplog.at_level("INFO", "nova.rpc.server"):
        rpc.call(context, TABLE, "echo", host="h", text="yes")
        with pytest.raises(NoValidHost):
            rpc.call(context, TABLE, "echo", host="h", text="no")
    worker.stop(5)
    assert sample("nova_rpc_handled_seconds_count", topic="unit", method="echo",
                  outcome="ok") == before + 1
    assert sample("nova_rpc_sent_total", topic="unit", method="echo", kind="call",
                  outcome="NoValidHost") >= 1
    lines = [line for line in caplog.messages if " rpc unit.echo " in line]
    assert len(lines) == 2 and all(line.startswith(context.request_id) for line in lines)
    assert 'nova_rpc_last_message_age_seconds{topic="unit"}' in generate_latest(REGISTRY).decode()


class Things(wsgi.Resource):
    @wsgi.route("GET", "/things/{thing_id}", public=True)
    def show(self, req, thing_id):
        return {"id": thing_id}


def test_requests_are_counted_by_route_and_never_by_path():
    """Else anybody could fill the table with paths of his own."""
    app = RequestLog(wsgi.Application([Things()], write_fault=compute_fault, prefixes=("/v2.1",)),
                     "unit")
    ask(app, "/v2.1/things/1")
    ask(app, "/v2.1/things/2")
    for number in range(5):
        ask(app, f"/v2.1/nothing{number}", f"METHOD{number}")
    text = generate_latest(REGISTRY).decode()
    lines = [line for line in text.splitlines()
             if line.startswith("nova_api_request_seconds_count") and 'api="unit"' in line]
    assert lines == [
        'nova_api_request_seconds_count{api="unit",method="GET",route="/things/{thing_id}",'
        'status="200"} 2.0',
        'nova_api_request_seconds_count{api="unit",method="OTHER",route="",status="401"} 5.0']


def test_instances_and_volumes_are_counted_by_state_when_asked(nova_db):
    monitoring.count_states()
    monitoring.count_states()
    assert instances.count_states() == {}
    add_volume()
    text = generate_latest(REGISTRY).decode()
    assert "nova_instances" in text and 'nova_volumes{status="available"} 1.0' in text


def test_refusals_are_counted_by_filter(nova_db, memory, monkeypatch):
    before = sample("nova_scheduler_refused_hosts_total", filter="Ram")
    manager = SchedulerManager("h")
    row = Instance(id="none", project_id="p", build_request={})
    manager._fail(rpc.RequestContext(), row, NoValidHost(reason="x", refusals={"Ram": 3}))
    assert sample("nova_scheduler_refused_hosts_total", filter="Ram") == before + 3


def test_every_metric_begins_with_our_name():
    named = [value for value in vars(metrics).values() if hasattr(value, "_name")]
    assert len(named) >= 7
    assert all(one._name.startswith("nova_") and one._documentation for one in named)
