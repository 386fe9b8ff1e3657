# SPDX-License-Identifier: Apache-2.0
"""A cloud whose daemons die at named points, and what has to be true of it after that.

Each daemon is a process of its own with a file prefix of its own for :mod:`nova.faultpoint`.
The test's process reads the database itself: no API is needed to see what is left.
"""

import os
import time

from nova_daemons import Cloud
from sqlalchemy import func, select

from nova import audit, db
from nova.compute import audit as compute_audit
from nova.db import (
    flavors,
    floating_ips,
    instances,
    migrations,
    networks,
    ports,
    services,
    session,
    volume_attachments,
    volume_snapshots,
    volumes,
)
from nova.db.models import FixedIp, Instance, InstanceAction, InstanceActionEvent, utcnow
from nova.virt.fake import FakeDriver
from nova.volume import audit as volume_audit
from nova.volume.file import FileDriver
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS

DAEMONS = (("network", "net"), ("scheduler", "net"), ("compute", "c1"), ("compute", "c2"),
           ("api", "net"))
DEATH_TIMEOUT = 30.0
QUIET = 0.3             # seconds without a step: nobody is doing anything
QUIET_LIMIT = 10.0
UP_TIMEOUT = 60.0       # seconds until a daemon that was started hears its own ping
FAST = """
message_patience = 2
reconcile_interval = 3
network_reconcile_interval = 5
shutdown_timeout = 1
reboot_timeout = 1
[scheduler]
housekeeping_interval = 2
[volume]
reserved_gb = 0
reconcile_interval = 2
"""
LAX = """
[quota]
instances = 1000
cores = 1000
ram = -1
floating_ips = 1000
volumes = 1000
snapshots = 1000
"""
# What daemons write all the time, whatever is asked of them.
NOISE = ("services.", "compute_nodes.", "volume_hosts.report", "networks.expire_leases",
         "networks.take")


class KillCloud(Cloud):
    """Five daemons on three pretend hosts; of the two for guests c1 is always the first choice."""

    def __init__(self, directory, free_port, *, daemons=DAEMONS, quota=LAX,
                 memory_mb=(131072, 65536), **options):
        options["extra"] = options.get("extra", "") + FAST + quota
        self.daemons, self.memory_mb, self.started = daemons, memory_mb, {}
        super().__init__(directory, free_port, **options)
        self.faults = self.directory / "faults"
        self.faults.mkdir()

    def environment(self, name):
        return {**os.environ, "NOVA_FAULTPOINTS": str(self.faults / name)}

    def config(self, host, name=None, **other):
        path = super().config(host, name, **other)
        if host in ("c1", "c2"):
            memory_mb = self.memory_mb[host == "c2"]
            path.write_text(path.read_text() + f"[fake]\nmemory_mb = {memory_mb}\n")
        return path

    def _fill_nova(self):
        """Make the rows here: five runs of nova-manage would take longer than all else."""
        db.configure(self.values["database"])
        migrations.upgrade()
        flavors.create({"flavorid": "1", "name": "m1.tiny", "vcpus": 1, "memory_mb": 512,
                        "root_gb": 1})
        networks.create({"name": "flat", "bridge": "br100", "cidr": "10.99.0.0/22",
                         "gateway": "10.99.0.1"})
        public = networks.create({"name": "public", "cidr": "172.31.0.0/24", "external": True,
                                  "gateway": "172.31.0.1"})
        floating_ips.add(public.id, [f"172.31.0.{number}" for number in range(10, 200)])
        db.engine().dispose()       # an SQLite file is copied as it is

    def __enter__(self):
        super().__enter__()
        try:
            for what, host in self.daemons:
                self.start(what, host)
            self.wait_ready("api-net", workers=len(self.daemons) - 1)
        except BaseException:   # whatever it was, nothing is left running
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        super().__exit__(*error)
        if session._database is not None:
            db.engine().dispose()
            session._database = None

    def start(self, what, host="host1", name=None, **other):
        self.started[what, host] = utcnow()
        return super().start(what, host, name, **other)

    def wait_up(self):
        """Wait until every daemon is at work that was started, and not only on its way there.

        What one does when it starts is not to be taken for a step of what is done next.
        """
        def up():
            seen = {(row.topic, row.host): row.last_seen_up for row in services.get_all()}
            return all(seen.get(one) and seen[one] > since
                       for one, since in self.started.items() if one[0] != "api")
        assert self.wait_until(up, UP_TIMEOUT), (self.started, services.get_all())
        self.wait_port()

    def driver(self, host):
        """Return the hypervisor of a host, as its worker sees it."""
        return FakeDriver(host, self.directory / host / "instances" / f"fake-{host}")

    # -- dying ---------------------------------------------------------------------------------

    def arm(self, name, point, number=1):
        """Have a daemon die at the n-th passing of a point from now on."""
        temporary = self.faults / "order"
        temporary.write_text(f"{point} {number}")
        temporary.rename(self.faults / f"{name}.armed")

    def disarm(self, name):
        """Take an order back; True when it was still there."""
        try:
            (self.faults / f"{name}.armed").unlink()
            return True
        except FileNotFoundError:
            return False

    def died(self, name, seconds=DEATH_TIMEOUT):
        """Wait for a daemon to die of its point; False when it has not."""
        deadline = time.monotonic() + seconds
        while self.processes[name].poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        self.processes.pop(name)
        return True

    def trace(self, function):
        """Return [(daemon, point, number)] of what the daemons pass while a function runs."""
        for what, host in self.daemons:
            (self.faults / f"{what}-{host}.trace").touch()
        function()
        found = []
        for what, host in self.daemons:
            path = self.faults / f"{what}-{host}.trace"
            passed = {}
            for point in path.read_text().splitlines():
                if not point.startswith(NOISE):
                    passed[point] = passed.get(point, 0) + 1
                    found.append((f"{what}-{host}", point, passed[point]))
            path.unlink()
        return found

    def wait_quiet(self):
        """Wait until what was done before is over, the messages it sent last too."""
        self.wait_until(lambda: not self.trace(lambda: time.sleep(QUIET)), QUIET_LIMIT)

    def wait_port(self):
        """Wait until the APIs answer (again)."""
        self._wait_port(self.values["port"], "api-net")
        if "volume" in self.values["apis"]:
            self._wait_port(self.values["volume_port"], "api-net")

    # -- looking -------------------------------------------------------------------------------

    def row(self, name):
        """Return the row of the server with a name; None when there is none."""
        found = [row for row in instances.get_all({"name": name}) if row.display_name == name]
        assert len(found) < 2, f"{name} is there twice"
        return found[0] if found else None

    def unsettled(self):
        """Return everything that is not as it should be when nobody is doing anything."""
        rows = instances.get_all()
        found = [f"{row.id} {row.vm_state} is {row.task_state}" for row in rows if row.task_state]
        found += [str(one) for check in (audit.check_tasks, audit.check_places)
                  for one in check("", False)]
        for host in ("c1", "c2"):
            found += [f"{host}: {one}" for one in compute_audit.problems(host, self.driver(host))]
        return found + self._addresses(rows) + self._log() + self._volumes()

    def _volumes(self):
        if ("volume", "c1") not in self.daemons:
            return []
        files = FileDriver("c1", self.directory / "c1" / "volumes")
        found = [f"c1: {one}" for one in volume_audit.problems("c1", files)]
        found += [f"volume {row.id} is {row.status}" for row in volumes.get_all()
                 if row.status in VOLUME_TASKS]
        found += [f"snapshot {row.id} is {row.status}" for row in volume_snapshots.get_all()
                  if row.status in SNAPSHOT_TASKS]
        return found + [f"attachment of {row.volume_id} is {row.status}"
                        for row in volume_attachments.get_all() if row.status != "attached"]

    def _addresses(self, rows):
        views = ports.find()
        found = [f"port {port} of {device}, which is gone" for device, port in ports.orphans()]
        held = {}
        for view in views:
            held.setdefault(view.port.device_id, []).append(view)
            if view.port.host not in ("c1", "c2"):
                found.append(f"port {view.port.id} is on {view.port.host}")
            if len(view.addresses) != 1:
                found.append(f"port {view.port.id} has {len(view.addresses)} addresses")
        for row in rows:
            expected = 1 if row.vm_state in ("active", "stopped") else 0
            if row.vm_state == "error" and row.host is not None:
                continue        # something of it is left on that host
            if len(held.get(row.id, [])) != expected:
                found.append(f"{row.id} {row.vm_state} has {len(held.get(row.id, []))} ports")
        with db.reader() as reader:
            taken = reader.scalar(select(func.count()).where(FixedIp.port_id.is_not(None)))
        if taken != len(views):
            found.append(f"{taken} addresses of {len(views)} ports")
        return found + [
            f"floating {route.address}: port {route.port_id}, live on {route.host}"
            for route in floating_ips.routes()
            if not (route.fixed and route.host == route.network_host)]

    @staticmethod
    def _log():
        with db.reader() as reader:
            return [f"{model.__tablename__}: {row.instance_id} goes on"
                    for model in (InstanceAction, InstanceActionEvent)
                    for row in reader.scalars(select(model).where(model.finished_at.is_(None)))]

    def capacity_exceeded(self):
        """Return the hosts on which more is placed than they have; limits are the claims'."""
        from nova.db import compute_nodes
        used = instances.usage_by_host()
        return [node.host for node in compute_nodes.get_all() if node.host in used and any(
            getattr(used[node.host], name) > getattr(instances.capacity(node), name)
            for name in ("vcpus", "memory_mb", "disk_gb"))]

    def wait_until(self, condition, seconds):
        """Poll a condition; return whether it came true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def count_of(project_id, model=Instance):
    """Return how many servers, or rows of another model, a project has."""
    with db.reader() as reader:
        return reader.scalar(select(func.count()).where(model.project_id == project_id))
