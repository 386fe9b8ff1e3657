# SPDX-License-Identifier: Apache-2.0
"""The units of etc/systemd start programs that exist, as those understand it."""
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNITS = sorted((ROOT / "etc/systemd").glob("*.service"))
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg")
SCRIPTS = dict(line.split(" = ") for line in SETUP["options.entry_points"][
    "console_scripts"].strip().splitlines())
# what a program that serves until it is told to end calls for that
SERVES = ("service.daemon(", "serve(conf", "run_server(", "run_servers(", "run_many(")
BACKGROUND = re.compile(r"return run\([A-Z]")   # of a class of swift.common.daemon
ACCOUNTS = {line.split()[1] for line in (ROOT / "etc/systemd/snakestack.sysusers").read_text(
    ).splitlines() if line.startswith("u ")}


def read(path):
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read(path)
    return unit


def module_of(name):
    return (ROOT / SCRIPTS[name].partition(":")[0].replace(".", "/")).with_suffix(".py").read_text()


def test_every_daemon_has_a_unit():
    have = {path.stem for path in UNITS}
    for name in SCRIPTS:
        text = module_of(name)
        daemon = any(call in text for call in SERVES) or bool(BACKGROUND.search(text))
        assert (name in have) == daemon, f"etc/systemd/{name}.service: needed: {daemon}"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_its_program_with_its_configuration(path):
    service = read(path)["Service"]
    program, *arguments = service["ExecStart"].split()
    assert program == path.stem and program in SCRIPTS
    files = [word for word in arguments if word.startswith("/")]
    assert files
    for file in files:
        sample = ROOT / "etc" / Path(file).relative_to("/etc")
        assert any(sample.with_name(sample.name + more).exists()
                   for more in ("", ".sample", "-sample")), file
    if "User" in service:
        assert service["User"] in ACCOUNTS
    # Else systemd ends what drains, or what a worker left running on purpose.
    assert service["KillMode"] in ("mixed", "process")
    assert int(service["TimeoutStopSec"]) > 60


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_who_says_ready_is_waited_for(path):
    """Type=notify for those that tell systemd: nova's services and all of swift, no others."""
    service, nova = read(path)["Service"], "service.daemon(" in module_of(path.stem)
    swift = path.stem.startswith("swift-")
    assert (service["Type"] == "notify") == (nova or swift)
    server = swift and path.stem.endswith("-server")
    assert ("ExecReload" in service) == (nova or server)
    # A swift server's successor, which is not the main process yet, says that it is from now on.
    assert (service.get("NotifyAccess") == "all") == server


def test_dnsmasq_outlives_the_network_worker():
    for name in ("nova-network", "nova-all"):
        assert read(ROOT / f"etc/systemd/{name}.service")["Service"]["KillMode"] == "process"
