# SPDX-License-Identifier: Apache-2.0
"""What EC2's requests and answers look like: botocore's own models of the service.

A model is megabytes of JSON and most of it describes what is not built here.  It is read once,
when its version is first asked for: one operation and one shape at a time, and only those that
the built operations reach are kept, without their documentation.
"""

import functools
import gzip
import json
import re
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import botocore
from botocore.model import OperationModel, ServiceModel

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_FILE = "service-2.json"
_lock = threading.Lock()


def _directory() -> Path:
    return Path(str(botocore.__file__)).parent / "data" / "ec2"


@functools.cache
def versions() -> tuple[str, ...]:
    """Return the versions of the API there are models of, oldest first."""
    return tuple(sorted(path.name for path in _directory().iterdir() if path.is_dir()))


class Model:
    """One version of the API: the shapes of the operations that are built here."""

    def __init__(self, version: str, built: Collection[str]) -> None:
        text = _read(_directory() / version)
        sections = _spans(text, _SPACE.match(text, 0).end())    # type: ignore[union-attr]
        operations = _spans(text, sections["operations"])
        shapes = _spans(text, sections["shapes"])
        wanted = {name: _plain(_value(text, operations[name])) for name in built
                  if name in operations}
        self.version = version
        self.names = frozenset(operations)
        self._service = ServiceModel(
            {"metadata": _value(text, sections["metadata"]), "operations": wanted,
             "shapes": _closure(text, shapes, wanted)}, "ec2")
        self._operations = {name: self._service.operation_model(name) for name in wanted}

    def operation(self, name: str) -> OperationModel | None:
        """Return a built operation; None when this version does not have it."""
        return self._operations.get(name)


_models: dict[str, Model] = {}


def load(version: str, built: Collection[str]) -> Model:
    """Return the model of a version (one of :func:`versions`)."""
    with _lock:
        if version not in _models:
            _models[version] = Model(version, built)
        return _models[version]


def _read(directory: Path) -> str:
    packed = directory / f"{_FILE}.gz"
    if packed.is_file():
        return gzip.decompress(packed.read_bytes()).decode("utf-8")
    return (directory / _FILE).read_text(encoding="utf-8")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _spans(text: str, at: int) -> dict[str, int]:
    """Return ``{key: where its value starts}`` of the JSON object at a place."""
    found: dict[str, int] = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)       # behind the colon
        found[key] = at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _value(text: str, at: int) -> Any:
    return _DECODER.raw_decode(text, at)[0]


_KEPT = frozenset({"name", "http", "input", "output", "type", "required", "member", "members",
                   "key", "value", "shape", "locationName", "queryName", "flattened",
                   "timestampFormat", "method", "requestUri"})


def _plain(value: Any) -> Any:
    """Return an operation or a shape with no more than parsing and writing need."""
    kept = {key: value[key] for key in _KEPT & value.keys()}
    if "members" in kept:
        kept["members"] = {name: {key: member[key] for key in _KEPT & member.keys()}
                           for name, member in value["members"].items()}
    for name in ("member", "input", "output"):
        if name in kept:
            kept[name] = {key: kept[name][key] for key in _KEPT & kept[name].keys()}
    return kept


def _closure(text: str, spans: dict[str, int], operations: dict[str, Any]) -> dict[str, Any]:
    """Return the shapes that operations reach."""
    shapes: dict[str, Any] = {}
    todo = [operation[side]["shape"] for operation in operations.values()
            for side in ("input", "output") if side in operation]
    while todo:
        name = todo.pop()
        if name in shapes:
            continue
        shape = shapes[name] = _plain(_value(text, spans[name]))
        todo += [member["shape"] for member in shape.get("members", {}).values()]
        if "member" in shape:
            todo.append(shape["member"]["shape"])
    return shapes
