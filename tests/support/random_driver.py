# SPDX-License-Identifier: Apache-2.0
"""Eight clients that do anything in any order while daemons are killed; seeded."""

import http.client
import random
import threading
import time
import urllib.error

from kill_cloud import count_of
from oslo_utils import uuidutils

CLIENTS = 8
INSTANCES, FLOATING = 4, 2          # quotas of each project
QUOTA = f"[quota]\ninstances = {INSTANCES}\ncores = 100\nram = -1\nfloating_ips = {FLOATING}\n"
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
                 self.reboot, self.take, self.lead, self.free, self.give_back, self.look)
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
            self.seen.update(f"p{number} is over its quota" for number in range(CLIENTS)
                             if count_of(f"p{number}") > INSTANCES)
            time.sleep(0.2)


def play(cloud, daemons, seed, seconds, operations):
    """Let clients and killer loose until the time or the operations are over.

    Returns (number of answers by status, number of kills, what was wrong).
    """
    until = time.monotonic() + seconds
    clients = []

    def going():
        done = sum(sum(one.statuses.values()) - one.statuses.get(None, 0) for one in clients)
        return time.monotonic() < until and done < operations

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
    return statuses, kills, wrong
