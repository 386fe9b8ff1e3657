# SPDX-License-Identifier: Apache-2.0
"""Watchers: programs of others that the object auditor shows each object it found sound.

    [object-auditor]
    watchers = swift#dark_data

    [object-auditor:watcher:swift#dark_data]
    action = log

A watcher is a class of the entry point group `swift.object_audit_watcher`, as OpenStack Swift's: it
is made with (conf, logger); `start(audit_type=...)`, `see_object(object_metadata=...,
data_file_path=...)` for each object, and `end()` are called in each pass. QuarantineRequest out of
see_object sends the object to quarantine.
"""
from __future__ import annotations

import importlib
import importlib.metadata
import logging
from typing import Any

from swift.common.concurrency import Timeout
from swift.common.conf import config_list, read_sections
from swift.common.exceptions import ConfigError, QuarantineRequest

GROUP = "swift.object_audit_watcher"
PREFIX = "object-auditor:watcher:"
# ours, by the names that the files of an OpenStack Swift cluster have for its own
_OURS = {"dark_data": "swift.obj.watchers.dark_data:DarkDataWatcher"}


def load(name: str) -> type[Any]:
    """The class of `distribution#watcher`; ConfigError when there is none."""
    distribution, _, watcher = name.rpartition("#")
    distribution = distribution.removeprefix("egg:") or "swift"
    if distribution == "swift" and watcher in _OURS:
        module, _, attribute = _OURS[watcher].partition(":")
        return getattr(importlib.import_module(module), attribute)
    for entry in importlib.metadata.entry_points(group=GROUP, name=watcher):
        if entry.dist is not None and entry.dist.name == distribution:
            return entry.load()
    raise ConfigError(f"watchers: {name!r} is none that is installed")


class Watcher:
    """One watcher in its box: what goes wrong in it is logged, and the audit goes on."""

    def __init__(self, name: str, conf: dict[str, str], logger: logging.Logger) -> None:
        """Raises ConfigError: there is no such watcher, or its options are wrong."""
        self.name, self.logger = name, logger
        self.watcher: Any = None
        self.fine = self._call("making it", self._make, cls=load(name), conf=conf)

    def _make(self, cls: type[Any], conf: dict[str, str]) -> None:
        self.watcher = cls(conf, self.logger)

    def _call(self, what: str, function: Any, **kwargs: Any) -> bool:
        try:
            function(**kwargs)
            return True
        except (QuarantineRequest, ConfigError):
            raise
        except (Exception, Timeout):  # other people's code: it must not end the audit
            self.logger.exception("ERROR audit watcher %s: %s", self.name, what)
            return False

    def start(self, audit_type: str) -> None:
        """A pass begins; one that fails here is asked no more."""
        self.fine = self.fine and self._call("start", self.watcher.start, audit_type=audit_type)

    def see_object(self, metadata: dict[str, str], data_file: str) -> None:
        """Show it an object; raises QuarantineRequest."""
        if self.fine:
            self._call(f"see_object of {data_file}", self.watcher.see_object,
                       object_metadata=metadata, data_file_path=data_file)

    def end(self) -> None:
        """The pass has ended."""
        self.fine = self.fine and self._call("end", self.watcher.end)


def watchers_of(conf: dict[str, str], logger: logging.Logger) -> list[Watcher]:
    """The watchers that the auditor's section names, each with options of its own over it."""
    names = config_list(conf.get("watchers", ""))
    path = conf.get("__file__")
    sections = read_sections(path) if names and path else {}
    return [Watcher(name, {**conf, **sections.get(PREFIX + name, {})}, logger) for name in names]
