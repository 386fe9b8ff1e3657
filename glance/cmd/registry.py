# SPDX-License-Identifier: Apache-2.0
"""glance-registry: the images' metadata over REST, for glance-api."""

from glance import concurrency

concurrency.patch()

import sys

from oslo_config import cfg

from glance import config, exceptions, wsgi
from glance.cmd.serve import serve
from glance.registry.client.sql import SqlClient

PROGRAM = "glance-registry"


def main(argv: list[str] | None = None) -> int:
    """Run the service; returns the exit status."""
    cfg.CONF.register_opts([config.PORT_REGISTRY, *config.SERVER_OPTIONS])
    conf = config.load(sys.argv[1:] if argv is None else argv, PROGRAM)
    try:
        registry = SqlClient.from_conf(conf)
        registry.check()
        app = wsgi.WithEnviron(config.load_app(conf, PROGRAM), {wsgi.REGISTRY_KEY: registry})
        serve(conf, PROGRAM, app)
    except exceptions.GlanceError as error:
        print(f"{PROGRAM}: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
