# SPDX-License-Identifier: Apache-2.0
"""glance-cache-pruner, -cleaner and -prefetcher: one round each on this machine's cache; what an
operator runs from cron."""

from __future__ import annotations

import sys
from collections.abc import Callable

from oslo_config import cfg

from glance import config, exceptions
from glance.cache import ImageCache


def _run(program: str, argv: list[str] | None,
         action: Callable[[cfg.ConfigOpts, ImageCache], str]) -> int:
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv, program, cfg.ConfigOpts())
        cache = ImageCache.from_conf(conf)
        if cache is None:
            raise exceptions.ConfigurationError("image_cache_dir: is not set")
        print(action(conf, cache))
    except (exceptions.GlanceError, cfg.Error) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


def pruner(argv: list[str] | None = None) -> int:
    """Remove what was not used for longest until image_cache_max_size is kept."""
    return _run("glance-cache-pruner", argv, lambda _conf, cache: "{} image(s), {} byte(s) "
                "removed".format(*cache.prune()))


def cleaner(argv: list[str] | None = None) -> int:
    """Remove abandoned copies and whatever has no entry."""
    return _run("glance-cache-cleaner", argv,
                lambda _conf, cache: f"{cache.clean()} leftover(s) removed")


def prefetcher(argv: list[str] | None = None) -> int:
    """Fetch what is queued."""
    from glance.cache import prefetch
    from glance.image.service import ImageService

    def fetch(conf: cfg.ConfigOpts, cache: ImageCache) -> str:
        return f"{prefetch.run_once(ImageService.from_conf(conf), cache)} image(s) fetched"

    return _run("glance-cache-prefetcher", argv, fetch)


if __name__ == "__main__":
    sys.exit({"pruner": pruner, "cleaner": cleaner,
              "prefetcher": prefetcher}[sys.argv.pop(1)]())
