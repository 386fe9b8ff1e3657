# SPDX-License-Identifier: Apache-2.0
"""What glance-api and glance-registry do alike: listen, say so, serve, drain."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from glance import concurrency, exceptions

LOG = logging.getLogger(__name__)


def reload(conf: cfg.ConfigOpts, program: str) -> None:
    """Read again what can change while a daemon runs: the log's settings.  Policy needs no
    signal; it is read when it changed."""
    try:
        conf.mutate_config_files()
    except cfg.Error as error:
        LOG.error("%s goes on with the configuration it has: %s", program, error)
        return
    LOG.info("%s has read its configuration again", program)


def serve(conf: cfg.ConfigOpts, program: str, app: Callable[..., Any]) -> None:
    """Serve `app` on the configured address until told to stop."""
    try:
        sock = concurrency.listen(conf.bind_host, conf.bind_port, conf.backlog)
    except OSError as error:
        raise exceptions.ConfigurationError(
            f"bind_host, bind_port: cannot listen on {conf.bind_host}:{conf.bind_port}: "
            f"{error.strerror}") from None
    host, port = sock.getsockname()[:2]
    concurrency.serve(
        sock, app, max_requests=conf.max_requests, socket_timeout=conf.client_socket_timeout,
        keepalive=conf.http_keepalive, drain_timeout=conf.graceful_shutdown_timeout,
        on_ready=lambda: LOG.info("%s serves on %s:%d", program, host, port),
        on_hangup=lambda: reload(conf, program))
    LOG.info("%s stopped", program)
