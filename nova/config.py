# SPDX-License-Identifier: Apache-2.0
"""Options that belong to no single room, and how a program reads its configuration."""

import importlib.metadata
import logging
import os
import socket
import stat
import sys
import warnings
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

VERSION = importlib.metadata.version("snakestack")

OPTS = [
    cfg.StrOpt("host", default=socket.gethostname(), sample_default="<host name>",
               help="Name of this node: in the table of services, in names of queues. Workers of "
                    "one kind on different nodes need different ones, and a worker must keep "
                    "its own for ever: its instances are known by it."),
    cfg.StrOpt("state_path", default="/var/lib/nova",
               help="Directory of everything that is kept on this node."),
    cfg.StrOpt("my_ip", default="127.0.0.1",
               help="Address other nodes and guests reach this node at."),
    cfg.StrOpt("default_availability_zone", default="nova",
               help="Availability zone of workers that are given no other."),
    cfg.IntOpt("report_interval", default=10, min=1,
               help="Seconds between two heartbeats of a worker. A heartbeat is written when a "
                    "message the worker sent to itself through the broker has come back."),
    cfg.IntOpt("service_down_time", default=60, min=2,
               help="A worker whose last heartbeat is older than this many seconds is down."),
    cfg.IntOpt("message_patience", default=10, min=1,
               help="Seconds after which a worker does what a row asks for although no message "
                    "has told it to: the message may be lost. It looks as often."),
    cfg.IntOpt("graceful_shutdown_timeout", default=60, min=0,
               help="Seconds that running requests and messages are given to end after SIGTERM."),
]
CONF = cfg.CONF
LOG = logging.getLogger(__name__)
CONF.register_opts(OPTS)

# Other people's chatter, kept to what an operator can do something about.
QUIET = [
    "amqp=WARNING", "kombu=WARNING", "sqlalchemy=WARNING", "alembic=WARNING", "urllib3=ERROR",
    "requests=WARNING", "keystonemiddleware=WARNING", "keystoneauth=WARNING",
    "routes.middleware=WARNING", "stevedore=WARNING", "oslo_policy=WARNING",
    "eventlet.wsgi=WARNING"]

log.register_options(CONF)


def initialize(argv: Sequence[str], prog: str) -> None:
    """Read command line and files (``--config-file``, ``--config-dir``), then set up the log.

    Wrong options end the program with a message.
    """
    log.set_defaults(default_log_levels=QUIET)
    CONF(list(argv), project="nova", prog=prog, version=VERSION)
    set_up_log()


def check_places() -> None:
    """Refuse a state directory somebody else may write; warn of readable configuration.

    What is in ``state_path`` is trusted, and the files have passwords in them.  PermissionError
    names the directory.  One that is not there yet is made.
    """
    os.makedirs(CONF.state_path, mode=0o755, exist_ok=True)
    found = os.stat(CONF.state_path)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"state_path: {CONF.state_path} belongs to somebody else or can be "
                              "written by others")
    for path in CONF.config_file or ():
        if os.stat(path).st_mode & stat.S_IRWXO:
            LOG.warning("%s can be read or written by everybody on this machine", path)


def set_up_log() -> None:
    """Log as the options say."""
    log.setup(CONF, "nova", VERSION)
    if not sys.warnoptions:
        warnings.simplefilter("ignore", DeprecationWarning)
    logging.captureWarnings(True)
