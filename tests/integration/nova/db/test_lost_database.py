# SPDX-License-Identifier: Apache-2.0
"""P5: connections die, deadlocks happen; what was asked for is done all the same."""

import contextlib
import threading
import time

import pytest
from sqlalchemy import exc, select, text, update

from nova import db
from nova.db import migrations, services
from nova.db import session as db_session
from nova.db.models import Service
from nova.exception import DatabaseUnavailable

SERVERS = ["mysql", "postgresql"]


@pytest.fixture(params=SERVERS)
def server_db(request, monkeypatch):
    """A migrated database on a real server."""
    url = request.getfixturevalue(f"{request.param}_url")
    db.configure(url)
    migrations.upgrade()
    yield url
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)


def kill_all_connections():
    """End every connection of ours to the database but the one that does it."""
    with db.engine().connect() as connection:
        if db.engine().dialect.name == "postgresql":
            connection.execute(text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"))
        else:
            for (number,) in connection.execute(text(
                    "SELECT id FROM information_schema.processlist "
                    "WHERE db = DATABASE() AND id <> CONNECTION_ID()")).all():
                # Its client may have closed it since it was listed.
                with contextlib.suppress(exc.OperationalError):
                    connection.execute(text(f"KILL {number}"))


def test_killed_connections_are_replaced(server_db):
    first = services.register("h", "b", "t")
    for _ in range(3):
        kill_all_connections()
        assert services.beat(first.id)
    assert services.get(first.id).last_seen_up is not None


def test_connections_killed_under_load_lose_nothing(server_db):
    errors, done = [], []
    stop = threading.Event()

    def work(number):
        count = 0
        while not stop.is_set():
            try:
                services.register(f"h{number}-{count}", "b", "t")
                done.append(f"h{number}-{count}")
                count += 1
            except Exception as error:      # none is expected
                errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            time.sleep(0.2)
            kill_all_connections()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert errors == []
    assert sorted(row.host for row in services.get_all()) == sorted(done)


def test_connection_comes_back_to_the_pool_without_its_transaction(server_db):
    """Whatever its borrower did not end is rolled back, also where that is not always asked for."""
    row = services.register("h", "b", "t")
    borrowed = db.engine().raw_connection()
    with contextlib.closing(borrowed.cursor()) as cursor:
        cursor.execute("UPDATE services SET availability_zone = 'lost'")
    borrowed.close()
    assert services.beat(row.id)        # nobody holds its lock any more
    assert services.get(row.id).availability_zone == "nova"


def test_deadlocks_are_tried_again(server_db):
    """Two transactions that lock two rows in opposite order both end well."""
    ids = [services.register(host, "b", "t").id for host in ("a", "b")]
    barrier = threading.Barrier(2)
    attempts = []

    @db.retry
    def both(order):
        attempts.append(order)
        with db.writer() as session:
            for position, row_id in enumerate(order):
                session.execute(update(Service).where(Service.id == row_id).values(
                    availability_zone=str(len(attempts))))
                if position == 0 and len(attempts) <= 2:
                    barrier.wait(20)

    threads = [threading.Thread(target=both, args=(order,)) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert len(attempts) >= 3       # one was the victim and came again
    assert all(row.availability_zone != "nova" for row in services.get_all())


def test_lock_held_too_long_is_not_waited_for_for_ever(server_db, monkeypatch):
    """A lock somebody keeps ends in DatabaseUnavailable, not in a hang."""
    row = services.register("h", "b", "t")
    for name, value in (("lock_timeout", 1), ("max_retries", 1)):
        db_session.CONF.set_override(name, value, "database")
    db.configure(server_db)
    try:
        with db_session.Database(server_db).writers.begin() as other:
            other.scalars(select(Service).where(Service.id == row.id).with_for_update()).one()
            with pytest.raises(DatabaseUnavailable):
                services.beat(row.id)
    finally:
        for name in ("lock_timeout", "max_retries"):
            db_session.CONF.clear_override(name, "database")


def test_server_that_is_away_is_an_error_after_the_time_given(free_port, monkeypatch):
    db_session.CONF.set_override("reconnect_timeout", 1, "database")
    try:
        for scheme in ("mysql+pymysql", "postgresql+psycopg2"):
            db.configure(f"{scheme}://u:s3cret-pw@127.0.0.1:{free_port()}/d")
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailable) as caught:
                services.get_all()
            assert time.monotonic() - started > 0.5
            assert "s3cret" not in str(caught.value)
    finally:
        db_session.CONF.clear_override("reconnect_timeout", "database")
        monkeypatch.setattr(db_session, "_database", None)


def lost_connection(dialect):
    """Return the driver's own error for an answer that never came."""
    if dialect.name == "sqlite":
        import sqlite3
        error = sqlite3.OperationalError("locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        return error
    if dialect.name == "postgresql":
        import psycopg2
        return psycopg2.OperationalError("server closed the connection unexpectedly")
    import pymysql
    return pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")


@pytest.fixture
def lost_answer(monkeypatch):
    """Make the next commit be done and its answer get lost, once, as a cut wire does."""
    def arm():
        dialect = db.engine().dialect
        original = type(dialect).do_commit
        armed = [1]

        def commit(connection):
            original(dialect, connection)
            if armed:
                armed.clear()
                raise lost_connection(dialect)

        monkeypatch.setattr(dialect, "do_commit", commit)

    return arm


def test_bug_transition_took_its_own_lost_commit_for_somebody_elses(any_db, lost_answer):
    """A second try after a commit whose answer got lost found the row moved, and gave it up."""
    from nova import quota
    from nova.compute.states import TaskState, VmState
    from nova.db import actions, compute_nodes, instances, quotas
    from nova.db.models import Instance, InstanceAction, new_id

    quotas.set_limits("p", {"instances": 1})
    compute_nodes.report("h", hypervisor_hostname="h", hypervisor_type="fake", vcpus=1,
                         memory_mb=512, local_gb=1, cpu_allocation_ratio=1.0,
                         ram_allocation_ratio=1.0)
    row = Instance(
        id=new_id(), project_id="p", user_id="u", display_name="n", hostname="n",
        reservation_id="r", vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING,
        desired_state="active", flavor_id="1", flavor_name="f", vcpus=1, memory_mb=512, root_gb=1)
    lost_answer()
    [made] = instances.create([row], guard=quota.guard("p", {"instances": 1}),
                              actions=[InstanceAction(instance_id=row.id, project_id="p",
                                                      action="create")])
    assert made.id == row.id
    lost_answer()
    assert instances.claim(row.id, "h").host == "h"
    lost_answer()
    moved = instances.transition(row.id, from_task=TaskState.NETWORKING,
                                 task_state=TaskState.SPAWNING)
    assert moved.task_state == TaskState.SPAWNING
    lost_answer()
    log = InstanceAction(instance_id=row.id, project_id="p", action="delete")
    assert instances.begin_task(row.id, TaskState.DELETING, log=log).task_state == "deleting"
    assert [action.action for action in actions.of_instance(row.id)] == ["delete", "create"]
    lost_answer()
    assert not instances.delete_row(row.id)     # gone, which is all that was wanted
    assert instances.get_all() == []


def test_bug_creates_took_their_own_lost_commit_for_somebody_elses(any_db, lost_answer):
    """Nor does the second try count what the first has made: each is its project's last one."""
    from nova import quota
    from nova.db import flavors, floating_ips, keypairs, networks, ports, quotas, security_groups

    quotas.set_limits("p", dict.fromkeys(
        ("networks", "ports", "floating_ips", "security_groups"), 1)
        | {"security_group_rules": 3})

    def guard(resource):
        return quota.guard("p", {resource: 1})

    subnet = {"cidr": "10.0.0.0/24", "gateway": "10.0.0.1", "subnet_id": "s"}
    common = {"project_id": "p", "name": "n"}
    lost_answer()
    network = networks.create(common, guard=guard("networks"))
    lost_answer()
    assert networks.add_subnet(network.id, subnet).cidr == "10.0.0.0/24"
    lost_answer()
    port = ports.create({"network_id": network.id, "project_id": "p"}, guard=guard("ports"))
    assert len(ports.get(port.id).addresses) == 1
    lost_answer()
    group = security_groups.create("p", "web", guard=guard("security_groups")).group
    lost_answer()
    rule = {"project_id": "p", "direction": "ingress", "ethertype": "IPv4"}
    [made] = security_groups.add_rules(group.id, [rule], guard=guard("security_group_rules"))
    assert made.id in {one.id for one in security_groups.get(group.id).rules}
    public = networks.create({"project_id": "q", "name": "public", "external": True})
    lost_answer()
    assert floating_ips.add(public.id, ["192.0.2.1", "192.0.2.2"]) == 2
    lost_answer()
    taken = floating_ips.allocate(public.id, "p", guard=guard("floating_ips"))
    assert [one.id for one in floating_ips.find("p")] == [taken.id]
    lost_answer()
    assert keypairs.create("u", "k", "aa", "ssh-rsa AAAA").name == "k"
    lost_answer()
    flavors.create({"flavorid": "1", "name": "tiny", "vcpus": 1, "memory_mb": 64,
                    "is_public": False})
    lost_answer()
    flavors.add_access("1", "p")
    assert flavors.access_of("1") == ["p"]
