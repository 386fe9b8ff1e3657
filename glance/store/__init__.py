# SPDX-License-Identifier: Apache-2.0
"""The stores this service uses, by name.

``enabled_backends = fast:filesystem, deep:swift`` makes two, each configured in the section of its
name; ``default_backend`` receives uploads that name none.  Types other than ours are looked up
among the entry points of ``glance.stores``; the class implements `glance.store.base.Store` and has
``from_conf(conf, name)``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.store.base import Store

OPTIONS = [
    cfg.DictOpt("enabled_backends", default={"file": "filesystem"},
                help="The stores in use as name:type pairs; types are filesystem, swift, s3, "
                     "http (read only), or a plug-in of the entry point group glance.stores."),
]
STORE_OPTIONS = [
    cfg.IntOpt("weight", default=0,
               help="Of several stores that hold an image, those with more weight are read "
                    "first."),
]
GROUP = "glance_store"
GROUP_OPTIONS = [
    cfg.StrOpt("default_backend",
               help="Name of the store that takes uploads which name none; may be left out "
                    "when there is only one."),
]
BUILT_IN = {
    "filesystem": "glance.store.filesystem:FilesystemStore",
    "file": "glance.store.filesystem:FilesystemStore",
    "http": "glance.store.http:HttpStore",
    "s3": "glance.store.s3:S3Store",
    "swift": "glance.store.swift:SwiftStore",
}
NAMESPACE = "glance.stores"


class Stores:
    """All stores of one service."""

    def __init__(self, stores: dict[str, Store], default: str) -> None:
        self._stores = stores
        self.default = default

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Stores:
        """The stores that `conf` names; raises `ConfigurationError` for what cannot be."""
        conf.register_opts(OPTIONS)
        conf.register_opts(GROUP_OPTIONS, GROUP)
        enabled = conf.enabled_backends
        if not enabled:
            raise exceptions.ConfigurationError("enabled_backends: at least one store is needed")
        stores = {name: _load(kind).from_conf(conf, name) for name, kind in enabled.items()}
        for name, store in stores.items():
            conf.register_opts(STORE_OPTIONS, name)
            store.weight = conf[name].weight
        default = conf[GROUP].default_backend
        if default is None and len(stores) == 1:
            default = next(iter(stores))
        if default not in stores:
            raise exceptions.ConfigurationError(
                "[glance_store] default_backend: must be one of " + ", ".join(sorted(stores)))
        if stores[default].read_only:
            raise exceptions.ConfigurationError(
                f"[glance_store] default_backend: {default} cannot be written to")
        return cls(stores, default)

    def __getitem__(self, name: str) -> Store:
        """The store called `name`; `NotFound` when it is not enabled (any more)."""
        try:
            return self._stores[name]
        except KeyError:
            raise exceptions.NotFound(f"store: there is no store {name[:64]!r}") from None

    def writable(self, name: str | None) -> Store:
        """The store called `name`, or the default one; `Invalid` if data cannot be put there."""
        store = self[name or self.default]
        if store.read_only:
            raise exceptions.Invalid(f"store: {store.name} cannot be written to")
        return store

    def ordered(self, places: Sequence[Mapping[str, Any]],
                prefer: Sequence[str] = ()) -> list[Mapping[str, Any]]:
        """Locations in the order in which they are read: stores in the order of `prefer`, then
        by weight, then as they are."""
        ranks = {name: rank for rank, name in enumerate(prefer)}

        def order(place: Mapping[str, Any]) -> tuple[int, int]:
            store = self.get(place["store"])
            return (ranks.get(place["store"], len(ranks)),
                    -store.weight if store is not None else 0)

        return sorted(places, key=order)

    def for_scheme(self, scheme: str) -> Store | None:
        """The first store that understands addresses of this scheme."""
        return next((store for store in self if scheme in store.schemes), None)

    def get(self, name: str) -> Store | None:
        """The store called `name`, None when it is not enabled (any more)."""
        return self._stores.get(name)

    def __iter__(self) -> Iterator[Store]:
        return iter(self._stores.values())


def _load(kind: str) -> Any:
    if kind in BUILT_IN:
        module, _, attribute = BUILT_IN[kind].partition(":")
        return getattr(importlib.import_module(module), attribute)
    from stevedore import driver, exception  # only foreign plug-ins pay for the scan

    try:
        return driver.DriverManager(NAMESPACE, kind).driver
    except exception.NoMatches:
        raise exceptions.ConfigurationError(
            f"enabled_backends: no store type {kind!r} in {NAMESPACE}") from None
