# SPDX-License-Identifier: Apache-2.0
"""swift-init, swift-reload, swift-orphans and swift-oldies on real processes."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from swift_node import StorageNode

PATIENCE = 60


@pytest.fixture
def site(tmp_path):
    """A node whose files are where swift-init looks for them; all that runs is ended after."""
    node = StorageNode(tmp_path / "node")
    for kind in ("object", "container", "account"):
        (node.etc / f"{kind}.conf").rename(node.etc / f"{kind}-server.conf")
    folder = node.etc / "proxy-server"
    folder.mkdir()
    made = Site(node)
    yield made
    made.end()


class Site:
    def __init__(self, node):
        self.node, self.run = node, node.root / "run"
        self.run.mkdir()

    def __call__(self, *words, code=0):
        return self.tool("init", "--run-dir", self.run, *words, code=code)

    def tool(self, name, *words, code=0):
        done = subprocess.run([sys.executable, "-m", f"swift.cli.{name}", *map(str, words)],
                              env=self.node.environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def pid(self, name):
        return int((self.run / f"{name}.pid").read_text())

    def end(self):
        for path in self.run.rglob("*.pid"):
            try:
                process = psutil.Process(int(path.read_text()))
            except psutil.NoSuchProcess:
                continue
            for one in [*process.children(recursive=True), process]:
                one.kill()

    def workers(self, kind, count):
        conf = self.node.etc / f"{kind}-server.conf"
        conf.write_text(conf.read_text().replace("[DEFAULT]\n", f"[DEFAULT]\nworkers = {count}\n"))


def gone(pid):
    deadline = time.monotonic() + PATIENCE
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_start_status_stop(site):
    """Servers and a daemon: started once, told of, stopped, and gone then."""
    out = site("object-server", "object-updater", "start")
    assert "Starting object-server...(" in out and "Starting object-updater...(" in out
    assert site.node.request("object", "OPTIONS", "/")[0] == 200     # serves when start returns
    pids = [site.pid("object-server"), site.pid("object-updater")]
    assert f"object-updater running ({pids[1]} - " in site("object", "object-updater", "status")
    assert "object-server already started..." in site("object", "start", code=1)
    assert site.pid("object-server") == pids[0]
    assert "No container-server running" in site("container", "status", code=1)
    out = site("all", "stop")
    for name, pid in zip(("object-server", "object-updater"), pids, strict=True):
        assert f"{name} ({pid}) appears to have stopped" in out
        gone(pid)
    assert not list(site.run.glob("*.pid"))
    assert "No object-server running" in site("object", "stop", code=1)
    site("object", "kill")                          # nothing to do is no error to this one


def test_a_pid_used_again_by_another_is_none_of_ours(site):
    other = subprocess.Popen(["sleep", "60"])
    try:
        (site.run / "object-server.pid").write_text(str(other.pid))
        assert "No object-server running" in site("object", "stop", code=1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.whole
def test_instances_of_a_folder(site):
    """/etc/swift/account-server/1.conf, 2.conf: each with its pid file, and by its number."""
    folder = site.node.etc / "account-server"
    folder.mkdir()
    text = (site.node.etc / "account-server.conf").read_text()
    (site.node.etc / "account-server.conf").unlink()
    for number in (1, 2):
        (folder / f"{number}.conf").write_text(text)
    (folder / "2.conf").write_text(text.replace(
        f"bind_port = {site.node.ports['account']}", f"bind_port = {site.node.ports['object']}"))
    assert "account-server/2.conf" in site("account", "-c", "2", "start")
    assert [p.name for p in (site.run / "account-server").glob("*.pid")] == ["2.pid"]
    site("account.1", "start")
    assert site.pid("account-server/1") != site.pid("account-server/2")
    assert "signal: SIGTERM" in site("account.1", "stop", "-v")
    assert [p.name for p in (site.run / "account-server").glob("*.pid")] == ["2.pid"]


@pytest.mark.whole
def test_once_waits_for_the_pass_and_tells_of_failure(site):
    assert "Running object-updater once" in site("object-updater", "once")
    assert not list(site.run.glob("*.pid"))
    conf = site.node.etc / "object-server.conf"
    conf.write_text(conf.read_text().replace("[object-updater]", "[object-updater]\ninterval = x"))
    out = site("object-updater", "once", code=1)
    assert "did not work" in out and "interval" in out


def test_what_cannot_start_says_why(site):
    conf = site.node.etc / "object-server.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nclient_timeout = soon\n"))
    out = site("object", "start", code=1)
    assert "did not start" in out and "client_timeout" in out
    assert "ERROR" not in site("no-such", "start", code=2) and not list(site.run.glob("no*"))


@pytest.mark.whole
def test_kill_after_timeout(site):
    site("object", "start")
    pid = site.pid("object-server")
    os.kill(pid, signal.SIGSTOP)
    assert "giving up" in site("object", "stop", "--kill-wait", "0.2", code=1)
    assert "killing" in site("object", "stop", "--kill-wait", "0.2", "--kill-after-timeout",
                             code=1)
    gone(pid)


class Load:
    """Clients that never stop asking; each refused connection or cut answer is an error."""

    def __init__(self, node):
        self.node, self.errors, self.count, self.stop = node, [], 0, False
        self.threads = [threading.Thread(target=self.ask) for _ in range(2)]

    def ask(self):
        while not self.stop:
            try:
                assert self.node.request("object", "OPTIONS", "/")[0] == 200
                self.count += 1
            except (OSError, AssertionError) as exc:
                self.errors.append(exc)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc):
        self.stop = True
        for thread in self.threads:
            thread.join(PATIENCE)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.whole)])
def test_seamless_reload_refuses_nobody(site, workers):
    """New processes with new configuration; an upload begun before is finished by the old."""
    site.workers("object", workers)
    site("object", "start")
    old = site.pid("object-server")
    with socket.create_connection(("127.0.0.1", site.node.ports["object"]), PATIENCE) as upload:
        upload.sendall(f"PUT /d0/1/a/c/o HTTP/1.1\r\nHost: x\r\nX-Timestamp: {site.node.now()}\r\n"
                       "Content-Type: t/p\r\nContent-Length: 10\r\n\r\n01234".encode())
        with Load(site.node) as load:
            assert "reloaded" in site("object", "reload-seamless")
            assert "reloaded" in site.tool("reload", site.pid("object-server"))
        assert load.errors == [] and load.count > 10
        new = site.pid("object-server")
        assert new != old and psutil.Process(new).is_running()
        upload.sendall(b"56789")
        assert upload.recv(1000).startswith(b"HTTP/1.1 201 ")
    gone(old)
    assert f"object-server running ({new} - " in site("object", "status")


@pytest.mark.whole
def test_reload_with_a_bad_configuration_changes_nothing(site):
    site("object", "start")
    old = site.pid("object-server")
    conf = site.node.etc / "object-server.conf"
    conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nclient_timeout = soon\n"))
    assert "client_timeout" in site.tool("reload", old, code=1)
    assert "goes on as it was" in site("object", "reload-seamless", code=1)
    assert site.node.request("object", "OPTIONS", "/")[0] == 200
    assert site.pid("object-server") == old
    assert "no server" in site.tool("reload", os.getpid(), code=2)


@pytest.mark.whole
def test_orphans_and_oldies(site):
    """A server whose pid file is lost is listed, and ended on demand; others are left alone."""
    site("object", "container", "start")
    lost, kept = site.pid("object-server"), site.pid("container-server")
    (site.run / "object-server.pid").unlink()
    listed = site.tool("orphans", "--run-dir", site.run, "-a", "0", "-w").splitlines()
    assert any(f" {lost} object-server {site.node.etc}" in line for line in listed)
    assert not any(f" {kept} " in line for line in listed)
    assert str(lost) in site.tool("oldies", "-a", "0", "-p").split()
    assert str(lost) not in site.tool("oldies", "-a", "9", "-p").split()
    assert "invalid" in site.tool("orphans", "-k", "NONE", code=2)
    os.kill(lost, signal.SIGTERM)
    gone(lost)


@pytest.mark.whole
def test_workers_are_not_reloaded(site):
    site.workers("object", 2)
    site("object", "start")
    child = psutil.Process(site.pid("object-server")).children()[0]
    assert "is a worker" in site.tool("reload", child.pid, code=2)


def test_conf_folders(tmp_path):
    """Where configuration is looked for, and the pid file of each."""
    from swift.operations.servers import servers_named
    for name in ("proxy-server.conf", "object-server/2.conf", "object-server/1.conf",
                 "container-server.conf.d/10.conf", "account-server/a.conf.d/x.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("[object-expirer]\n" if name.endswith("2.conf") else "[x]\n")
    found = {}
    for server in servers_named(["all"], str(tmp_path), "/run"):
        found[server.name] = [(str(conf.relative_to(tmp_path)), str(server.pid_file(conf)))
                              for conf in server.conf_files()]
        for conf in server.conf_files():
            assert server.conf_of(server.pid_file(conf)) == conf
    assert found["proxy-server"] == [("proxy-server.conf", "/run/proxy-server.pid")]
    assert found["object-updater"] == [
        ("object-server/1.conf", "/run/object-updater/1.pid"),
        ("object-server/2.conf", "/run/object-updater/2.pid")]
    assert found["object-expirer"] == [("object-server/2.conf", "/run/object-expirer/2.pid")]
    assert found["container-sync"] == [
        ("container-server.conf.d", "/run/container-sync.pid.d")]
    assert found["account-reaper"] == [
        ("account-server/a.conf.d", "/run/account-reaper/a.pid.d")]
    assert found["container-reconciler"] == []


def test_orphans_are_signalled():
    """Only what is older than asked; this machine's others must not be touched by a test."""
    from swift.operations import lost
    process = subprocess.Popen(["sleep", "60"])
    lost.kill([lost.Found(1, process.pid, "x"), lost.Found(1, 2 ** 22 - 1, "gone")],
              signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
