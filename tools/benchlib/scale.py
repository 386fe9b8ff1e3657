# SPDX-License-Identifier: Apache-2.0
"""tools/bench scale: what a boot and a page of servers cost in a cloud of 500 hosts.

A database on a real server is filled with pretended hosts and instances, first a few, then ten
times as many, and the real scheduler and the real Compute API work on it in this process: nothing
runs that could hide what they cost. CPU is this process's; what the database server uses meanwhile
is in the wall time beside it.
"""
import contextlib
import datetime
import json
import secrets
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy
from stacklib import backing

HOSTS = 500
FEW, MANY = 1_000, 10_000
PROJECTS = 50
BOOTS, PAGES, PAGE = 40, 30, 100
BATCH = 1_000
MARK = "bench"
DEPTH_MARKER = 5  # pages into the list of everything


@contextlib.contextmanager
def database(server: str) -> Iterator[str]:
    """URL of a database of nova on a server, at this release's schema; dropped at the end."""
    from nova import db
    from nova.db import migrations
    name = f"snakestack_scale_{secrets.token_hex(4)}"
    postgresql = server.startswith("postgresql")
    engine = sqlalchemy.create_engine(server + ("postgres" if postgresql else ""),
                                      isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    try:
        db.configure(f"{server}{name}")
        migrations.upgrade()
        yield f"{server}{name}"
        db.engine().dispose()
    finally:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(
                f"DROP DATABASE {name}" + (" WITH (FORCE)" if postgresql else "")))
        engine.dispose()


def fill_hosts(count: int) -> list[str]:
    """Hosts that are up, with room for what follows."""
    from nova.db.models import ComputeNode, Service, utcnow
    from nova.db.session import writer
    names = [f"host{number:04d}" for number in range(count)]
    with writer() as session:
        session.add_all(Service(host=name, binary="nova-compute", topic="compute",
                                last_seen_up=utcnow() + datetime.timedelta(hours=1))
                        for name in names)
        session.add_all(ComputeNode(
            host=name, hypervisor_hostname=f"{name}.example", hypervisor_type="QEMU",
            host_ip="10.0.0.1", vcpus=64, memory_mb=262144, local_gb=4000,
            cpu_info={"arch": "x86_64", "features": ["sse"] * 40}, stats={"boot_id": name})
            for name in names)
    return names


def fill_network() -> tuple[str, list[str]]:
    """A network without addresses of its own yet, and a group for each project."""
    from nova.db.models import Network, SecurityGroup, new_id
    from nova.db.session import writer
    network, groups = new_id(), [new_id() for _ in range(PROJECTS)]
    with writer() as session:
        session.add(Network(id=network, name="flat", cidr="10.0.0.0/8", gateway="10.0.0.1",
                            bridge="br100"))
        session.add_all(SecurityGroup(id=group, project_id=f"project{number}", name="default")
                        for number, group in enumerate(groups))
    return network, groups


def fill_instances(first: int, last: int, hosts: list[str], network: str,
                   groups: list[str]) -> None:
    """Instances number `first` to `last`, ACTIVE, each with a port, an address and a group."""
    for start in range(first, last, BATCH):
        _fill(range(start, min(start + BATCH, last)), hosts, network, groups)
    from nova import db
    names = ("instances", "ports", "fixed_ips", "port_security_groups")
    with db.engine().connect() as connection:
        for name in names:      # the planner shall know what is there, as it would after a while
            connection.execute(sqlalchemy.text(
                f"ANALYZE {name}" if db.engine().dialect.name == "postgresql"
                else f"ANALYZE TABLE {name}"))
        connection.commit()


def _fill(numbers: range, hosts: list[str], network: str, groups: list[str]) -> None:
    from nova.db.models import FixedIp, Instance, Port, PortSecurityGroup, utcnow
    from nova.db.session import writer
    rows = [instance(number, host=hosts[number % len(hosts)], vm_state="active", task_state=None,
                     launched_at=utcnow()) for number in numbers]
    ports = [{"id": str(uuid.uuid4()), "network_id": network, "project_id": row["project_id"],
              "name": "", "mac": ":".join(["fa", "16", *(f"{byte:02x}" for byte in
                                                        number.to_bytes(4, "big"))]),
              "device_id": row["id"], "device_owner": "compute:nova", "device_index": 0,
              "host": row["host"], "status": "ACTIVE", "admin_state_up": True,
              "owned_by_instance": True, "created_at": row["created_at"]}
             for number, row in zip(numbers, rows, strict=True)]
    with writer() as session:
        session.execute(sqlalchemy.insert(Instance), rows)
        session.execute(sqlalchemy.insert(Port), ports)
        session.execute(sqlalchemy.insert(FixedIp), [
            {"network_id": network, "port_id": port["id"], "reserved": False, "leased": True,
             "address": ".".join(map(str, (10, *number.to_bytes(3, "big"))))}
            for number, port in zip(numbers, ports, strict=True)])
        session.execute(sqlalchemy.insert(PortSecurityGroup), [
            {"port_id": port["id"], "group_id": groups[number % PROJECTS]}
            for number, port in zip(numbers, ports, strict=True)])


def instance(number: int, **values: Any) -> dict[str, Any]:
    """The columns of one instance."""
    from nova.db.models import utcnow
    name = f"{MARK}-{number}"
    return {
        "id": str(uuid.uuid4()), "project_id": f"project{number % PROJECTS}", "user_id": "user",
        "display_name": name, "hostname": name, "reservation_id": f"r-{number:08d}",
        "desired_state": "active", "flavor_id": "1", "flavor_name": "m1.tiny", "vcpus": 1,
        "memory_mb": 512, "root_gb": 1, "ephemeral_gb": 0, "swap_mb": 0,
        "image_id": str(uuid.uuid4()), "flavor_extra_specs": {}, "metadata_": {"role": "web"},
        "build_request": {"networks": None, "security_group_names": ["default"],
                          "image_properties": {"os_distro": "debian"}, "refusals": []},
        "created_at": utcnow() - datetime.timedelta(seconds=100_000 - number), **values}


class _Nobody:
    """A broker that takes every message and delivers none."""

    def cast(self, *_args: Any, **_more: Any) -> None:
        """Gone."""


def measure(work: Callable[[], None], times: int) -> tuple[float, float]:
    """(CPU, wall) in milliseconds, the median of `times`; the first, which warms up, is not in."""
    work()
    cpu, wall = [], []
    for _ in range(times):
        cpu_before, wall_before = time.process_time(), time.monotonic()
        work()
        cpu.append(time.process_time() - cpu_before)
        wall.append(time.monotonic() - wall_before)
    return statistics.median(cpu) * 1000, statistics.median(wall) * 1000


def schedule_one(manager: Any, number: int) -> Callable[[], None]:
    """Place one new instance, from its row to its claim."""
    from nova.context import admin_context
    from nova.db import instances
    from nova.db.models import Instance
    count = iter(range(number, number + 100_000))
    waiting = [instances.create([Instance(**instance(
        next(count), vm_state="building", task_state="scheduling"))])[0].id
        for _ in range(BOOTS + 1)]

    def work() -> None:
        instance_id = waiting.pop()
        manager.schedule_instances(admin_context(), [instance_id])
        placed = instances.get(instance_id)
        if placed.host is None:
            raise RuntimeError(f"{instance_id} found no host")
    return work


def list_page(app: Any, path: str, token: str) -> Callable[[], None]:
    """One page of a list of servers, through the whole Compute API."""
    import webob

    def work() -> None:
        request = webob.Request.blank(path, headers={"X-Auth-Token": token})
        answer = request.get_response(app)
        found = json.loads(answer.body)
        if answer.status_int != 200 or not found["servers"]:
            raise RuntimeError(f"{path}: {answer.status} {answer.text[:300]}")
    return work


def marker(app: Any) -> str:
    """The id of a server some pages into the list of all."""
    import webob
    found = ""
    for _ in range(DEPTH_MARKER):
        path = f"/v2.1/servers?all_tenants=1&limit={PAGE}" + (f"&marker={found}" if found else "")
        answer = webob.Request.blank(
            path, headers={"X-Auth-Token": "admin:admin"}).get_response(app)
        found = json.loads(answer.body)["servers"][-1]["id"]
    return found


def figures(number: int) -> dict[str, tuple[float, float]]:
    """(CPU, wall) in ms of each thing there is to do, with `number` instances there."""
    from nova.api.openstack.auth import NoAuth
    from nova.api.openstack.compute.app import make_app
    from nova.scheduler.manager import SchedulerManager
    manager = SchedulerManager("bench", compute=_Nobody(), network=_Nobody(), volume=_Nobody())
    app = NoAuth(make_app())
    pages = {
        f"GET /servers/detail, {PAGE} of all": f"/v2.1/servers/detail?all_tenants=1&limit={PAGE}",
        "the same, further down": f"/v2.1/servers/detail?all_tenants=1&limit={PAGE}"
                                  f"&marker={marker(app)}",
    }
    found = {"schedule one boot": measure(schedule_one(manager, number), BOOTS)}
    for title, path in pages.items():
        found[title] = measure(list_page(app, path, "admin:admin"), PAGES)
    own = f"/v2.1/servers/detail?limit={PAGE}"
    found["GET /servers/detail of a project"] = measure(
        list_page(app, own, "user:project1"), PAGES)
    return found


def run(server: str | None) -> str:
    """The table of figures, with few instances and with many."""
    from nova import config
    config.CONF([], project="nova", default_config_files=[])
    if server is None:
        backing.ensure("mariadb")
        server = backing.MYSQL_URL
    columns: dict[int, dict[str, tuple[float, float]]] = {}
    with database(server):
        hosts = fill_hosts(HOSTS)
        network, groups = fill_network()
        done = 0
        for number in (FEW, MANY):
            fill_instances(done, number, hosts, network, groups)
            columns[number] = figures(2 * number)
            done = number
    lines = [f"{HOSTS} hosts; CPU (wall) in ms{'':<12}"
             + "".join(f"{f'{number} instances':>22}" for number in columns)]
    for title in columns[FEW]:
        lines.append(f"{title:<40}" + "".join(
            f"{f'{row[title][0]:.1f} ({row[title][1]:.1f})':>22}" for row in columns.values()))
    return "\n".join(lines)
