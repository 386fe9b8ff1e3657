# SPDX-License-Identifier: Apache-2.0
"""What a stack is: its data directory, services, ports and secrets.

    cloud = Cloud.load(Path("/var/lib/snakestack"))   # or Cloud(data=...) for a new one
    cloud.port("image"), cloud.url("image"), cloud.secret("admin")

Two files are the truth: stack.json (what was asked for, and what was found out once) and
secrets.json (mode 0600, made once). Everything else under etc/ is written anew by each `up`.
"""
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .packages import CHECKOUT
from .progress import StackError

ADDRESS = "127.0.0.1"
SERVICES = ("keystone", "swift", "glance", "nova")
# what each needs besides itself
NEEDS = {"glance": ("keystone",), "nova": ("keystone", "glance")}
# the ports everybody expects; --port-base N adds N to each
PORTS = {"identity": 5000, "image": 9292, "compute": 8774, "metadata": 8775, "network": 9696,
         "ec2": 8773, "volume": 8776, "iscsi": 3260, "object-store": 8080,
         "object": 6200, "container": 6201, "account": 6202}
# health and metrics of nova's daemons, from here on; ends before network's 9696 + 100
MONITOR, MONITORS = 9710, 80
COMPUTES_MAX = 64
OWNER = {"identity": "keystone", "image": "glance", "compute": "nova", "metadata": "nova",
         "network": "nova", "ec2": "nova", "volume": "nova", "iscsi": "nova",
         "object-store": "swift", "object": "swift", "container": "swift", "account": "swift"}
REGION = "RegionOne"


def default_data() -> Path:
    """$SNAKESTACK_DATA; else for root /var/lib/snakestack, which QEMU's user can reach, and
    ~/.local/share/snakestack for everybody else."""
    given = os.environ.get("SNAKESTACK_DATA")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/snakestack")
    return Path.home() / ".local/share/snakestack"


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """The file has either its old or its new content, whatever dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.rename(partial, path)


@dataclass
class Cloud:
    """One stack. `facts` holds what is found out or chosen once and must stay: bridge, network,
    whether KVM works, ids of what was made."""

    data: Path
    services: list[str] = field(default_factory=list)
    compute: str = "libvirt"
    broker: str = ""  # URL; empty: messages stay in one process
    db: str = ""  # URL of a database server; empty: SQLite
    computes: int = 1
    volumes: str = "file"  # or "iscsi": how servers reach their volumes
    policies: list[str] = field(default_factory=list)  # of swift, besides Policy-0, by number
    address: str = ADDRESS  # where Keystone, glance and nova listen
    port_base: int = 0
    facts: dict[str, object] = field(default_factory=dict)

    @classmethod
    def load(cls, data: Path) -> "Cloud":
        """The stack of a data directory.

        :raises StackError: there is none, or its stack.json cannot be read
        """
        try:
            values = json.loads((data / "stack.json").read_text())
        except FileNotFoundError:
            raise StackError(f"no stack in {data}: start one with tools/stack up") from None
        except ValueError as error:
            raise StackError(f"{data}/stack.json cannot be read: {error}") from None
        return cls(data=data, **values)

    @staticmethod
    def exists(data: Path) -> bool:
        return (data / "stack.json").exists()

    def save(self) -> None:
        values = asdict(self)
        del values["data"]
        # the URLs of others' servers have passwords in them
        write_atomically(self.data / "stack.json", json.dumps(values, indent=1) + "\n", 0o600)

    def add_services(self, names: list[str]) -> None:
        """These services and what they need, in the order they start."""
        wanted = {*self.services, *names, *(need for name in names for need in NEEDS.get(name, ()))}
        self.services = [name for name in SERVICES if name in wanted]

    def has(self, service: str) -> bool:
        return service in self.services

    def port(self, name: str) -> int:
        return PORTS[name] + self.port_base

    def ports(self) -> list[str]:
        """Names of the ports this stack listens on."""
        return [name for name, service in OWNER.items() if self.has(service)
                and (name != "iscsi" or self.volumes == "iscsi")]

    def monitor(self, number: int) -> int:
        """The port of the health and metrics of nova's daemon of this number, from 0."""
        return MONITOR + number + self.port_base

    def url(self, name: str, path: str = "") -> str:
        return f"http://{self.address}:{self.port(name)}{path}"

    def secret(self, name: str) -> str:
        """A password of this stack, made on first use and kept."""
        path = self.data / "secrets.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if name not in known:
            known[name] = secrets.token_hex(16)
            write_atomically(path, json.dumps(known, indent=1) + "\n", 0o600)
        return known[name]

    @property
    def etc(self) -> Path:
        return self.data / "etc"

    @property
    def log(self) -> Path:
        return self.data / "log"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def checkout(self) -> Path:
        return CHECKOUT
