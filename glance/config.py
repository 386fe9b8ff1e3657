# SPDX-License-Identifier: Apache-2.0
"""Configuration files, logging and paste pipelines of the daemons."""

from __future__ import annotations

import logging
import os
import pathlib
from typing import Any

from oslo_config import cfg
from oslo_log import log
from paste import deploy

from glance import exceptions

PASTE_OPTIONS = [
    cfg.StrOpt("flavor", default="keystone",
               help="Pipeline of the paste file: keystone or noauth for glance-api, keystone or "
                    "trusted for glance-registry."),
    cfg.StrOpt("config_file",
               help="Paste file; by default <program>-paste.ini beside the configuration file, "
                    "in /etc/glance, or in etc/glance of the source tree."),
]
PASTE_GROUP = "paste_deploy"
SERVER_OPTIONS = [
    cfg.HostAddressOpt("bind_host", default="0.0.0.0", help="Address to listen on."),
    cfg.IntOpt("backlog", default=1024, min=1, help="Length of the queue of new connections."),
    cfg.IntOpt("max_requests", default=1000, min=1,
               help="Connections served at a time; further ones wait."),
    cfg.IntOpt("client_socket_timeout", default=60, min=1,
               help="Seconds a client may stay silent in mid-request, or idle between two."),
    cfg.BoolOpt("http_keepalive", default=True,
                help="Let a connection carry more than one request."),
    cfg.IntOpt("graceful_shutdown_timeout", default=60, min=0,
               help="Seconds that requests in flight get when the service is told to stop."),
]
PORT_API = cfg.PortOpt("bind_port", default=9292, help="Port to listen on.")
PORT_REGISTRY = cfg.PortOpt("bind_port", default=9191, help="Port to listen on.")

# Chatty libraries whose INFO is noise in a service's log, and whose DEBUG shows tokens.
_LOG_LEVELS = ["amqp=WARN", "sqlalchemy=WARN", "keystonemiddleware=WARN", "keystoneauth=WARN",
               "urllib3=WARN", "requests=WARN", "stevedore=WARN", "routes.middleware=WARN",
               "alembic=WARN", "oslo_policy=WARN"]


def load(argv: list[str], program: str, conf: cfg.ConfigOpts = cfg.CONF) -> cfg.ConfigOpts:
    """Parse command line and configuration files and set up logging.

    `conf` is oslo.config's global object because keystonemiddleware reads its options there.
    """
    conf.register_opts(PASTE_OPTIONS, PASTE_GROUP)
    log.register_options(conf)
    log.set_defaults(default_log_levels=_LOG_LEVELS)
    conf(argv, project="glance", prog=program)
    log.setup(conf, "glance")
    logging.captureWarnings(True)
    return conf


def paste_file(conf: cfg.ConfigOpts, program: str) -> pathlib.Path:
    """The paste file in force; `ConfigurationError` if there is none."""
    name = f"{program}-paste.ini"
    configured = conf[PASTE_GROUP].config_file
    if configured:
        candidates = [pathlib.Path(configured)]
    else:
        beside = [pathlib.Path(path).resolve().parent / name for path in conf.config_file or ()]
        tree = pathlib.Path(__file__).resolve().parents[1] / "etc" / "glance" / name
        candidates = [*beside, pathlib.Path("/etc/glance") / name, tree]
    for path in candidates:
        if path.is_file():
            return path
    raise exceptions.ConfigurationError(
        "[paste_deploy] config_file: none of these exists: "
        + ", ".join(str(path) for path in candidates))


def load_app(conf: cfg.ConfigOpts, program: str) -> Any:
    """The WSGI application of the configured flavour."""
    path = paste_file(conf, program)
    name = f"{program}-{conf[PASTE_GROUP].flavor}"
    try:
        return deploy.loadapp(f"config:{os.fspath(path.resolve())}", name=name)
    except LookupError as error:
        raise exceptions.ConfigurationError(f"[paste_deploy] flavor: {error}") from None
