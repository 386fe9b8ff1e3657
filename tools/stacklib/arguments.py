# SPDX-License-Identifier: Apache-2.0
"""The command line of tools/stack. Standard library only: it is read before anything exists."""
import argparse
import ipaddress
import re
from pathlib import Path

from .layout import COMPUTES_MAX, MONITOR, MONITORS, SERVICES, default_data

ENV_KINDS = ("openrc", "clouds", "aws")
PORT_BASE_MAX = 65535 - MONITOR - MONITORS  # the highest of our ports must still be one


def port_base(text: str) -> int:
    """A number that leaves every shifted port a port."""
    number = int(text)
    if not 0 <= number <= PORT_BASE_MAX:
        raise argparse.ArgumentTypeError(f"between 0 and {PORT_BASE_MAX}")
    return number


BROKERS = ("amqp://", "amqps://")
SERVERS = ("mysql+pymysql://", "postgresql+psycopg2://")


def broker(text: str) -> str:
    """A URL of RabbitMQ."""
    if not text.startswith(BROKERS):
        raise argparse.ArgumentTypeError(f"begins with {' or '.join(BROKERS)}")
    return text


def server(text: str) -> str:
    """A URL of a database server."""
    if not text.startswith(SERVERS):
        raise argparse.ArgumentTypeError(f"begins with {' or '.join(SERVERS)}")
    return text


def address(text: str) -> str:
    """An IPv4 address."""
    return str(ipaddress.IPv4Address(text))


def computes(text: str) -> int:
    """A number of compute workers."""
    number = int(text)
    if not 1 <= number <= COMPUTES_MAX:
        raise argparse.ArgumentTypeError(f"between 1 and {COMPUTES_MAX}")
    return number


def policy(text: str) -> str:
    """A storage policy: NAME, NAME:replication or NAME:ec:K+M; the first means the second."""
    if not re.fullmatch(r"[A-Za-z0-9-]+(:replication|:ec:[0-9]{1,2}\+[0-9]{1,2})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME[:replication|:ec:K+M], a name of "
                                         "letters, digits and -")
    return text if ":" in text else f"{text}:replication"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command and its options; a mistake ends the program with the usage."""
    parser = argparse.ArgumentParser(
        prog="tools/stack", description="The whole cloud on this machine, by one command.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=lambda text: Path(text).absolute(), default=default_data(),
                        metavar="DIR", help="where everything is kept (default %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], help=text, description=text)

    up = command("up", "install what is missing, start everything, boot a first server")
    up.add_argument("services", nargs="*", metavar="SERVICE", help=f"of {' '.join(SERVICES)}; "
                    "what they need comes along (default all, or what this stack had)")
    up.add_argument("--compute", choices=("libvirt", "fake"),
                    help="real machines, or pretended ones (default libvirt where it answers)")
    up.add_argument("--port-base", type=port_base, metavar="N", help="add N to every port")
    up.add_argument("--address", type=address, metavar="IP",
                    help="where the APIs listen (default 127.0.0.1)")
    up.add_argument("--broker", type=broker, metavar="URL", help="every worker of nova a daemon of "
                    "its own over this RabbitMQ (amqp://user:password@host/virtual_host)")
    up.add_argument("--db", type=server, metavar="URL", help="databases on this server "
                    "(mysql+pymysql://user:password@host/ or postgresql+psycopg2://...)")
    up.add_argument("--computes", type=computes, metavar="N",
                    help="so many compute workers of the fake driver; needs --broker")
    up.add_argument("--volumes", choices=("file", "iscsi"), help="how servers reach their volumes: "
                    "as files of this machine (default) or over iSCSI, from a tgtd of the stack")
    up.add_argument("--policy", type=policy, action="append", default=[], metavar="NAME[:KIND]",
                    help="a storage policy of swift besides Policy-0: replication (default; three "
                    "copies) or ec:K+M (erasure coded); may be given several times, and later")
    up.add_argument("--no-packages", action="store_true", help="install no Debian packages")
    command("down", "end the daemons; data and running guests stay")
    one = command("status", "what runs, what it answers, what it costs")
    one.add_argument("--json", action="store_true")
    one = command("env", "what clients need to reach this stack")
    one.add_argument("kind", nargs="?", choices=ENV_KINDS, default=ENV_KINDS[0])
    one.add_argument("--user", choices=("demo", "admin"), default="demo")
    one = command("logs", "the log of one daemon")
    one.add_argument("-f", "--follow", action="store_true")
    one.add_argument("name", metavar="NAME")
    one = command("reset", "remove the stack with everything in it")
    one.add_argument("--yes", action="store_true", help="do not ask")
    command("doctor", "what this machine has and lacks")
    options = parser.parse_args(arguments)
    unknown = set(getattr(options, "services", ())) - set(SERVICES)
    if unknown:
        up.error(f"no such service: {', '.join(sorted(unknown))}")
    return options
