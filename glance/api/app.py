# SPDX-License-Identifier: Apache-2.0
"""Puts the API application together: the paste pipeline, and what its requests find with them."""

from __future__ import annotations

from oslo_config import cfg

from glance import config, wsgi
from glance.image.service import ImageService

OPTIONS = [
    cfg.URIOpt("public_endpoint", schemes=["http", "https"],
               help="URL of this service as clients see it, without a version, for links in "
                    "documents; by default the Host header of each request."),
]


def load(conf: cfg.ConfigOpts, program: str, service: ImageService) -> wsgi.WithEnviron:
    """The application of the configured flavour, serving `service`."""
    conf.register_opts(OPTIONS)
    return wsgi.WithEnviron(config.load_app(conf, program), {
        wsgi.SERVICE_KEY: service, wsgi.PUBLIC_URL_KEY: conf.public_endpoint})
