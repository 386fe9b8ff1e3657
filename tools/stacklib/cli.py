# SPDX-License-Identifier: Apache-2.0
"""The commands of tools/stack, inside the product's environment; usage: tools/stack --help."""
import argparse
import os
import shutil
import subprocess
import sys

from . import (
    daemons,
    doctor,
    env,
    first,
    glance_config,
    guest,
    identity,
    nova_config,
    outside,
    probe,
    status,
    swift_config,
    swift_policies,
)
from .image import guest_image
from .layout import SERVICES, Cloud
from .packages import InstallError
from .progress import StackError, notice, say, step, total
from .supervise import Supervisor


def choose_compute(cloud: Cloud, asked: str | None) -> None:
    """libvirt when it is wanted and answers, else the fake driver with a notice that cannot be
    overlooked. What was asked for explicitly is never replaced.

    :raises StackError: libvirt was asked for and cannot be had
    """
    known = cloud.facts.get("compute")
    if known and asked and asked != known:
        raise StackError(f"the servers of this stack are the {known} driver's; give another "
                         f"--data for --compute {asked}")
    cloud.compute = str(known or asked or cloud.compute)
    if not cloud.has("nova"):
        return
    if cloud.compute == "fake":
        if not asked:
            notice("NO REAL MACHINES: servers of this stack are pretended by the fake driver.")
        cloud.facts["compute"] = "fake"
        return
    reason = ""
    if os.geteuid() != 0:
        reason = "the libvirt driver's network needs root"
    else:
        with step("libvirt answers"):
            try:
                probe.start_libvirt()
            except StackError as error:
                reason = str(error)
        if not reason and not probe.reachable_by("libvirt-qemu", cloud.data):
            reason = (f"the user libvirt-qemu cannot reach {cloud.data}: choose another --data or "
                      "open the folders above it")
    if not reason:
        with step("guest image"):
            image = guest_image(cloud.data / "cache")
        with step("KVM or TCG"):
            virt = "kvm" if probe.kvm_works(cloud.facts, image) else "qemu"
        cloud.facts["virt_type"], cloud.facts["compute"] = virt, "libvirt"
        say(f"  guests run under {'KVM' if virt == 'kvm' else 'TCG, without hardware help'}")
        return
    if asked:
        raise StackError(f"--compute libvirt: {reason}")
    if known:
        raise StackError(f"this stack has real servers, but {reason}")
    cloud.compute = cloud.facts["compute"] = "fake"
    notice("NO REAL MACHINES: servers of this cloud are pretended by the fake driver, because",
           reason + ".")


def command_up(options: argparse.Namespace) -> int:
    """Everything runs and answers; with nova, a first server runs as well."""
    if Cloud.exists(options.data):
        cloud = Cloud.load(options.data)
        if options.port_base is not None and options.port_base != cloud.port_base:
            raise StackError(f"{options.data} has port base {cloud.port_base}; it is in its rings "
                             "and its catalog and cannot be changed")
        cloud.add_services(options.services)
    else:
        cloud = Cloud(data=options.data, port_base=options.port_base or 0)
        cloud.add_services(options.services or list(SERVICES))
    choose_workers(cloud, options)
    swift_policies.choose(cloud, options.policy)
    cloud.data.mkdir(parents=True, exist_ok=True)
    say(f"stack in {cloud.data}: {' '.join(cloud.services)}")
    choose_compute(cloud, options.compute)
    supervisor = Supervisor(cloud)
    refuse_others(cloud, supervisor)
    cloud.save()
    prepare(cloud)
    wanted = daemons.of(cloud)
    with step("supervisor"):
        supervisor.up(wanted)
    for daemon in wanted:  # all start at once, then each is waited for
        supervisor.start(daemon.name)
    for daemon in wanted:
        with step(f"{daemon.name} answers"):
            supervisor.bring_up(daemon)
        if daemon.name == "keystone":
            with step("users, roles and catalog"):
                identity.Identity(cloud).fill()
                cloud.save()
    if cloud.has("nova"):
        first.first_server(cloud)
        cloud.save()
    say(f"up in {total():.1f} s")
    for line in env.hint(cloud):
        say(line)
    return 0


def choose_workers(cloud: Cloud, options: argparse.Namespace) -> None:
    """Database server, broker and the number of compute workers, as far as they are new.

    :raises StackError: they do not fit together, or not what this stack has
    """
    outside.choose(cloud, options.broker, options.db, options.address)
    if options.volumes and Cloud.exists(cloud.data) and options.volumes != cloud.volumes:
        raise StackError(f"this stack's --volumes is {cloud.volumes}, chosen with its first up; "
                         "give another --data")
    cloud.volumes = options.volumes or cloud.volumes
    wanted = options.computes or cloud.computes
    if wanted < cloud.computes:
        raise StackError(f"this stack has {cloud.computes} compute workers, and servers may be on "
                         "any of them: there can only be more")
    if wanted > 1 and not cloud.broker:
        raise StackError("--computes needs --broker: workers of their own talk through one")
    if wanted > 1 and (options.compute or cloud.facts.get("compute")) == "libvirt":
        raise StackError("--computes needs --compute fake: one libvirtd is one host")
    if wanted > 1:
        options.compute = "fake"
    cloud.computes = wanted


def refuse_others(cloud: Cloud, supervisor: Supervisor) -> None:
    """A port or queues that somebody else holds are named before anything is started."""
    if supervisor.alive():
        return
    supervisor.end_orphans()
    wanted = [(name, cloud.port(name)) for name in cloud.ports()]
    if cloud.has("nova"):
        wanted += nova_config.monitor_ports(cloud)
    taken = [f"{name} {port}" for name, port in wanted if probe.tcp_open(cloud.address, port)]
    if taken:
        raise StackError(f"these ports are in use by others: {', '.join(taken)}; "
                         "give --port-base N to shift all ports by N")
    if cloud.has("nova"):
        outside.refuse_foreign_queues(cloud)


def prepare(cloud: Cloud) -> None:
    """Configuration, databases and rings exist."""
    if cloud.db:
        with step("databases on the server"):
            outside.prepare(cloud)
    if cloud.has("keystone"):
        with step("Keystone's database and keys"):
            identity.prepare(cloud)
    if cloud.has("swift"):
        with step("rings and configuration of swift"):
            swift_config.prepare(cloud)
    if cloud.has("glance"):
        with step("database and configuration of glance"):
            glance_config.prepare(cloud)
    if cloud.has("nova"):
        with step("database and configuration of nova"):
            nova_config.prepare(cloud)


def command_down(options: argparse.Namespace) -> int:
    """Every daemon ended; data and running guests stay."""
    cloud = Cloud.load(options.data)
    with step("daemons end"):
        Supervisor(cloud).down()
    guests = guest.running(cloud)
    if guests:
        say(f"running on: {', '.join(guests)} (guests belong to libvirtd, not to this stack)")
    return 0


def command_reset(options: argparse.Namespace) -> int:
    """Daemons, guests, network and data of this stack are gone."""
    cloud = Cloud.load(options.data)
    if not options.yes:
        if not sys.stdin.isatty():
            raise StackError(f"reset removes {cloud.data} with everything in it: add --yes")
        if input(f"remove {cloud.data} with all servers, images and objects? [y/N] ") != "y":
            return 1
    with step("daemons end"):
        Supervisor(cloud).down()
    with step("guests, bridges and rules"):
        guest.remove_all(cloud)
    if cloud.db or cloud.broker:
        with step("databases and queues"):
            outside.remove(cloud)
    with step(f"remove {cloud.data}"):
        shutil.rmtree(cloud.data)
    return 0


def command_logs(options: argparse.Namespace) -> int:
    """Print the log of one daemon, or follow it."""
    cloud = Cloud.load(options.data)
    known = sorted(path.stem for path in cloud.log.glob("*.log"))
    if options.name not in known:
        raise StackError(f"no log {options.name!r}; there are {', '.join(known)}")
    path = str(cloud.log / f"{options.name}.log")
    return subprocess.call(["tail", "-n", "200", *(["-F"] if options.follow else []), path])


def command_status(options: argparse.Namespace) -> int:
    return status.show(Cloud.load(options.data), as_json=options.json)


def command_env(options: argparse.Namespace) -> int:
    say(env.render(Cloud.load(options.data), options.kind, options.user))
    return 0


def command_doctor(options: argparse.Namespace) -> int:
    return doctor.examine(options.data)


COMMANDS = {"up": command_up, "down": command_down, "status": command_status, "env": command_env,
            "logs": command_logs, "reset": command_reset, "doctor": command_doctor}


def main(options: argparse.Namespace) -> int:
    """Run one command; its exit code. Errors of the user's making come without a traceback."""
    try:
        return COMMANDS[options.command](options)
    except (StackError, InstallError) as error:
        print(f"\ntools/stack: {error}", file=sys.stderr)
        return 1
