# SPDX-License-Identifier: Apache-2.0
"""Configuration: PasteDeploy ini files, directories of them, and swift.conf.

What the sections of a pipeline are made into is in `swift.common.app_conf`.
"""
from __future__ import annotations

import configparser
import os
from collections.abc import Callable

from swift.common.exceptions import ConfigError

SWIFT_DIR = "/etc/swift"
SWIFT_CONF = SWIFT_DIR + "/swift.conf"
TRUE_VALUES = frozenset(("true", "1", "yes", "on", "t", "y"))


def config_true(value: object) -> bool:
    """True for True and for true, 1, yes, on, t, y in any case."""
    return value is True or (isinstance(value, str) and value.strip().lower() in TRUE_VALUES)


def config_int(conf: dict[str, str], name: str, default: int, minimum: int = 0) -> int:
    """An integer option, or ConfigError naming it."""
    value = conf.get(name, default)
    try:
        number = int(value)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {value!r}") from None
    if number < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, not {number}")
    return number


def config_float(conf: dict[str, str], name: str, default: float, minimum: float = 0) -> float:
    """A number of seconds or a rate, or ConfigError naming the option."""
    value = conf.get(name, default)
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"{name} must be a number, not {value!r}") from None
    if not number >= minimum:
        raise ConfigError(f"{name} must be at least {minimum}, not {value}")
    return number


def config_rate(conf: dict[str, str], name: str, default: float = 50) -> float:
    """So many things a second; by `slowdown`, seconds after each, in files for older releases."""
    if name not in conf and "slowdown" in conf:
        # What OpenStack Swift reckons: 0.01 of its own for each.
        return 1 / (config_float(conf, "slowdown", 0) + 0.01)
    return config_float(conf, name, default)


def config_percent(conf: dict[str, str], name: str, default: float = 0) -> float:
    """What an option says in hundredths as a share of 1, or ConfigError naming it."""
    percent = config_float(conf, name, default)
    if percent > 100:
        raise ConfigError(f"{name} must be at most 100, not {percent}")
    return percent / 100


def config_node_count(conf: dict[str, str], name: str = "request_node_count",
                      default: str = "2 * replicas") -> Callable[[float], int]:
    """How many nodes to ask, as a function of a ring's replicas; ConfigError unless the option is a
    number or `N * replicas`."""
    words = conf.get(name, default).lower().split()
    if not words or not words[0].isdigit() or words[1:] not in ([], ["*", "replicas"]):
        raise ConfigError(f"{name}: {conf.get(name)!r} is neither a number nor N * replicas")
    count = int(words[0])
    return lambda replicas: count if len(words) == 1 else count * round(replicas)


def config_port(conf: dict[str, str], default: int) -> int | None:
    """bind_port; None with servers_per_port, by which each device of a node has a port of its own.
    """
    return None if config_int(conf, "servers_per_port", 0) else \
        config_int(conf, "bind_port", default)


def config_list(value: str) -> list[str]:
    """A comma separated list without blanks and empty entries."""
    return [item.strip() for item in value.split(",") if item.strip()]


def config_fallocate(value: str) -> tuple[float, bool]:
    """(amount, is a percentage) of a reserve such as `1%` or `10737418240`."""
    text = value.strip()
    try:
        return (float(text[:-1]), True) if text.endswith("%") else (float(text), False)
    except ValueError:
        raise ConfigError(f"not a number of bytes or a percentage: {value!r}") from None


def _parser() -> configparser.ConfigParser:
    # Interpolation off: a password may hold a percent sign. Inline comments are not stripped,
    # as PasteDeploy does not either.
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=", ":"))
    parser.optionxform = str                                   # type: ignore[assignment,method-assign]
    return parser


def conf_files(path: str) -> list[str]:
    """The file itself, or the *.conf files of a directory in order of their names."""
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in sorted(os.listdir(path))
                if name.endswith(".conf") and not name.startswith(".")]
    return [path]


def _read(path: str) -> configparser.ConfigParser:
    parser = _parser()
    for name in conf_files(path):
        try:
            with open(name, encoding="utf-8") as conf_file:
                parser.read_file(conf_file)
        except OSError as exc:
            raise ConfigError(f"cannot read {name}: {exc.strerror}") from exc
        except (configparser.Error, UnicodeDecodeError) as exc:
            raise ConfigError(f"{name}: {exc}") from exc
    return parser


def read_conf(path: str, section: str | None = None,
              defaults: dict[str, str] | None = None, required: bool = True) -> dict[str, str]:
    """Options of [DEFAULT] and, over them, of `section`, in one flat dictionary.

    `log_name` defaults to the section's name; `__file__` is the path. Raises ConfigError when the
    file or, with `required`, the section is missing.
    """
    parser = _read(path)
    conf = dict(defaults or {})
    conf.update(parser.defaults())
    if section is not None:
        if parser.has_section(section):
            conf.update(parser.items(section))
        elif required:
            raise ConfigError(f"{path} has no section [{section}]")
        conf.setdefault("log_name", section)
    conf["__file__"] = path
    return conf


def read_sections(path: str) -> dict[str, dict[str, str]]:
    """Every section with [DEFAULT] merged in."""
    parser = _read(path)
    return {section: dict(parser.items(section)) for section in parser.sections()}


def swift_conf_path() -> str:
    """Where swift.conf is: $SWIFT_CONF, $SWIFT_DIR/swift.conf or /etc/swift/swift.conf."""
    return os.environ.get("SWIFT_CONF") or os.path.join(
        os.environ.get("SWIFT_DIR", SWIFT_DIR), "swift.conf")


def read_swift_conf(path: str | None = None) -> dict[str, dict[str, str]]:
    """The sections of swift.conf; $SWIFT_CONF or $SWIFT_DIR name another place."""
    return read_sections(path or swift_conf_path())
