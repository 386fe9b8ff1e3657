# SPDX-License-Identifier: Apache-2.0
"""What is promised when a node dies, a disk fills up, fails or lies, a clock is off: by name.

Real processes, real disks (tmpfs in mount namespaces of their own). Too long for every run; the
quicker ones beside them are in test_failures.py and ../storage/test_consistency.py.
"""
import hashlib
import itertools
import os
import random
import re
import socket
import threading
import time

import pytest
from fault_cluster import FaultCluster
from swift_cluster import Client

pytestmark = [pytest.mark.whole, pytest.mark.timeout(1800)]
RETRIES = 60
PATIENCE = 120


def cluster_fixture(**options):
    @pytest.fixture(scope="module")
    def made(tmp_path_factory):
        with FaultCluster(tmp_path_factory.mktemp("faulty"), **options) as cluster:
            yield cluster
    return made


plain = cluster_fixture()
with_small_disk = cluster_fixture(small={n: "9m" for n in range(4)},
                                  options="disable_fallocate = no\nfallocate_reserve = 0\n")
with_skewed_clocks = cluster_fixture(skew={1: 7, 2: -7, ("proxy", 1): 6})
_numbers = itertools.count()


@pytest.fixture
def box(request):
    """A function: a client with a fresh container, of a cluster."""
    def make(cluster):
        user = cluster.login()
        name = f"box{next(_numbers)}"
        assert retried(lambda: user("PUT", f"/{name}"))[0] == 201
        return user, name
    return make


def retried(ask, good=lambda status: status < 500):
    """Ask until the cluster does not fail; the last answer."""
    for _ in range(RETRIES):
        try:
            answer = ask()
            if good(answer[0]):
                return answer
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("the cluster does not come back")


# -- a node that dies under load -------------------------------------------

class Load:
    """Clients that write, overwrite and delete, and know what was acknowledged last."""

    def __init__(self, user, container, clients=3, names=12):
        self.user, self.container, self.names = user, container, names
        self.known: dict[str, bytes | None] = {}       # body, or None once it is deleted
        self.doubtful: dict[str, list] = {}            # what a request that failed may have done
        self.stop = threading.Event()
        self.acknowledged = 0
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(clients)]

    def run(self, number):
        chance = random.Random(number)
        while not self.stop.is_set():
            name = f"c{number}-o{chance.randrange(self.names)}"
            body = None if chance.random() < 0.2 and self.known.get(name) else \
                os.urandom(chance.choice((10, 4000, 200_000)))
            path = f"/{self.container}/{name}"
            try:
                status = self.user("DELETE" if body is None else "PUT", path, body=body)[0]
            except OSError:
                status = 503
            if status // 100 == 2:
                self.known[name], self.doubtful[name] = body, []
                self.acknowledged += 1
            else:
                self.doubtful.setdefault(name, []).append(body)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def wait_for(self, more):
        """Until so many more requests are acknowledged."""
        goal, deadline = self.acknowledged + more, time.monotonic() + PATIENCE
        while self.acknowledged < goal:
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(0.05)

    def possible(self, name):
        """What may be read of a name."""
        return [self.known.get(name), *self.doubtful.get(name, [])]


def body_of(answer):
    status, _, body = answer
    assert status in (200, 404), status
    return body if status == 200 else None


@pytest.mark.parametrize("empty", [False, True], ids=["kill-9", "disk-emptied"])
@pytest.mark.parametrize("n", range(4))
def test_fault_node_dies_under_load(plain, box, n, empty):
    """Nothing acknowledged is lost while it is away or back; `once` makes all copies the same."""
    user, container = box(plain)
    with Load(user, container) as load:
        load.wait_for(40)
        plain.kill_node(n, empty)                     # in the midst of writes
        load.wait_for(60)
        plain.start_node(n)
        load.wait_for(40)
    names = sorted(load.known)
    assert len(names) > 10
    for name in names:                                # before anything has healed
        answer = retried(lambda name=name: user("GET", f"/{container}/{name}",
                                                {"X-Newest": "true"}))
        assert body_of(answer) in load.possible(name), name
    log = plain.heal()
    log += plain.heal()                               # rows that the first pass delivered late
    alive = set()
    for name in names:
        found = {body_of((status, {}, body)) for status, body in
                 plain.copies("object", user.base.split("/")[2], container, name)}
        assert len(found) == 1, f"copies of {name} differ: " + plain.files_of(
            user.base.split("/")[2], container, name) + log[-6000:]
        assert found <= set(load.possible(name)), f"{name} is stale or lost"
        if None not in found:
            alive.add(name)
    for status, body in plain.copies("container", user.base.split("/")[2], container):
        assert set(body.decode().split()) == alive, (status, alive ^ set(body.decode().split()))


# -- disks -----------------------------------------------------------------

def fill(user, container, size, count, prefix):
    """PUT objects; (names acknowledged, statuses of the others)."""
    stored, failed = {}, []
    for number in range(count):
        name, body = f"{prefix}{number}", os.urandom(size)
        status = user("PUT", f"/{container}/{name}", body=body)[0]
        if status == 201:
            stored[name] = hashlib.md5(body).hexdigest()
        else:
            failed.append(status)
    return stored, failed


def all_readable(user, container, stored):
    for name, digest in stored.items():
        status, _, body = retried(lambda name=name: user("GET", f"/{container}/{name}"))
        assert (status, hashlib.md5(body).hexdigest()) == (200, digest), name


def test_fault_disk_full(with_small_disk, box):
    """507 from the server; the proxy takes other nodes, and says 503 when there is no majority
    of room; whatever was acknowledged is there, and room again is used again."""
    cluster = with_small_disk
    user, container = box(cluster)
    cluster.disk(0, "sh", "-c", 'head -c 8500000 /dev/zero > "$0"/filler || true')
    stored, failed = fill(user, container, 100_000, 12, "one")
    assert not failed                                  # three others have room
    all_readable(user, container, stored)
    assert "507" in cluster.log("proxy") or "no space" in cluster.log("object", 0)
    more, failed = fill(user, container, 200_000, 60, "all")
    assert set(failed) <= {503, 507} and failed        # 9 MB each cannot take 36 MB of copies
    stored.update(more)
    all_readable(user, container, stored)
    assert cluster.disk(1, "sh", "-c", 'find "$0" -name ".*" -type f -path "*objects*" '
                        '! -name ".lock*"') == "", "half-written files are left"
    for name in list(more)[:20]:
        assert retried(lambda name=name: user("DELETE", f"/{container}/{name}"),
                       lambda status: status in (204, 404))
        stored.pop(name)
    cluster.disk(0, "sh", "-c", 'rm "$0"/filler')
    answer = retried(lambda: user("PUT", f"/{container}/again", body=b"x" * 200_000),
                     lambda status: status == 201)
    assert answer[0] == 201
    all_readable(user, container, stored)


def test_fault_disk_read_only(with_small_disk, box):
    """Writes go elsewhere (507 from the server), what is on it is still read."""
    cluster = with_small_disk
    user, container = box(cluster)
    before, failed = fill(user, container, 5000, 6, "before")
    assert not failed
    cluster.disk(3, "mount", "-o", "remount,ro")
    try:
        after, failed = fill(user, container, 5000, 12, "after")
        assert not failed
        all_readable(user, container, {**before, **after})
        held = [name for name in before if cluster.direct(
            "object", 3, "GET", user.base.split("/")[2], container, name)[0] == 200]
        assert held
        part, _ = cluster.places("object", "AUTH_test", container, "x")
        log = cluster.log("object", 3)
        assert "Traceback" not in log, log[-3000:]
        gone = held[0]
        assert user("DELETE", f"/{container}/{gone}")[0] == 204
        assert retried(lambda: user("GET", f"/{container}/{gone}", {"X-Newest": "true"}),
                       lambda status: status == 404)[0] == 404
    finally:
        cluster.disk(3, "mount", "-o", "remount,rw")
    assert retried(lambda: user("PUT", f"/{container}/later", body=b"x"),
                   lambda status: status == 201)[0] == 201


def data_files(cluster, n, kind, end):
    return [path for path in cluster.device(n).rglob("*" + end)
            if f"/{kind}" in str(path) and "quarantined" not in str(path)]


@pytest.mark.parametrize("size", [100, 300_000])
def test_fault_data_file_corrupted(plain, box, size):
    """A client sees the right bytes or a broken ETag, never wrong bytes as right ones; the copy is
    put aside by whoever meets it first, and the replicator brings a good one."""
    user, container = box(plain)
    body = os.urandom(size)
    assert user("PUT", f"/{container}/o", body=body)[0] == 201
    account = user.base.split("/")[2]
    part, nodes = plain.places("object", account, container, "o")
    bad = nodes[0]["id"]
    [file] = [path for path in data_files(plain, bad, "objects", ".data")
              if f"/objects/{part}/" in str(path) and path.stat().st_size == size]
    with open(file, "r+b") as data:
        data.seek(size // 2)
        data.write(bytes([body[size // 2] ^ 1]))
    for _ in range(12):
        status, headers, got = user("GET", f"/{container}/o")
        assert status == 200 and (got == body or hashlib.md5(got).hexdigest() != headers["etag"])
        if size < 65536:
            assert got == body
    plain.once("object_auditor", f"object-{bad}.conf")
    assert not file.exists() and list(plain.device(bad).glob("quarantined/objects/*"))
    plain.heal()
    assert plain.copies("object", account, container, "o") == [(200, body)] * 3


@pytest.mark.parametrize("kind", ["container", "account"])
def test_fault_database_corrupted(plain, box, kind):
    """Listings stay right; the broken file is put aside and comes back from the others."""
    user, container = box(plain)
    for number in range(5):
        assert user("PUT", f"/{container}/o{number}", body=b"x")[0] == 201
    plain.heal()
    names = (user.base.split("/")[2], container)[:2 if kind == "container" else 1]
    part, nodes = plain.places(kind, *names)
    bad = nodes[0]["id"]
    for file in data_files(plain, bad, f"{kind}s/{part}/", ".db"):
        with open(file, "r+b") as data:
            data.write(os.urandom(4096))
    path = f"/{container}" if kind == "container" else ""
    wanted = user("GET", path)[2]
    for _ in range(6):
        status, _, body = retried(lambda: user("GET", path))
        assert status == 200 and (body == wanted if kind == "container" else
                                  container.encode() in body)
    assert user("PUT", f"/{container}/late", body=b"x")[0] == 201
    plain.once(f"{kind}_auditor", f"{kind}-{bad}.conf")
    assert list(plain.device(bad).glob(f"quarantined/{kind}s/*"))
    plain.heal()
    plain.heal()
    found = [set(body.decode().split()) for status, body in plain.copies(kind, *names)]
    assert len(found) == 3 and found[0] == found[1] == found[2]
    assert ("late" if kind == "container" else container) in found[0]


# -- clocks ----------------------------------------------------------------

def test_fault_clock_of_a_node_off(with_skewed_clocks, box):
    """Storage nodes 7 s ahead and behind: reads, overwrites, deletes, listings are as ever."""
    cluster = with_skewed_clocks
    user, container = box(cluster)
    for number in range(15):
        path = f"/{container}/o{number}"
        for body in (b"first", b"second"):
            assert user("PUT", path, body=body)[0] == 201
            assert [user("GET", path)[2] for _ in range(4)] == [body] * 4
        assert user("POST", path, {"X-Object-Meta-A": "b"})[0] == 202
        if number % 3 == 0:
            assert user("DELETE", path)[0] == 204
            assert {user("GET", path)[0] for _ in range(4)} == {404}
    kept = {f"o{n}" for n in range(15) if n % 3}
    assert set(user("GET", f"/{container}")[2].decode().split()) == kept
    cluster.heal()
    for _, body in cluster.copies("container", "AUTH_test", container):
        assert set(body.decode().split()) == kept


def test_fault_clock_of_a_proxy_off(with_skewed_clocks, box):
    """Two proxies, one 6 s ahead: what the slower one is told not to be newer is said not to be
    stored (never a 201 for what nobody will read), and counts again when its time has come."""
    cluster = with_skewed_clocks
    slow, container = box(cluster)
    cluster.another_proxy(1)
    fast = AtPort(cluster, slow, cluster.ports["proxy", 1])
    assert fast("PUT", f"/{container}/o", body=b"ahead")[0] == 201
    status = slow("PUT", f"/{container}/o", body=b"behind")[0]
    assert status != 201 and status < 500
    assert {slow("GET", f"/{container}/o")[2] for _ in range(5)} == {b"ahead"}
    assert slow("DELETE", f"/{container}/o")[0] in (404, 409)
    answer = retried(lambda: slow("PUT", f"/{container}/o", body=b"caught up"),
                     lambda status: status == 201)
    assert answer[0] == 201
    assert {fast("GET", f"/{container}/o")[2] for _ in range(5)} == {b"caught up"}


class AtPort(Client):
    """The same user at another proxy."""

    def __init__(self, cluster, user, port):
        super().__init__(cluster, user.token, user.base)
        self.port = port

    def __call__(self, method, path="", headers=None, body=None, timeout=30):
        import http.client
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            conn.request(method, self.base + path, body=body, headers={
                "X-Auth-Token": self.token, **(headers or {})})
            answer = conn.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            conn.close()


# -- clients ---------------------------------------------------------------

@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("part", [0, 10, 70_000, 900_000])
def test_fault_upload_cut_short(plain, box, framing, part):
    """The version of before stays, everywhere; no half of the new one is left on any disk."""
    user, container = box(plain)
    assert user("PUT", f"/{container}/o", body=b"before")[0] == 201
    head = "Content-Length: 1000000" if framing == "length" else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", plain.proxy_port), 30) as sock:
        data = b"x" * part
        if framing == "chunked":
            data = b"f4240\r\n" + data
        sock.sendall(f"PUT {user.base}/{container}/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: "
                     f"{user.token}\r\n{head}\r\n\r\n".encode() + data)
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(1000)
    assert not re.match(rb"HTTP/1.1 2", answer), answer
    for _ in range(4):
        assert user("GET", f"/{container}/o")[2] == b"before"
    deadline = time.monotonic() + PATIENCE
    while found := [path for path in plain.object_files("AUTH_test", container, "o")
                    if path.stat().st_size != len(b"before")]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_fault_client_vanishes(plain, box):
    """200 clients that end in the middle of PUT and GET: nothing of theirs stays, nor an open
    file or connection of theirs in the proxy."""
    user, container = box(plain)
    assert user("PUT", f"/{container}/big", body=b"y" * 5_000_000)[0] == 201
    pid = plain.processes["proxy", 0].pid

    def open_files():
        return len(os.listdir(f"/proc/{pid}/fd"))

    before = open_files()
    for number in range(200):
        sock = socket.create_connection(("127.0.0.1", plain.proxy_port), 30)
        if number % 2:
            sock.sendall(f"PUT {user.base}/{container}/gone{number} HTTP/1.1\r\nHost: x\r\n"
                         f"X-Auth-Token: {user.token}\r\nContent-Length: 1000000\r\n\r\n".encode()
                         + b"x" * 50_000)
        else:
            sock.sendall(f"GET {user.base}/{container}/big HTTP/1.1\r\nHost: x\r\n"
                         f"X-Auth-Token: {user.token}\r\n\r\n".encode())
            sock.recv(1000)
        sock.close()
    deadline = time.monotonic() + PATIENCE
    while open_files() > before + 12:                  # kept connections to storage nodes
        assert time.monotonic() < deadline, open_files()
        time.sleep(0.2)
    assert user("GET", f"/{container}")[2] == b"big\n"


# -- listings --------------------------------------------------------------

def test_fault_none_put_then_list_shows_it(plain, box):
    """10,000 times: PUT, then LIST shows it at once."""
    user, container = box(plain)
    import http.client
    conn = http.client.HTTPConnection("127.0.0.1", plain.proxy_port, timeout=60)

    def ask(method, path, body=None):
        conn.request(method, user.base + path, body=body, headers={"X-Auth-Token": user.token})
        answer = conn.getresponse()
        return answer.status, answer.read()

    last = ""
    for number in range(10_000):
        name = f"{number:05}"
        assert ask("PUT", f"/{container}/{name}", b"x")[0] == 201
        status, listing = ask("GET", f"/{container}?marker={last}")
        assert (status, listing) == (200, name.encode() + b"\n"), number
        last = name
    conn.close()
    listed = []
    while page := user("GET", f"/{container}?marker={listed[-1] if listed else ''}")[2].split():
        listed += [name.decode() for name in page]
    assert listed == [f"{number:05}" for number in range(10_000)]
