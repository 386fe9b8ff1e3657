# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions in files: a namespace in each, as POST /v2/metadefs/namespaces takes it."""

from __future__ import annotations

import json
import pathlib

from oslo_config import cfg

from glance import exceptions
from glance.api.v2 import metadef_schemas as schemas
from glance.context import service_context
from glance.registry.client.sql import SqlClient

OWNER = "admin"
_TIMES = ("created_at", "updated_at")


def default_directory() -> pathlib.Path:
    """Where the definitions of this release lie."""
    tree = pathlib.Path(__file__).resolve().parents[3] / "etc/glance/metadefs"
    return tree if tree.is_dir() else pathlib.Path("/etc/glance/metadefs")


def load(conf: cfg.ConfigOpts, directory: pathlib.Path | None, replace: bool) -> int:
    """Load every file; how many namespaces are new.  Those that are there already stay as they
    are, or are made anew with `replace`."""
    registry, context, made = SqlClient.from_conf(conf), service_context(), 0
    for path in sorted((directory or default_directory()).glob("*.json")):
        values, contents = _parse(path)
        name = values["namespace"]
        try:
            if replace:
                registry.metadefs(context, "delete_namespace", namespace=name)
        except exceptions.NotFound:
            pass
        try:
            registry.metadefs(context, "create_namespace", values={"owner": OWNER, **values},
                              contents=contents)
        except exceptions.Duplicate:
            continue
        made += 1
    return made


def _parse(path: pathlib.Path) -> tuple[dict[str, object], dict[str, list[object]]]:
    try:
        values = schemas.check("namespace", json.loads(path.read_text()))
        contents: dict[str, list[object]] = {
            "resource_type_associations": [schemas.check("association", each) for each in
                                           values.pop("resource_type_associations", ())],
            "property": [schemas.check("property", {"name": name, **body})
                         for name, body in values.pop("properties", {}).items()],
            "object": [schemas.check("object", each) for each in values.pop("objects", ())],
            "tag": [schemas.check("tag", each) for each in values.pop("tags", ())]}
    except (OSError, ValueError, exceptions.Invalid) as error:
        raise exceptions.ConfigurationError(f"{path}: {error}") from None
    return values, contents


def unload(conf: cfg.ConfigOpts) -> int:
    """Remove every namespace that is not protected; how many."""
    registry, context = SqlClient.from_conf(conf), service_context()
    doomed = [found["namespace"] for found in registry.metadefs(context, "list_namespaces")
              if not found["protected"]]
    for name in doomed:
        registry.metadefs(context, "delete_namespace", namespace=name)
    return len(doomed)


def export(conf: cfg.ConfigOpts, directory: pathlib.Path) -> int:
    """Write each namespace into a file that `load` takes; how many."""
    registry, context = SqlClient.from_conf(conf), service_context()
    directory.mkdir(parents=True, exist_ok=True)
    names = [found["namespace"] for found in registry.metadefs(context, "list_namespaces")]
    for name in names:
        found = registry.metadefs(context, "get_namespace", namespace=name)
        document = {key: value for key, value in found.items()
                    if key not in (*_TIMES, "property", "object", "tag")}
        document["resource_type_associations"] = [
            _bare(each) for each in found["resource_type_associations"]]
        document["properties"] = {each["name"]: _bare(each, "name") for each in found["property"]}
        document["objects"] = [_bare(each) for each in found["object"]]
        document["tags"] = [_bare(each) for each in found["tag"]]
        target = directory / (name.replace("/", "_").replace(":", "-") + ".json")
        target.write_text(json.dumps(document, indent=4) + "\n")
    return len(names)


def _bare(document: dict[str, object], *without: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in (*_TIMES, *without)}
