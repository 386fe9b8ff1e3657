# SPDX-License-Identifier: Apache-2.0
"""The WSGI application that a PasteDeploy ini file, or a directory of them, describes.

Names that the files of an OpenStack Swift cluster use (`use = egg:swift#object`) are understood
without a distribution of that name: see `load_app`.
"""
from __future__ import annotations

import configparser
import importlib.util
import os
from typing import Any

from paste.deploy import loadwsgi

from swift.common.conf import conf_files
from swift.common.exceptions import ConfigError

# What egg:swift#NAME means; any other name is a filter in swift.common.middleware.
_APPS = {
    "proxy": "swift.proxy.server",
    "account": "swift.account.server",
    "container": "swift.container.server",
    "object": "swift.obj.server",
}

# What OpenStack Swift has and we have not, and what to take instead.
_NOT_SERVED = {
    "kms_keymaster": "root secrets are not fetched from a key manager; put them into keymaster, or "
                     "into a file of its own (keymaster_config_path) that your deployment writes",
    "kmip_keymaster": "root secrets are not fetched by KMIP; put them into keymaster, or into a "
                      "file of its own (keymaster_config_path) that your deployment writes",
    "xprofile": "there is no profiler over HTTP; profile a process with py-spy",
    "mem_object": "objects are not kept in memory; put `devices` on a tmpfs",
}


def _translate(use: str) -> str:
    """Swift's own egg names as a plain import, so that no package metadata is searched."""
    if not use.startswith("egg:swift#"):
        return use
    name = use.partition("#")[2]
    if name in _APPS:
        return f"call:{_APPS[name]}:app_factory"
    module = name.replace("-", "_")
    if module in _NOT_SERVED:
        raise ConfigError(f"{use}: {_NOT_SERVED[module]}")
    if not module.isidentifier() or \
            importlib.util.find_spec(f"swift.common.middleware.{module}") is None:
        raise ConfigError(f"{use}: there is no filter of that name")
    return f"call:swift.common.middleware.{module}:filter_factory"


class _Loader(loadwsgi.ConfigLoader):
    """PasteDeploy's loader that also takes a directory and Swift's names."""

    def __init__(self, path: str) -> None:
        self.filename = path
        self.parser = loadwsgi.NicerConfigParser(path, interpolation=None)
        self.parser.optionxform = str
        for name in conf_files(path):
            with open(name, encoding="utf-8") as conf_file:
                self.parser.read_file(conf_file)
        self.parser._defaults.setdefault("here", os.path.dirname(os.path.abspath(path)))
        self.parser._defaults.setdefault("__file__", os.path.abspath(path))
        for section in self.parser.sections():
            if self.parser.has_option(section, "use"):
                self.parser.set(section, "use", _translate(self.parser.get(section, "use")))


def load_context(path: str, name: str | None = None, **global_conf: Any) -> Any:
    """The PasteDeploy context of the pipeline or app in `path`, to look at before it is built."""
    try:
        loader = _Loader(os.path.abspath(path))
        if global_conf:
            loader.update_defaults(global_conf, overwrite=False)
        return loader.get_context(loadwsgi.APP, name, global_conf)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (configparser.Error, LookupError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def load_app(path: str, name: str | None = None, **global_conf: Any) -> Any:
    """The WSGI application that the ini file (or directory) describes. Raises ConfigError."""
    return load_context(path, name, **global_conf).create()
