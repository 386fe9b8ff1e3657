# SPDX-License-Identifier: Apache-2.0
"""Who may create, read, update and delete custom properties, by their names.

The file is an ini file: a section is a regular expression for whole names, with the options
``create``, ``read``, ``update`` and ``delete``, each a list of roles (or of policy rules), ``@``
for everybody or ``!`` for nobody.  The first section that fits a name decides, whatever a later one
says; a name that none fits is nobody's.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.context import RequestContext
from glance.image.fields import RESERVED_PREFIX

OPTIONS = [
    cfg.StrOpt("property_protection_file",
               help="File of rules for custom properties; without it everybody who may change an "
                    "image may change them."),
    cfg.StrOpt("property_protection_rule_format", default="roles", choices=["roles", "policies"],
               help="Whether that file names roles or policy rules."),
]
VERBS = ("create", "read", "update", "delete")

Rule = tuple[re.Pattern[str], dict[str, tuple[str, ...]]]


class Protections:
    """The rules in force.

    :param allows: whether a caller passes a policy rule; None when the file names roles.
    """

    def __init__(self, rules: list[Rule] | None = None,
                 allows: Callable[[RequestContext, str], bool] | None = None) -> None:
        self._rules = rules
        self._allows = allows

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts,
                  allows: Callable[[RequestContext, str], bool]) -> Protections:
        """The rules of ``property_protection_file``; `ConfigurationError` says what is wrong."""
        conf.register_opts(OPTIONS)
        path = conf.property_protection_file
        if not path:
            return cls()
        by_policy = conf.property_protection_rule_format == "policies"
        return cls(_parse(path), allows if by_policy else None)

    def may(self, context: RequestContext, verb: str, name: str) -> bool:
        """Whether the caller may do that to a property of this name."""
        if self._rules is None or context.internal or name.startswith(RESERVED_PREFIX):
            return True
        for pattern, verbs in self._rules:
            if pattern.fullmatch(name):
                return self._passes(context, verbs[verb])
        return False

    def _passes(self, context: RequestContext, wanted: tuple[str, ...]) -> bool:
        if "!" in wanted:
            return False
        if "@" in wanted:
            return True
        if self._allows is not None:
            return any(self._allows(context, rule) for rule in wanted)
        return not set(context.roles).isdisjoint(wanted)

    def visible(self, context: RequestContext, properties: Mapping[str, Any]) -> dict[str, Any]:
        """The properties the caller may read."""
        return {name: value for name, value in properties.items()
                if self.may(context, "read", name)}

    def check(self, context: RequestContext, before: Mapping[str, Any],
              after: Mapping[str, Any]) -> None:
        """Raise `Forbidden`, naming the property, unless every change is allowed."""
        for name in sorted(set(before) | set(after)):
            if before.get(name) == after.get(name):
                continue
            verb = ("create" if name not in before else "delete" if name not in after
                    else "update")
            if not self.may(context, verb, name):
                raise exceptions.Forbidden(
                    f"{name[:64]}: you are not allowed to {verb} this property")


def _parse(path: str) -> list[Rule]:
    parser = configparser.RawConfigParser(strict=True)
    try:
        with open(path, encoding="utf-8") as source:
            parser.read_file(source)
        return [_rule(parser, section) for section in parser.sections()]
    except (OSError, configparser.Error, re.error, ValueError) as error:
        raise exceptions.ConfigurationError(f"property_protection_file: {error}") from None


def _rule(parser: configparser.RawConfigParser, section: str) -> Rule:
    verbs = {}
    for verb in VERBS:
        text = parser.get(section, verb, fallback="")
        names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
        if "@" in names and "!" in names:
            raise ValueError(f"[{section}] {verb}: everybody and nobody at once")
        verbs[verb] = names
    return re.compile(section), verbs
