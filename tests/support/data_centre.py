# SPDX-License-Identifier: Apache-2.0
"""A pretend data centre: a controller, a network host, compute hosts, and the cables between.

    with DataCentre(workdir, amqp_url, mysql_url, guest_image) as centre:
        centre.sdk("demo").compute.create_server(...)
        centre.client.run(["busybox", "ping", "-c1", "172.24.4.130"])

::

    client --- 172.24.4.0/24 --- network host ---+--- management 10.20.0.0/24 ---+--- controller
                                      |          |                               |
                                      |       compute1                        compute2
                                      +--- wire of guests ---+-------------------+

Each is a pretend host: namespaces of its own, on compute hosts with a libvirtd of its own.
Keystone, glance, the APIs and the scheduler are on the controller; DHCP, gateway, floating
addresses, metadata and volumes (over iSCSI, by tgtd) on the network host; RabbitMQ and MariaDB are
the machine's real ones, let in at the controller's address. Everything is configured as
doc/operator.rst says it is for many hosts.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from pretend_host import Namespace, PretendHost, cable
from stacklib import glance_config, identity
from stacklib.layout import Cloud

CHECKOUT = Path(__file__).resolve().parents[2]
CLONE_NEWNET = 0x40000000
DEADLINE = 120.0    # seconds for one daemon to be well
STOP_TIMEOUT = 30
CONTROLLER, NETWORK, COMPUTE = "10.20.0.10", "10.20.0.20", "10.20.0.{}"
MONITOR = 9710

NOVA = """
[DEFAULT]
host = {host}
my_ip = {my_ip}
state_path = {state}
use_stderr = true
transport_url = {broker}
compute_driver = libvirt
network_driver = linux
public_interface = {public}
report_interval = 5
[api]
auth_strategy = keystone
paste_config = {checkout}/etc/nova/api-paste.ini
enabled_apis = {apis}
compute_listen = {my_ip}
network_listen = {my_ip}
volume_listen = {my_ip}
ec2_listen = {my_ip}
metadata_listen = 0.0.0.0
[monitoring]
listen = 127.0.0.1
port = {monitor}
[database]
connection = {database}
[ec2]
tokens_url = {identity}/v3/ec2tokens
[volume]
driver = iscsi
iscsi_portal = {my_ip}:3260
tgt_socket = {tgt}.1
[libvirt]
virt_type = qemu
[glance]
endpoint_override = {image}
auth_type = password
auth_url = {identity}
username = nova
password = {password}
project_name = service
project_domain_id = default
user_domain_id = default
"""


class Door:
    """Lets connections to an address inside a namespace out to a port of this machine.

    The listening socket is made by a thread that has gone into the namespace; a socket stays
    where it was made, whoever uses it.
    """

    def __init__(self, inside: Namespace, address: str, port: int, target: tuple[str, int]) -> None:
        self._target = target
        made: list[socket.socket] = []
        thread = threading.Thread(target=self._listen, args=(inside, address, port, made))
        thread.start()
        thread.join(10)
        if not made:
            raise AssertionError(f"no door at {address}:{port}")
        self._listener = made[0]
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def _listen(inside: Namespace, address: str, port: int, made: list[socket.socket]) -> None:
        with open(f"/proc/{inside.holder.pid}/ns/net", "rb") as network:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(network.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server((address, port), backlog=128))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        """Let nobody in any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class DataCentre:
    """See the module. ``computes`` are the compute hosts, ``client`` is the world outside."""

    def __init__(self, workdir: Path, amqp_url: str, mysql_url: str, guest_image: Path,
                 computes: int = 2) -> None:
        self.image = guest_image
        self.cloud = Cloud(data=workdir, address=CONTROLLER)
        self.cloud.add_services(["nova"])
        self._urls = amqp_url, mysql_url
        self._ended = contextlib.ExitStack()
        self.controller = PretendHost("controller", libvirt=False, public=False)
        self.network = PretendHost("network", libvirt=False)
        self.computes = [PretendHost(f"compute{n}", libvirt=False, public=False)   # see _start()
                         for n in range(1, computes + 1)]
        self.hosts = [self.controller, self.network, *self.computes]
        self.processes: dict[str, object] = {}
        self.seconds: dict[str, float] = {}
        self._keys: list[str] = []

    def __enter__(self) -> "DataCentre":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.stop, list(self.processes)))
        self._ended.close()

    @contextlib.contextmanager
    def _timed(self, what: str):
        started = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - started, 1)

    # -- hosts and cables ----------------------------------------------------------------------

    def _start(self) -> None:
        """Bring everything up, each part as soon as what it needs is there."""
        for name in ("admin", "demo", "glance", "nova"):    # made once, before there are threads
            self.cloud.secret(name)
        with self._timed("all"), ThreadPoolExecutor() as pool:
            # What is written to files needs no hosts, and hosts need none of it.
            files = {name: pool.submit(self._timed_call, f"{name}'s database", prepare, self.cloud)
                     for name, prepare in (("keystone", identity.prepare),
                                           ("glance", glance_config.prepare))}
            with self._timed("hosts"):
                for made in [pool.submit(self._ended.enter_context, host) for host in self.hosts]:
                    made.result()
                self.client = self.network.client
                self._cables()
            libvirt = [pool.submit(self._timed_call, f"libvirt on {host.name}",
                                   host.start_libvirt) for host in self.computes]
            rows = pool.submit(self._timed_call, "nova's database", self._fill_nova)
            with self._timed("keystone and glance"):
                self._start_foundation(files)
            rows.result()
            for one in libvirt:
                one.result()
            with self._timed("nova, from then on"):
                self._start_nova()

    def _timed_call(self, what: str, function, *arguments):
        with self._timed(what):
            return function(*arguments)

    def _cables(self) -> None:
        """Two switches in a namespace of their own: management, and the wire of guests."""
        switch = Namespace(PretendHost._hold([], "ip link set lo up; exec cat"), ("net",))
        self._ended.callback(switch.end)
        self._wait(lambda: "UP" in switch.run(["ip", "link", "show", "lo"]).stdout, "the switch")
        for name in ("management", "guests"):
            switch.run(["ip", "link", "add", name, "type", "bridge", "forward_delay", "0"],
                       check=True)
            switch.run(["ip", "link", "set", name, "up"], check=True)
        for number, host in enumerate(self.hosts):
            cable(host, "eth0", switch, f"m{number}")
            switch.run(["ip", "link", "set", f"m{number}", "master", "management"], check=True)
            host.run(["ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0"],
                     check=True)
            if host is not self.controller:     # no address: a bridge takes it
                cable(host, "eth1", switch, f"g{number}")
                switch.run(["ip", "link", "set", f"g{number}", "master", "guests"], check=True)
        for url, port in zip(self._urls, (5672, 3306), strict=True):
            parts = urlsplit(url)
            door = Door(self.controller, CONTROLLER, port, (parts.hostname, parts.port))
            self._ended.callback(door.close)

    def address(self, host: PretendHost) -> str:
        """Where a host is reached by the others."""
        if host is self.controller:
            return CONTROLLER
        if host is self.network:
            return NETWORK
        return COMPUTE.format(31 + self.computes.index(host))

    # -- daemons -------------------------------------------------------------------------------

    def _start_foundation(self, prepared: dict[str, Future]) -> None:
        daemons = {"keystone": identity.daemon(self.cloud),
                   "glance": glance_config.daemons(self.cloud)[0]}
        for name, daemon in daemons.items():
            prepared[name].result()
            self._popen(daemon.name, self.controller, daemon.command)
        for name, port, path in (("keystone", "identity", "/v3"),
                                 ("glance-api", "image", "/healthcheck")):
            self._wait(lambda port=port, path=path: self._status(
                self.controller, CONTROLLER, self.cloud.port(port), path) == 200, name)
        self.outside("identity.Identity(cloud).fill()")

    def outside(self, statement: str) -> str:
        """Run a statement on `cloud` on the controller, where the addresses of the APIs are."""
        program = (f"import sys; sys.path.insert(0, {str(CHECKOUT / 'tools')!r})\n"
                   "from pathlib import Path\n"
                   "from stacklib import identity\nfrom stacklib.layout import Cloud\n"
                   f"cloud = Cloud(data=Path({str(self.cloud.data)!r}), address={CONTROLLER!r})\n"
                   f"cloud.add_services(['nova'])\n{statement}\n")
        return self.controller.run([sys.executable, "-W", "ignore", "-c", program],
                                   check=True).stdout

    def _status(self, host: PretendHost, address: str, port: int, path: str) -> int:
        done = host.run(["curl", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}",
                         f"http://{address}:{port}{path}"])
        return int(done.stdout or 0)

    def config(self, host: PretendHost, name: str, apis: str, monitor: int) -> Path:
        """Write the configuration of a daemon on a host, as an operator would."""
        amqp, mysql = (url.replace("127.0.0.1", CONTROLLER).replace("localhost", CONTROLLER)
                       for url in self._urls)
        state = host.workdir / "nova"
        state.mkdir(mode=0o755, exist_ok=True)
        path = host.workdir / f"{name}.conf"
        path.write_text(NOVA.format(
            host=host.name, my_ip=self.address(host), state=state, broker=amqp, database=mysql,
            tgt=self._tgt(host),
            public="pub" if host is self.network else "", apis=apis, monitor=monitor,
            checkout=CHECKOUT, identity=self.cloud.url("identity"),
            image=self.cloud.url("image"), password=self.cloud.secret("nova"))
            .replace("public_interface = \n", "")
            + glance_config.authtoken(self.cloud, "nova"))
        path.chmod(0o600)
        return path

    def _fill_nova(self) -> None:
        self.manage("db", "sync")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda command: self.manage(*command), [
                ["flavor", "create", "m1.nano", "--id", "1", "--vcpus", "1", "--memory", "128",
                 "--disk", "1"],
                ["network", "create", "private", "10.77.0.0/24", "--bridge", "br100",
                 "--bridge-interface", "eth1"],
                ["network", "create", "public", "172.24.4.0/24", "--external"]]))
        self.manage("floating", "create", "public", "172.24.4.128-172.24.4.140")

    def _start_nova(self) -> None:
        self._popen("tgtd", self.network, ["env", f"TGT_IPC_SOCKET={self._tgt(self.network)}",
                                           "tgtd", "-f", "--iscsi", f"portal={NETWORK}:3260",
                                           "--control-port", "1"])
        for host in self.computes:
            self.start(f"nova-compute-{host.name}", host)
        self.start("nova-network", self.network)
        self.start("nova-metadata", self.network, "metadata")
        self.start("nova-volume", self.network)
        self.start("nova-scheduler", self.controller)
        self.start("nova-api", self.controller, "compute,network,volume,ec2")
        for name in [name for name in self.processes if name.startswith("nova-")]:
            self._wait(lambda name=name: self.well(name), name, name)

    @staticmethod
    def _tgt(host: PretendHost) -> Path:
        """What tgtd makes the name of its management socket of, with a number behind."""
        return host.work / "tgt"

    def manage(self, *arguments: str) -> str:
        """Run nova-manage on the controller."""
        config = self.controller.workdir / "nova-manage.conf"
        if not config.exists():
            self.config(self.controller, "nova-manage", "compute", 0)
        return self.controller.run(
            [sys.executable, "-m", "nova.cmd.manage.main", "--config-file", config, *arguments],
            check=True).stdout

    def start(self, name: str, host: PretendHost, apis: str = "compute") -> None:
        """Start a daemon of nova: its name is nova-WHAT, or nova-WHAT-HOST."""
        what = name.split("-")[1]
        monitor = MONITOR + sum(one.startswith("nova-") for one in self.processes)
        module = {"metadata": "api"}.get(what, what)
        self._popen(name, host, [sys.executable, "-m", f"nova.cmd.{module}", "--config-file",
                                 str(self.config(host, name, apis, monitor))])
        self.processes[name].place = host, monitor

    def well(self, name: str) -> bool:
        """Whether a daemon says of itself that it is well."""
        host, monitor = self.processes[name].place
        return self._status(host, "127.0.0.1", monitor, "/healthz") == 200

    def _popen(self, name: str, host: PretendHost, command: list[str]) -> None:
        self.cloud.log.mkdir(parents=True, exist_ok=True)
        with open(self.cloud.log / f"{name}.log", "ab") as log:
            self.processes[name] = host.popen(command, stdout=log, stderr=log,
                                              start_new_session=True)

    def log(self, name: str) -> str:
        """What a daemon has said so far."""
        return (self.cloud.log / f"{name}.log").read_text(errors="replace")

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL for what does not go, as tgtd while it has targets."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL if name == "tgtd" else signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_TIMEOUT)

    def _wait(self, condition, what: str, daemon: str | None = None) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            ended = daemon and self.processes[daemon].poll() is not None
            assert not ended and time.monotonic() < deadline, \
                f"{what}: not there. {self.log(daemon)[-3000:] if daemon else ''}"
            time.sleep(0.2)

    # -- clients -------------------------------------------------------------------------------

    def environment(self, user: str = "demo") -> dict[str, str]:
        """What `openstack` needs of its shell."""
        return {"OS_AUTH_URL": self.cloud.url("identity", "/v3"), "OS_IDENTITY_API_VERSION": "3",
                "OS_USERNAME": user, "OS_PASSWORD": self.cloud.secret(user),
                "OS_PROJECT_NAME": user, "OS_USER_DOMAIN_ID": "default",
                "OS_PROJECT_DOMAIN_ID": "default", "OS_REGION_NAME": "RegionOne",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8",
                "HOME": str(self.cloud.data)}

    def _as(self, variables: dict[str, str], command: list[str], timeout: float) -> str:
        return self.controller.run(
            ["env", *(f"{key}={value}" for key, value in variables.items()), *command],
            check=True, timeout=timeout).stdout

    def openstack(self, *arguments: str, user: str = "demo", timeout: float = 300.0) -> str:
        """Run the `openstack` client on the controller; its output."""
        return self._as(self.environment(user), ["openstack", *map(str, arguments)], timeout)

    def sdk(self, program: str, user: str = "demo", timeout: float = 300.0) -> str:
        """Run a program with `cloud`, an openstacksdk connection, on the controller; its output."""
        text = ("import openstack\n"
                "cloud = openstack.connect(cloud='envvars')\n" + program)
        return self._as(self.environment(user), [sys.executable, "-W", "ignore", "-c", text],
                        timeout)

    def boto3(self, program: str, timeout: float = 300.0) -> str:
        """Run a program with `ec2`, a boto3 client, and `wait(waiter, **ids)`; its output."""
        text = ("import json, boto3\n"
                "ec2 = boto3.client('ec2')\n"
                "def wait(name, **what):\n"
                "    ec2.get_waiter(name).wait(WaiterConfig={'Delay': 1, 'MaxAttempts': 240}, "
                "**what)\n" + program)
        return self._as(self._aws(), [sys.executable, "-c", text], timeout)

    def _aws(self) -> dict[str, str]:
        """What `aws` and boto3 need of their shell; the keys are made once."""
        if not self._keys:
            self._keys = self.outside("print(*identity.Identity(cloud).ec2_keys())").split()
        access, secret = self._keys
        return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_DEFAULT_REGION": "RegionOne",
                "AWS_ENDPOINT_URL_EC2": self.cloud.url("ec2", "/services/Cloud"),
                "HOME": str(self.cloud.data)}


def remove(path: Path) -> None:
    """Remove a data centre's folder."""
    shutil.rmtree(path, ignore_errors=True)


__all__ = ["DataCentre", "Door", "remove"]
