# SPDX-License-Identifier: Apache-2.0
"""The web servers of nova: which APIs this process serves, where, through which filters."""

import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_config import cfg
from paste import deploy

from nova import concurrency

LOG = logging.getLogger(__name__)

PORTS = {"compute": 8774, "network": 9696, "metadata": 8775, "ec2": 8773, "volume": 8776}

OPTS = [
    cfg.ListOpt("enabled_apis", default=["compute", "network", "volume", "metadata"],
                item_type=cfg.types.String(choices=list(PORTS)),
                help="The APIs nova-api serves in its one process."),
    cfg.StrOpt("auth_strategy", default="keystone", choices=["keystone", "noauth"],
               help="Who says who calls: keystone, or noauth, which believes a token user:project "
                    "and is for tests and clouds without accounts."),
    cfg.StrOpt("paste_config", default="api-paste.ini",
               help="File of filters and applications, looked for beside nova.conf."),
    *(cfg.StrOpt(f"{name}_listen", default="0.0.0.0", help=f"Address of the {name} API.")
      for name in PORTS),
    *(cfg.PortOpt(f"{name}_port", default=port, help=f"Port of the {name} API.")
      for name, port in PORTS.items()),
    cfg.IntOpt("connections", default=1000, min=1,
               help="Connections one API serves at the same time; further ones wait."),
    cfg.IntOpt("idle_timeout", default=120, min=1,
               help="Seconds after which a connection on which nothing moves is closed."),
    cfg.BoolOpt("reuse_port", default=False,
                help="Let several processes of nova-api serve one port: the kernel spreads the "
                     "connections over them."),
    cfg.IntOpt("backlog", default=1024, min=1,
               help="Connections the kernel keeps for us until they are accepted."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "api")


def paste_file() -> str:
    """Return the path of the paste configuration; FileNotFoundError says where it was sought."""
    name = CONF.api.paste_config
    found = CONF.find_file(name)
    if found is None:
        beside = Path(__file__).resolve().parents[1] / "etc" / "nova" / name    # a checkout
        if not beside.is_file():
            raise FileNotFoundError(
                errno.ENOENT, "[api] paste_config is neither beside nova.conf nor in /etc/nova",
                name)
        found = str(beside)
    return found


def load_app(api: str) -> Callable[..., Any]:
    """Build an API with its filters from the paste configuration."""
    name = api if api == "metadata" else f"{api}-{CONF.api.auth_strategy}"
    return deploy.loadapp(f"config:{paste_file()}", name=name)


class WsgiService:
    """One API on its port: see :class:`nova.service.Service`."""

    def __init__(self, api: str) -> None:
        self.api = api
        self._app = load_app(api)
        self._server: concurrency.WebServer | None = None
        self.address: tuple[str, int] | None = None

    def start(self) -> None:
        """Listen and serve; OSError when the port is taken."""
        host, port = CONF.api[f"{self.api}_listen"], CONF.api[f"{self.api}_port"]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=CONF.api.backlog,
                                    reuse_port=CONF.api.reuse_port)
        # Inherited by what is accepted.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.address = sock.getsockname()[:2]
        self._server = concurrency.WebServer(
            sock, self._app, idle=CONF.api.idle_timeout, connections=CONF.api.connections)
        LOG.info("%s API on %s port %s", self.api, *self.address)

    def stop(self, grace: float) -> None:
        """Serve what is running to its end, at most ``grace`` seconds."""
        if self._server is not None:
            self._server.stop(grace)


def auth_token_factory(_global_conf: dict[str, str], **_local: str) -> Callable[..., Any]:
    """Return keystonemiddleware's filter, configured by nova's own [keystone_authtoken].

    It does not decide: whether a caller without a valid token may pass is the route's business.
    """
    from keystonemiddleware import auth_token

    def make(app: Callable[..., Any]) -> Callable[..., Any]:
        CONF.import_opt("delay_auth_decision", "keystonemiddleware.auth_token",
                        group="keystone_authtoken")
        CONF.set_default("delay_auth_decision", True, group="keystone_authtoken")
        return auth_token.AuthProtocol(app, {"oslo_config_config": CONF})

    return make
