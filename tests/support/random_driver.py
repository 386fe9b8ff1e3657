# SPDX-License-Identifier: Apache-2.0
"""Eight clients that do anything in any order while daemons are killed; seeded."""

import http.client
import random
import threading
import time
import urllib.error

from kill_cloud import count_of
from oslo_utils import uuidutils

from nova.db.models import Instance
from nova.db.volume_models import Volume, VolumeSnapshot

CLIENTS = 8
INSTANCES, FLOATING, VOLUMES, SNAPSHOTS = 4, 2, 3, 2        # quotas of each project
QUOTA = f"""[quota]
instances = {INSTANCES}
cores = 100
ram = -1
floating_ips = {FLOATING}
volumes = {VOLUMES}
snapshots = {SNAPSHOTS}
"""
HELD = ((Instance, INSTANCES), (Volume, VOLUMES), (VolumeSnapshot, SNAPSHOTS))
NOT_ANSWERED = (OSError, http.client.HTTPException, urllib.error.URLError)


class Client(threading.Thread):
    """One project's user.  ``statuses`` counts the answers, ``wrong`` holds those of 500."""

    def __init__(self, cloud, number, seed, going):
        super().__init__(daemon=True, name=f"client-{number}")
        self.cloud, self.going = cloud, going
        self.random = random.Random(f"{seed}/{number}")
        self.project = f"p{number}"
        self.token = f"user{number}:{self.project}"
        self.statuses, self.wrong = {}, []

    def ask(self, method, path, body=None):
        try:
            status, answer = self.cloud.ask(method, path, body, self.token)
        except NOT_ANSWERED:
            status, answer = None, None
            time.sleep(0.2)     # nobody is there: that is no operation, and not to be hurried
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status is not None and status >= 500 and status != 503:
            self.wrong.append((method, path, body, status, answer))
        return answer if status is not None and status < 300 else None

    def run(self):
        deeds = (self.boot, self.boot, self.boot, self.delete, self.stop, self.start_one,
                 self.reboot, self.take, self.lead, self.free, self.give_back, self.look,
                 self.make, self.make, self.attach, self.attach, self.detach, self.grow,
                 self.snap, self.drop, self.drop_snapshot)
        while self.going():
            self.random.choice(deeds)()

    def some(self):
        found = (self.ask("GET", "/servers") or {}).get("servers") or []
        # Now and then one that there is not.
        return self.random.choice(found)["id"] if found and self.random.random() < 0.95 \
            else uuidutils.generate_uuid()

    def address(self):
        found = (self.ask("GET", "/os-floating-ips") or {}).get("floating_ips") or []
        return self.random.choice(found) if found else {"ip": "172.31.0.9", "id": "none"}

    def act(self, name, body=None):
        self.ask("POST", f"/servers/{self.some()}/action", {name: body})

    def boot(self):
        self.ask("POST", "/servers", {"server": {
            "name": f"{self.project}-{self.random.randrange(10 ** 6)}",
            "imageRef": self.cloud.image, "flavorRef": "1",
            "max_count": self.random.choice((1, 1, 1, 2))}})

    def delete(self):
        self.ask("DELETE", f"/servers/{self.some()}")

    def stop(self):
        self.act("os-stop")

    def start_one(self):
        self.act("os-start")

    def reboot(self):
        self.act("reboot", {"type": self.random.choice(("SOFT", "HARD"))})

    def take(self):
        self.ask("POST", "/os-floating-ips", {"pool": "public"})

    def lead(self):
        self.act("addFloatingIp", {"address": self.address()["ip"]})

    def free(self):
        self.act("removeFloatingIp", {"address": self.address()["ip"]})

    def give_back(self):
        self.ask("DELETE", f"/os-floating-ips/{self.address()['id']}")

    # -- volumes -------------------------------------------------------------------------------

    def volume_api(self, method, path, body=None):
        port = self.cloud.values["volume_port"]
        return self.ask(method, f"http://127.0.0.1:{port}/v3/{self.project}{path}", body)

    def one_of(self, kind):
        """Return one of the project's volumes or snapshots, or now and then one there is not."""
        found = (self.volume_api("GET", f"/{kind}") or {}).get(kind) or []
        return self.random.choice(found)["id"] if found and self.random.random() < 0.95 \
            else uuidutils.generate_uuid()

    def make(self):
        source = self.random.choice(({"size": 1}, {"size": 1}, {"source_volid": None},
                                     {"snapshot_id": None}))
        if "source_volid" in source:
            source = {"source_volid": self.one_of("volumes")}
        elif "snapshot_id" in source:
            source = {"snapshot_id": self.one_of("snapshots")}
        self.volume_api("POST", "/volumes", {"volume": source})

    def attach(self):
        self.ask("POST", f"/servers/{self.some()}/os-volume_attachments",
                 {"volumeAttachment": {"volumeId": self.one_of("volumes")}})

    def detach(self):
        server = self.some()
        found = (self.ask("GET", f"/servers/{server}/os-volume_attachments") or {}).get(
            "volumeAttachments") or []
        volume = self.random.choice(found)["volumeId"] if found else self.one_of("volumes")
        self.ask("DELETE", f"/servers/{server}/os-volume_attachments/{volume}")

    def grow(self):
        self.volume_api("POST", f"/volumes/{self.one_of('volumes')}/action",
                        {"os-extend": {"new_size": self.random.randint(1, 3)}})

    def snap(self):
        self.volume_api("POST", "/snapshots", {"snapshot": {
            "volume_id": self.one_of("volumes")}})

    def drop(self):
        self.volume_api("DELETE", f"/volumes/{self.one_of('volumes')}")

    def drop_snapshot(self):
        self.volume_api("DELETE", f"/snapshots/{self.one_of('snapshots')}")

    # -- all -----------------------------------------------------------------------------------

    def give_everything_back(self):
        """Delete what the project has; return the answers that say no."""
        wrong = []

        def must(status, answer):
            if status >= 300:
                wrong.append((status, answer))
            return answer

        base = f"http://127.0.0.1:{self.cloud.values['volume_port']}/v3/{self.project}"
        for server in self.cloud.statuses(self.token):
            must(*self.cloud.ask("DELETE", f"/servers/{server}", token=self.token))
        for one in must(*self.cloud.ask("GET", "/os-floating-ips",
                                        token=self.token))["floating_ips"]:
            must(*self.cloud.ask("DELETE", f"/os-floating-ips/{one['id']}", token=self.token))
        if not self.cloud.wait_until(lambda: not self.cloud.statuses(self.token), 120):
            wrong.append("servers stay")
        for kind in ("snapshots", "volumes"):
            for one in must(*self.cloud.ask("GET", f"{base}/{kind}", token=self.token))[kind]:
                must(*self.cloud.ask("DELETE", f"{base}/{kind}/{one['id']}", token=self.token))
        return wrong

    def look(self):
        self.ask("GET", self.random.choice((
            "/servers/detail", "/limits", f"/servers/{self.some()}",
            f"/servers/{self.some()}/os-instance-actions")))


class Watcher(threading.Thread):
    """Looks all the time whether somebody has more than he may."""

    def __init__(self, cloud, going):
        super().__init__(daemon=True, name="watcher")
        self.cloud, self.going, self.seen = cloud, going, set()

    def run(self):
        while self.going():
            self.seen.update(f"{host} is overfull" for host in self.cloud.capacity_exceeded())
            self.seen.update(
                f"p{number} is over its quota of {model.__tablename__}"
                for number in range(CLIENTS) for model, limit in HELD
                if count_of(f"p{number}", model) > limit)
            time.sleep(0.2)


def play(cloud, daemons, seed, seconds, operations):
    """Let clients and killer loose until the time or the operations (None: any) are over.

    Returns (number of answers by status, number of kills, what was wrong, the clients).
    """
    until = time.monotonic() + seconds
    clients = []

    def going():
        done = sum(sum(one.statuses.values()) - one.statuses.get(None, 0) for one in clients)
        return time.monotonic() < until and (operations is None or done < operations)

    clients += [Client(cloud, number, seed, going) for number in range(CLIENTS)]
    watcher, chance, kills = Watcher(cloud, going), random.Random(seed), 0
    for one in (*clients, watcher):
        one.start()
    while going():
        time.sleep(chance.uniform(0.5, 3))
        what, host = chance.choice(daemons)
        cloud.kill(f"{what}-{host}")
        kills += 1
        time.sleep(chance.uniform(0, 1))
        cloud.start(what, host)
    for one in (*clients, watcher):
        one.join(120)
    statuses = {}
    for one in clients:
        for status, count in one.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    wrong = [str(answer) for one in clients for answer in one.wrong] + sorted(watcher.seen)
    return statuses, kills, wrong, clients
