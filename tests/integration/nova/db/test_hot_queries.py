# SPDX-License-Identifier: Apache-2.0
"""What is asked often is found by an index, on both kinds of servers, however much there is."""

import contextlib

import pytest
import webob
from benchlib import scale
from sqlalchemy import event, insert, text

from nova import db
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.compute.app import make_app
from nova.compute.states import TaskState
from nova.config import CONF
from nova.db import actions, hosts, instances, ports
from nova.db import session as db_session
from nova.db.models import InstanceAction, InstanceFault, utcnow
from nova.network import vifs

INSTANCES, HOSTS = 4000, 50
LARGE = ("instances", "ports", "fixed_ips", "port_security_groups", "instance_actions",
         "instance_faults")


@pytest.fixture(params=["mysql", "postgresql"], scope="module")
def filled(request):
    """A database with thousands of instances."""
    from stacklib import backing
    backing.ensure({"mysql": "mariadb"}.get(request.param, request.param))
    server = backing.MYSQL_URL if request.param == "mysql" else backing.POSTGRESQL_URL
    with scale.database(server):
        hosts = scale.fill_hosts(HOSTS)
        network, groups = scale.fill_network()
        scale.fill_instances(0, INSTANCES, hosts, network, groups)
        fill_logs()
        yield request.param
    db_session._database = None


def fill_logs():
    """Every fourth instance has a long log, and failed now and then."""
    ids = [row.id for row in instances.get_all(limit=INSTANCES // 4)]
    with db_session.writer() as session:
        session.execute(insert(InstanceAction), [
            {"instance_id": one, "project_id": "project1", "action": "reboot",
             "request_id": f"req-{one}", "started_at": utcnow()} for one in ids for _ in range(5)])
        session.execute(insert(InstanceFault), [
            {"instance_id": one, "code": 500, "message": "it failed", "created_at": utcnow()}
            for one in ids for _ in range(2)])
    with db.engine().connect() as connection:
        for name in ("instance_actions", "instance_faults"):
            connection.execute(text(f"ANALYZE {name}" if db.engine().dialect.name == "postgresql"
                                    else f"ANALYZE TABLE {name}"))
        connection.commit()


@pytest.fixture(autouse=True)
def configured():
    """Rules of who may what are looked for in a file that the configuration may name."""
    CONF([], project="nova", default_config_files=[], default_config_dirs=[])


@contextlib.contextmanager
def watched():
    """Collect every SELECT, with its values."""
    found = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.lstrip().upper().startswith("SELECT"):
            found.append((statement, parameters))
    event.listen(db.engine(), "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(db.engine(), "before_cursor_execute", note)


def scans(kind, statement, parameters):
    """Return the large tables a statement cannot but read from end to end.

    PostgreSQL is told to avoid that: it reads a small table as a whole although it need not.
    """
    with db.engine().connect() as connection:
        if kind == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
    if kind == "mysql":
        return [row["table"] for row in plan if row["type"] == "ALL" and row["table"] in LARGE]
    lines = [row["QUERY PLAN"] for row in plan]
    return [table for table in LARGE for line in lines if f"Seq Scan on {table}" in line]


def some_ids(count):
    return [row.id for row in instances.get_all({"project_id": "project1"}, limit=count)]


def page(query, token="admin:admin"):
    def ask():
        request = webob.Request.blank(f"/v2.1/servers/detail?{query}",
                                      headers={"X-Auth-Token": token})
        answer = request.get_response(NoAuth(make_app()))
        assert answer.status_int == 200 and answer.json["servers"], answer.text
    return ask


def deep_page():
    page(f"all_tenants=1&limit=20&marker={some_ids(20)[-1]}")()


HOT = {
    "a page of all": page("all_tenants=1&limit=20"),
    "a page further down": deep_page,
    "a page of a project": page("limit=20", "user:project1"),
    "a project's page by state": page("limit=20&status=ACTIVE", "user:project1"),
    "one server": lambda: instances.get(some_ids(1)[0]),
    "many servers": lambda: instances.get_many(some_ids(20)),
    "what is on a host": lambda: instances.ids_on_host("host0001"),
    "usage of all hosts": instances.usage_by_host,
    "what all hosts offer": lambda: hosts.offers(60),
    "usage of a host": lambda: instances.usage_of_host("host0001"),
    "usage of a project": lambda: instances.usage_of_project("project1"),
    "what is overdue": lambda: instances.overdue([TaskState.SCHEDULING]),
    "what is overdue on a host": lambda: instances.overdue([TaskState.SPAWNING], host="host0001"),
    "what waits for a host": lambda: instances.get_all({"task_state": "scheduling"}, limit=100),
    "instances by state": instances.count_states,
    "faults": lambda: instances.latest_faults(some_ids(20)),
    "interfaces": lambda: vifs.of_instances(some_ids(20)),
    "ports of a host": lambda: ports.hosts_of(some_ids(20)),
    "who asks for metadata": lambda: ports.instances_at("10.0.0.77"),
    "the log of a server": lambda: actions.of_instance(some_ids(1)[0]),
}


@pytest.mark.parametrize("name", list(HOT))
def test_hot_queries_read_no_large_table_from_end_to_end(filled, name):
    with watched() as asked:
        HOT[name]()
    assert asked
    found = {table: statement for statement, parameters in asked
             for table in scans(filled, statement, parameters)}
    assert not found
