# SPDX-License-Identifier: Apache-2.0
"""Debian packages and virtual environments, with the standard library alone.

    apt_install(COMPUTE)       # says what it will install, does nothing when all is there
    product_venv(test=True)    # CHECKOUT/.venv, editable, pinned by tools/constraints.txt

An environment is made again only when what defines it (the distribution in setup.cfg, the
constraints) changed: a digest of those is kept inside it, written last, so an interrupted install
is repeated.
"""
import configparser
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PRODUCT_VENV = CHECKOUT / ".venv"
KEYSTONE_VENV = CHECKOUT / ".venv-keystone"
CONSTRAINTS = CHECKOUT / "tools/constraints.txt"
KEYSTONE_CONSTRAINTS = CHECKOUT / "tools/constraints-keystone.txt"
APT_TIMEOUT = 900  # seconds for one apt-get command
LOCK_TIMEOUT = 300  # seconds to wait for another apt-get
PIP_TIMEOUT = 900

BUILD = ["python3-venv", "python3-dev", "gcc", "pkg-config"]
# what libvirt-python is compiled against: every rung of the tests has that binding
LIBVIRT_BUILD = ["libvirt-dev"]
# what tools/make-guest-image is made from
GUEST_IMAGE = ["busybox-static", "dropbear-bin", "syslinux", "syslinux-common", "mtools",
               "e2fsprogs", "cpio", "qemu-utils"]
COMPUTE = ["libvirt-daemon-system", "libvirt-clients", *LIBVIRT_BUILD, "qemu-system-x86",
           "qemu-utils", "qemu-block-extra", "dnsmasq-base", "iptables", "ebtables", "iproute2",
           "iputils-arping", "conntrack", "openssh-client", "genisoimage", "tgt"]
KEYSTONE = ["keystone", "waitress", "python-memcached", "PyMySQL", "psycopg2-binary"]
# what people talk to the stack with; put beside it, so that `up` alone is enough to try it
CLIENTS = ["python-openstackclient", "python-swiftclient", "openstacksdk"]
TEST = ["rabbitmq-server", "mariadb-server", "postgresql", "memcached", "curl", "openssl",
        "netcat-openbsd", "rsync", "xfsprogs"]


class InstallError(Exception):
    """Something could not be installed; the text says what and what to do."""


def say(text: str) -> None:
    """One line of progress, at once."""
    print(text, flush=True)


def _installed(names: Iterable[str]) -> set[str]:
    """Which of `names` dpkg has installed."""
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *names],
        capture_output=True, text=True, timeout=60, check=False)
    rows = (line.split() for line in query.stdout.splitlines())
    return {row[0] for row in rows if len(row) > 1 and row[1].startswith("ii")}


def missing(names: Iterable[str]) -> list[str]:
    """Debian packages among `names` that are not installed, each once, in order."""
    names = list(dict.fromkeys(names))
    if not shutil.which("dpkg-query"):
        raise InstallError("not a Debian or Ubuntu: install by hand: " + " ".join(names))
    have = _installed(names)
    return [name for name in names if name not in have]


def apt_install(names: Iterable[str]) -> None:
    """Install what is missing of `names`, saying so first; as root only.

    :raises InstallError: packages are missing and cannot be installed by this user
    """
    wanted = missing(names)
    if not wanted:
        return
    listing = " ".join(wanted)
    if os.geteuid() != 0:
        raise InstallError(f"these packages are missing: run  apt-get install {listing}  as root")
    say(f"installing Debian packages: {listing}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    # a machine just made upgrades itself for its first minutes
    apt = ["apt-get", "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}"]
    install = [*apt, "install", "-y", "--no-install-recommends", *wanted]
    for attempt in (install, [*apt, "update"], install):
        done = subprocess.run(attempt, env=environment, capture_output=True, text=True,
                              timeout=APT_TIMEOUT, check=False)
        if attempt is install and done.returncode == 0:
            return
    raise InstallError(f"apt-get install {listing} failed:\n{done.stdout[-2000:]}{done.stderr}")


def _digest(files: Iterable[Path], *more: str) -> str:
    """What an environment was made from."""
    sha = hashlib.sha256()
    for path in files:
        sha.update(path.read_bytes())
    sha.update("\0".join(more).encode())
    return sha.hexdigest()


def _distribution() -> str:
    """The sections of setup.cfg that an install depends on; those of linters change freely."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(CHECKOUT / "setup.cfg")
    return repr([(name, sorted(parser[name].items())) for name in parser.sections()
                 if name.startswith(("metadata", "options"))])


@contextlib.contextmanager
def _locked(venv: Path) -> Iterator[None]:
    """One installer at a time for one environment; the kernel drops the lock with its holder."""
    venv.mkdir(exist_ok=True)
    with open(venv / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv(venv: Path, stamp: str, pip_arguments: list[str]) -> bool:
    """Make or refresh `venv` unless its stamp says it is what is asked for; True when it did."""
    note = venv / ".snakestack-stamp"
    with _locked(venv):
        if note.exists() and note.read_text().strip() == stamp:
            return False
        start = time.monotonic()
        say(f"virtual environment {venv}")
        if not (venv / "bin/python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
        pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet",
               "--disable-pip-version-check", *pip_arguments]
        done = subprocess.run(pip, cwd=CHECKOUT, timeout=PIP_TIMEOUT, check=False,
                              capture_output=True, text=True)
        if done.returncode:
            raise InstallError(f"{' '.join(pip)} failed:\n{done.stdout[-2000:]}"
                               f"{done.stderr[-4000:]}")
        note.write_text(stamp + "\n")
        say(f"virtual environment {venv.name}: {time.monotonic() - start:.1f} s")
    return True


def product_venv(test: bool = False, libvirt: bool = True, db: str = "") -> Path:
    """The environment of nova, glance and swift; its path.

    :param test: with what the tests need
    :param libvirt: with the libvirt binding, which is compiled against libvirt-dev
    :param db: with the driver of the database server of this URL
    """
    extras = [name for name, wanted in (
        ("erasure-coding", True), ("libvirt", libvirt), ("mysql", test or db.startswith("mysql")),
        ("postgresql", test or db.startswith("postgresql")), ("test", test)) if wanted]
    have = PRODUCT_VENV / ".snakestack-extras"
    if have.exists():  # never take away what an earlier command put in
        extras = sorted({*extras, *have.read_text().split()})
    spec = f".[{','.join(extras)}]" if extras else "."
    stamp = _digest([CONSTRAINTS], spec, _distribution(), *CLIENTS)
    if make_venv(PRODUCT_VENV, stamp, ["-c", str(CONSTRAINTS), "-e", spec, *CLIENTS]):
        have.write_text(" ".join(extras) + "\n")
    return PRODUCT_VENV


def keystone_venv() -> Path:
    """OpenStack Keystone and the server it runs under, apart from the product; its path."""
    stamp = _digest([KEYSTONE_CONSTRAINTS], *KEYSTONE)
    make_venv(KEYSTONE_VENV, stamp, ["-c", str(KEYSTONE_CONSTRAINTS), *KEYSTONE])
    return KEYSTONE_VENV
