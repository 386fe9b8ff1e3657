# SPDX-License-Identifier: Apache-2.0
"""How server processes start, share work, drain and end."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from swift_cluster import free_ports
from swift_node import StorageNode

from swift.common import safe_pickle, succession
from swift.common.ring import RingBuilder

PATIENCE = 30


@pytest.fixture
def idle_node(tmp_path):
    """Configuration and rings; nothing runs."""
    made = StorageNode(tmp_path / "node")
    yield made
    made.kill()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start(node, workers):
    conf = node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\nworkers = {workers}\n"))
    node.process = subprocess.Popen(
        [sys.executable, "-m", "swift.cli.object_server", str(conf)], env=node.environment,
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers():
        try:
            return node.request("object", "OPTIONS", "/")[0] == 200
        except OSError:
            assert node.process.poll() is None
            return False

    until(answers)
    parent = psutil.Process(node.process.pid)
    # The first worker answers before the next is forked.
    until(lambda: workers == 1 or len(parent.children()) == workers)
    return parent


def alive(processes):
    return [child for child in processes
            if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_one_worker_has_no_parent(idle_node):
    assert start(idle_node, 1).children() == []


@pytest.fixture
def ported(idle_node):
    """A node with two devices for each of two ports and two processes for each port, running; the
    ports."""
    ports = free_ports(2)
    builder = RingBuilder(2, 3, 0)
    for number in range(4):
        builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=ports[number % 2],
                             device=f"d{number}", weight=1))
    builder.add_dev(dict(region=1, zone=2, ip="192.0.2.1", port=1, device="far", weight=1))
    builder.rebalance(seed="node")
    builder.get_ring().save(str(idle_node.etc / "object.ring.gz"))
    conf = idle_node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nservers_per_port = 2\n"))
    idle_node.ports["object"] = ports[0]
    idle_node.environment[succession.PID_FILE] = str(idle_node.root / "pid")
    start(idle_node, 4)
    return ports


def listeners(parent, port):
    """Children of a process that listen on a port."""
    return [child for child in alive(parent.children())
            if port in {conn.laddr.port for conn in child.net_connections("tcp")}]


def serves(node, port, device):
    node.ports["object"] = port
    return node.request("object", "PUT", f"/{device}/1/a/c/o{port}{node.now()}", {
        "X-Timestamp": node.now(), "Content-Type": "t/p", "Content-Length": "1"}, b"x")[0] == 201


def test_each_devices_port_has_processes_of_its_own(idle_node, ported):
    parent = psutil.Process(idle_node.process.pid)
    until(lambda: [len(listeners(parent, port)) for port in ported] == [2, 2])
    assert not set(listeners(parent, ported[0])) & set(listeners(parent, ported[1]))
    assert serves(idle_node, ported[0], "d0") and serves(idle_node, ported[1], "d1")
    gone = listeners(parent, ported[1])
    for child in gone:
        os.kill(child.pid, signal.SIGSTOP)         # its disk hangs
    assert serves(idle_node, ported[0], "d0")
    for child in gone:
        child.kill()
    until(lambda: [len(listeners(parent, port)) for port in ported] == [2, 2])
    assert serves(idle_node, ported[1], "d1")
    children = parent.children()
    idle_node.kill(signal.SIGTERM)
    until(lambda: not alive(children))


def test_a_successor_takes_over_all_ports(idle_node, ported):
    parent = psutil.Process(idle_node.process.pid)
    until(lambda: len(alive(parent.children())) == 4)
    old = parent.children()
    os.kill(parent.pid, signal.SIGUSR1)
    until(lambda: not alive(old))
    successor = psutil.Process(int((idle_node.root / "pid").read_text()))
    try:
        assert successor.pid != parent.pid
        until(lambda: [len(listeners(successor, port)) for port in ported] == [2, 2])
        assert serves(idle_node, ported[0], "d0") and serves(idle_node, ported[1], "d1")
    finally:
        successor.terminate()
    until(lambda: not alive([successor]))


def test_daemons_know_devices_of_all_ports(idle_node, ported):
    assert serves(idle_node, ported[1], "d1")
    for suffix in (idle_node.devices / "d1/objects/1").iterdir():
        if suffix.is_dir():
            break
    idle_node.once("object_replicator", "object")
    copies = list(idle_node.devices.glob(f"d[0-3]/objects/1/{suffix.name}/*/*.data"))
    assert len(copies) > 1 or not suffix.exists()


def test_ports_that_cannot_be_are_said_at_the_start(idle_node):
    conf = idle_node.etc / "object.conf"
    text = conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nservers_per_port = 1\n")

    def said(text, module="object_server"):
        conf.write_text(text)
        done = subprocess.run([sys.executable, "-m", f"swift.cli.{module}", str(conf)],
                              env=idle_node.environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "no device of the object rings" in said(
        text.replace("[DEFAULT]\n", "[DEFAULT]\nring_ip = 192.0.2.7\n"))
    assert "servers_per_port must" in said(text.replace("_port = 1\n", "_port = many\n", 1))
    (idle_node.etc / "object.ring.gz").unlink()
    assert "ring object" in said(text)


def test_workers_are_replaced_and_end_together(idle_node):
    parent = start(idle_node, 2)
    parent.children()[0].kill()
    until(lambda: len(alive(parent.children())) == 2)
    assert idle_node.request("object", "OPTIONS", "/")[0] == 200
    children = parent.children()
    idle_node.kill(signal.SIGTERM)
    until(lambda: not alive(children))


def test_workers_do_not_outlive_a_killed_parent(idle_node):
    children = start(idle_node, 2).children()
    idle_node.kill(signal.SIGKILL)
    until(lambda: not alive(children))


def test_sigterm_answers_what_is_in_flight(idle_node):
    """An upload that has begun is finished and acknowledged; a new connection is refused."""
    start(idle_node, 1)
    with socket.create_connection(("127.0.0.1", idle_node.ports["object"]), PATIENCE) as sock:
        _upload_over_a_stop(idle_node, sock)
    assert idle_node.process.wait(PATIENCE) == 0
    idle_node.process = None
    assert list((idle_node.devices / "d0/objects/1").rglob("*.data"))


def _upload_over_a_stop(node, sock):
    sock.sendall(f"PUT /d0/1/a/c/o HTTP/1.1\r\nHost: x\r\nX-Timestamp: {node.now()}\r\n"
                 "Content-Type: t/p\r\nContent-Length: 10\r\n"
                 "Expect: 100-continue\r\n\r\n".encode())
    assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    sock.sendall(b"01234")
    node.process.send_signal(signal.SIGTERM)

    def refused():
        try:
            socket.create_connection(("127.0.0.1", node.ports["object"]), 1).close()
            return False
        except OSError:
            return True

    until(refused)
    assert node.process.poll() is None
    sock.sendall(b"56789")
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    assert answer.status == 201 and answer.getheader("Connection") == "close"
    answer.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_after_sighup_what_is_in_flight_has_as_long_as_the_site_says(idle_node, workers):
    """An upload that does not go on would keep the process for a day, or a minute after SIGTERM."""
    conf = idle_node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n",
                                             "[DEFAULT]\nstale_worker_timeout = 1\n"))
    start(idle_node, workers)
    with socket.create_connection(("127.0.0.1", idle_node.ports["object"]), PATIENCE) as sock:
        sock.sendall(f"PUT /d0/1/a/c/o HTTP/1.1\r\nHost: x\r\nX-Timestamp: {idle_node.now()}\r\n"
                     "Content-Type: t/p\r\nContent-Length: 10\r\n"
                     "Expect: 100-continue\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        idle_node.process.send_signal(signal.SIGHUP)
        assert sock.recv(1000) == b""
    assert idle_node.process.wait(PATIENCE) == 0
    idle_node.process = None


def test_a_wrong_option_is_said_at_the_start(idle_node):
    conf = idle_node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nclient_timeout = soon\n"))
    done = subprocess.run([sys.executable, "-m", "swift.cli.object_server", str(conf)],
                          env=idle_node.environment, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    assert done.returncode == 1 and "client_timeout" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_said_at_the_start(idle_node):
    conf = idle_node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nbind_timeout = 0\n"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", idle_node.ports["object"]))
        taken.listen()
        done = subprocess.run([sys.executable, "-m", "swift.cli.object_server", str(conf)],
                              env=dict(os.environ, **idle_node.environment), capture_output=True,
                              text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1 and str(idle_node.ports["object"]) in done.stderr


def replicator_of(node, *arguments):
    """(command, file of what it tells monitors) of a replicator of three processes."""
    conf = node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\nrecon_cache_path = "
                                             f"{node.root}\n").replace(
        "[object-replicator]\n", "[object-replicator]\nreplicator_workers = 3\ninterval = 1\n"))
    return [sys.executable, "-W", "ignore", "-m", "swift.cli.object_replicator", str(conf),
            *arguments], node.root / "object.recon"


def test_daemons_share_devices_among_processes(idle_node):
    def make_partitions():
        for device in range(4):
            for partition in range(device + 1):
                (idle_node.devices / f"d{device}/objects/{partition}").mkdir(
                    parents=True, exist_ok=True)

    make_partitions()
    command, told = replicator_of(idle_node, "once")
    subprocess.run(command, env=idle_node.environment, check=True, timeout=PATIENCE * 3,
                   capture_output=True)
    known = json.loads(told.read_text())
    disks = known["object_replication_per_disk"]
    assert set(disks) == {"d0", "d1", "d2", "d3"} and len({d["pid"] for d in disks.values()}) == 3
    assert disks["d0"]["pid"] == disks["d3"]["pid"]
    assert known["replication_stats"]["attempted"] == 10
    assert known["object_replication_last"] == min(
        disk["object_replication_last"] for disk in disks.values())
    make_partitions()                    # those of handoffs are gone: nothing is in them
    subprocess.run([*command, "-d", "d1,d2", "-p", "0,1", "-i", "0"], env=idle_node.environment,
                   check=True, timeout=PATIENCE * 3, capture_output=True)
    known = json.loads(told.read_text())
    assert set(known["object_replication_per_disk"]) == {"d1", "d2"}
    assert known["replication_stats"]["attempted"] == 4


def test_a_worker_of_a_daemon_is_replaced_and_all_end_together(idle_node):
    command, _ = replicator_of(idle_node)
    idle_node.process = subprocess.Popen(command, env=idle_node.environment,
                                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent = psutil.Process(idle_node.process.pid)
    until(lambda: len(parent.children()) == 3)
    first = parent.children()[0]
    first.kill()
    until(lambda: len(alive(parent.children())) == 3 and first not in parent.children())
    children = parent.children()
    idle_node.kill(signal.SIGTERM)
    assert not alive(children)


def test_updaters_share_devices_among_processes(idle_node):
    """Each update is tried by the process whose device it is on; monitors are told of all."""
    conf = idle_node.etc / "object.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\nrecon_cache_path = "
                                             f"{idle_node.root}\n")
                    + "[object-updater]\nupdater_workers = 2\n")
    for device in range(4):
        folder = idle_node.devices / f"d{device}/async_pending/abc"
        folder.mkdir(parents=True)
        (idle_node.devices / f"d{device}/tmp").mkdir(exist_ok=True)
        stamp = f"160000000{device}.00000"
        (folder / f"{device:032x}-{stamp}").write_bytes(safe_pickle.dumps({
            "op": "PUT", "account": "a", "container": f"c{device // 2}", "obj": "o",
            "headers": {"X-Timestamp": stamp, "X-Size": "1"}}))
    subprocess.run([sys.executable, "-W", "ignore", "-m", "swift.cli.object_updater", str(conf),
                    "once"], env=idle_node.environment, check=True, timeout=PATIENCE * 3,
                   capture_output=True)
    known = json.loads((idle_node.root / "object.recon").read_text())
    assert len({disk["pid"] for disk in known["object_updater_sweep_per_disk"].values()}) == 2
    assert known["object_updater_last"] and set(known["object_updater_per_device"]) == {
        "d0", "d1", "d2", "d3"}
    told = known["object_updater_stats"]
    assert told["failures_account_container_count"] == 4
    assert [(entry["container"], entry["timestamp"]) for entry in
            told["failures_oldest_timestamp_account_containers"]["oldest_entries"]] == [
        ("c0", 1600000000.0), ("c1", 1600000002.0)]


def test_a_hot_containers_updates_are_spread_over_the_pass(idle_node):
    """Deferred updates are drained at the end; what was too much waits on disk. Monitors are told
    how many there were."""
    conf = idle_node.etc / "object.conf"
    text = conf.read_text().replace(
        "[DEFAULT]\n", f"[DEFAULT]\nrecon_cache_path = {idle_node.root}\n")
    conf.write_text(text.replace(
        "[object-updater]\n", "[object-updater]\nmax_objects_per_container_per_second = 2\n"
        "interval = 60\nupdater_workers = 2\nmax_deferred_updates = 3\n"))
    idle_node.start()
    idle_node.make_container("a", "hot")
    idle_node.make_container("a", "cold")
    for number in range(8):
        container = "hot" if number < 7 else "cold"
        folder = idle_node.devices / "d0/async_pending/abc"
        folder.mkdir(parents=True, exist_ok=True)
        (idle_node.devices / "d0/tmp").mkdir(exist_ok=True)
        stamp = f"160000000{number}.00000"
        (folder / f"{number:032x}-{stamp}").write_bytes(safe_pickle.dumps({
            "op": "PUT", "account": "a", "container": container, "obj": f"o{number}",
            "headers": {"X-Timestamp": stamp, "X-Size": "1", "X-Etag": "e",
                        "X-Content-Type": "t/p"}}))
    log = idle_node.once("object_updater", "object")
    assert "5 successes, 0 failures, 0 quarantined, 0 obsolete, 3 skips, 6 deferrals, 3 drains" \
        in log
    assert len(list((idle_node.devices / "d0/async_pending/abc").iterdir())) == 3
    for container, rows in (("hot", 4), ("cold", 1)):
        for _, body in idle_node.get_all("container", "a", container, query="?format=json"):
            assert len(json.loads(body)) == rows
    known = json.loads((idle_node.root / "object.recon").read_text())
    for told in (known["object_updater_stats"], known["object_updater_per_device"]["d0"]):
        assert {name: told[name] for name in ("skips", "deferrals", "drains")} == {
            "skips": 3, "deferrals": 6, "drains": 3}
