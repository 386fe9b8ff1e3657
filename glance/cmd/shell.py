# SPDX-License-Identifier: Apache-2.0
"""glance: images from the command line.

The identity comes from the usual OS_* variables (whatever keystoneauth can load; OS_AUTH_TYPE is
``password`` if unset).  With --os-image-url the catalog is not asked; with OS_TOKEN, or without
OS_AUTH_URL, neither is Keystone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from glance import client, transfer

_SHOWN_FIRST = ("id", "name", "status", "disk_format", "container_format", "size", "visibility",
                "owner", "protected", "min_disk", "min_ram", "checksum", "created_at",
                "updated_at", "tags")


class UsageError(Exception):
    """The command line or the environment asks for something that cannot be."""


def _connect(args: argparse.Namespace) -> client.Client:
    verify: bool | str = False if args.insecure else (args.os_cacert or True)
    token = args.os_token
    if token or not os.environ.get("OS_AUTH_URL"):
        if not args.os_image_url:
            raise UsageError("set OS_AUTH_URL and friends, or give --os-image-url")
        return client.Client(args.os_image_url, token, verify=verify)
    session, auth = _keystone(verify)
    url = args.os_image_url or auth.get_endpoint(
        session, service_type="image", region_name=args.os_region_name,
        interface=os.environ.get("OS_INTERFACE", "public"))
    if not url:
        raise UsageError("the catalog has no image service; give --os-image-url")

    def fresh_token() -> str:
        return str(auth.get_token(session))

    return client.Client(url, fresh_token, verify=verify)


def _keystone(verify: bool | str) -> tuple[Any, Any]:
    from keystoneauth1 import loading, session

    kind = os.environ.get("OS_AUTH_TYPE", "password")
    loader: Any = loading.get_plugin_loader(kind)
    values: dict[str, str] = {}
    for option in loader.get_options():
        for name in (option.name, *[deprecated.name for deprecated in option.deprecated]):
            value = os.environ.get("OS_" + name.upper().replace("-", "_"))
            if value is not None:
                values.setdefault(option.dest, value)
    return session.Session(verify=verify), loader.load_from_options(**values)


# Output


def _table(columns: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(line[index]) for line in [columns, *rows])
              for index in range(len(columns))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: list[str]) -> str:
        padded = [f" {cell.ljust(width)} " for cell, width in zip(cells, widths, strict=True)]
        return "|" + "|".join(padded) + "|"

    print("\n".join([rule, line(columns), rule, *map(line, rows), rule]))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _print_document(document: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    names = [name for name in _SHOWN_FIRST if name in document]
    names += sorted(set(document) - set(names) - {"self", "file", "schema"})
    _table(["Property", "Value"], [[name, _cell(document[name])] for name in names])


def _print_list(documents: list[dict[str, Any]], columns: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(documents, indent=2, ensure_ascii=False))
        return
    _table([column.replace("_", " ").title() for column in columns],
           [[_cell(document.get(column)) for column in columns] for document in documents])


# Commands


def _properties(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--property {pair}: must be NAME=VALUE")
        found[name] = value
    return found


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    fields = {name: getattr(args, name) for name in (
        "name", "disk_format", "container_format", "visibility", "min_disk", "min_ram",
        "protected", "os_hidden", "owner") if getattr(args, name) is not None}
    if args.tag:
        fields["tags"] = args.tag
    fields.update(_properties(args.property))
    return fields


def _image_list(images: client.Client, args: argparse.Namespace) -> None:
    filters = {name: getattr(args, name) for name in (
        "visibility", "member_status", "name", "status", "owner", "tag")
        if getattr(args, name) is not None}
    filters.update(_properties(args.property))
    found = list(images.list_images(limit=args.limit, page_size=args.page_size, sort=args.sort,
                                    **filters))
    _print_list(found, ["id", "name", "status", "size"] if args.verbose else ["id", "name"],
                args.json)


def _image_show(images: client.Client, args: argparse.Namespace) -> None:
    _print_document(images.get_image(args.image), args.json)


def _image_create(images: client.Client, args: argparse.Namespace) -> None:
    fields = _fields(args)
    if args.id:
        fields["id"] = args.id
    if args.file and not (args.disk_format and args.container_format):
        raise UsageError("--file needs --disk-format and --container-format")
    image = images.create(**fields)
    if args.file or not sys.stdin.isatty() and args.stdin:
        _send(images, image["id"], args)
    _print_document(images.get_image(image["id"]), args.json)


def _image_upload(images: client.Client, args: argparse.Namespace) -> None:
    _send(images, args.image, args)


def _send(images: client.Client, image_id: str, args: argparse.Namespace) -> None:
    with _source(args) as (source, size):
        images.upload(image_id, source, store=args.store, progress=_progress(args, size))


def _image_download(images: client.Client, args: argparse.Namespace) -> None:
    size = images.get_image(args.image).get("size") or 0
    report = _progress(args, size)
    if args.file:
        transfer.download(images, args.image, args.file, resume=args.resume, report=report)
        return
    if sys.stdout.isatty():
        raise UsageError("--file, or a redirection, is needed: image data is not for a terminal")
    seen = 0
    for piece in images.download(args.image)[0]:
        sys.stdout.buffer.write(piece)
        seen += len(piece)
        if report is not None:
            report(seen)
    sys.stdout.buffer.flush()


def _image_stage(images: client.Client, args: argparse.Namespace) -> None:
    with _source(args) as (source, size):
        images.stage(args.image, source, progress=_progress(args, size))


def _image_import(images: client.Client, args: argparse.Namespace) -> None:
    stores = [name for name in (args.stores or "").split(",") if name]
    images.import_image(args.image, args.import_method, uri=args.uri, stores=stores,
                        all_stores=args.all_stores,
                        all_stores_must_succeed=not args.allow_failure)


def _image_tasks(images: client.Client, args: argparse.Namespace) -> None:
    _print_list(images.image_tasks(args.image), ["id", "type", "status", "message"], args.json)


def _stores_info(images: client.Client, args: argparse.Namespace) -> None:
    _print_list(images.stores(), ["id", "default", "read-only", "weight"], args.json)


@contextlib.contextmanager
def _source(args: argparse.Namespace) -> Iterator[tuple[Any, int]]:
    """(file to read, its size or 0): the one named, or standard input."""
    if args.file and args.file != "-":
        with open(args.file, "rb") as source:
            yield source, os.fstat(source.fileno()).st_size
    else:
        yield sys.stdin.buffer, 0


def _progress(args: argparse.Namespace, size: int) -> Callable[[int], None] | None:
    return transfer.bar(size) if args.progress else None


def _image_update(images: client.Client, args: argparse.Namespace) -> None:
    _print_document(images.update(args.image, remove=args.remove_property, **_fields(args)),
                    args.json)


def _each(action: Callable[[str], None], image_ids: list[str]) -> None:
    """Do it to all of them, complain about each that fails, and fail in the end if any did."""
    failed = []
    for image_id in image_ids:
        try:
            action(image_id)
        except client.ImageError as error:
            print(f"glance: {image_id}: {error}", file=sys.stderr)
            failed.append(image_id)
    if failed:
        raise UsageError(f"{len(failed)} of {len(image_ids)} failed")


def _image_delete(images: client.Client, args: argparse.Namespace) -> None:
    _each(images.delete, args.image)


def _image_deactivate(images: client.Client, args: argparse.Namespace) -> None:
    images.deactivate(args.image)


def _image_reactivate(images: client.Client, args: argparse.Namespace) -> None:
    images.reactivate(args.image)


def _tag_update(images: client.Client, args: argparse.Namespace) -> None:
    images.add_tag(args.image, args.tag_value)


def _tag_delete(images: client.Client, args: argparse.Namespace) -> None:
    images.delete_tag(args.image, args.tag_value)


_MEMBER_COLUMNS = ["image_id", "member_id", "status"]


def _member_list(images: client.Client, args: argparse.Namespace) -> None:
    _print_list(images.members(args.image_id), _MEMBER_COLUMNS, args.json)


def _member_create(images: client.Client, args: argparse.Namespace) -> None:
    _print_list([images.add_member(args.image, args.member)], _MEMBER_COLUMNS, args.json)


def _member_update(images: client.Client, args: argparse.Namespace) -> None:
    _print_list([images.update_member(args.image, args.member, args.status)], _MEMBER_COLUMNS,
                args.json)


def _member_delete(images: client.Client, args: argparse.Namespace) -> None:
    images.delete_member(args.image, args.member)


# The command line


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError("must be true or false")
    return text.lower() == "true"


def _add_fields(parser: argparse.ArgumentParser) -> None:
    for option in ("--name", "--disk-format", "--container-format", "--visibility", "--owner"):
        parser.add_argument(option)
    for option in ("--min-disk", "--min-ram"):
        parser.add_argument(option, type=int)
    parser.add_argument("--protected", type=_boolean, metavar="true|false")
    parser.add_argument("--hidden", dest="os_hidden", type=_boolean, metavar="true|false")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--tag", action="append", default=[])


def _add_data(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--file", help=f"file {what}")
    parser.add_argument("--progress", action="store_true", help="show how far it is")


def global_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of what every command of a client of the image service takes."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--os-image-url", default=os.environ.get("OS_IMAGE_URL"))
    parser.add_argument("--os-token", "--os-auth-token", default=os.environ.get("OS_TOKEN"))
    parser.add_argument("--os-region-name", default=os.environ.get("OS_REGION_NAME"))
    parser.add_argument("--os-cacert", default=os.environ.get("OS_CACERT"))
    parser.add_argument("--insecure", action="store_true",
                        help="do not check the server's certificate")
    parser.add_argument("--json", action="store_true", help="print documents as JSON")
    return parser


def _add_images(commands: Any) -> None:
    """The verbs on images and their data."""
    def add(name: str, action: Callable[..., None], text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text)
        parser.set_defaults(action=action)
        return parser

    listing = add("image-list", _image_list, "list images")
    for option in ("--visibility", "--member-status", "--name", "--status", "--owner", "--sort"):
        listing.add_argument(option)
    listing.add_argument("--tag", action="append")
    listing.add_argument("--property", action="append", default=[], metavar="NAME=VALUE")
    listing.add_argument("--limit", type=int)
    listing.add_argument("--page-size", type=int)
    listing.add_argument("-v", "--verbose", action="store_true", help="status and size too")
    add("image-show", _image_show, "show an image").add_argument("image")
    create = add("image-create", _image_create, "register an image, and upload its data")
    create.add_argument("--id")
    _add_fields(create)
    _add_data(create, "with the data")
    create.add_argument("--stdin", action="store_true", help="the data comes on standard input")
    create.add_argument("--store", help="name of the store to put it in")
    upload = add("image-upload", _image_upload, "upload the data of a queued image")
    upload.add_argument("image")
    _add_data(upload, "with the data; standard input without")
    upload.add_argument("--store", help="name of the store to put it in")
    download = add("image-download", _image_download, "download an image's data")
    download.add_argument("image")
    _add_data(download, "to write; standard output without")
    download.add_argument("--resume", action="store_true",
                          help="go on where a download to this file broke off")
    stage = add("image-stage", _image_stage, "send data for a later import")
    stage.add_argument("image")
    _add_data(stage, "with the data; standard input without")
    imports = add("image-import", _image_import, "import staged data, fetch it, or copy it")
    imports.add_argument("image")
    imports.add_argument("--import-method", default="glance-direct",
                         choices=["glance-direct", "web-download", "copy-image"])
    imports.add_argument("--uri", help="address to fetch from")
    imports.add_argument("--stores", help="names of stores, separated by commas")
    imports.add_argument("--all-stores", action="store_true")
    imports.add_argument("--allow-failure", action="store_true",
                         help="one store that takes it is enough")
    add("image-tasks", _image_tasks, "what became of imports").add_argument("image")
    add("stores-info", _stores_info, "the stores there are")
    update = add("image-update", _image_update, "change an image's fields and properties")
    update.add_argument("image")
    _add_fields(update)
    update.add_argument("--remove-property", action="append", default=[], metavar="NAME")
    add("image-delete", _image_delete, "delete images").add_argument("image", nargs="+")
    add("image-deactivate", _image_deactivate, "stop downloads").add_argument("image")
    add("image-reactivate", _image_reactivate, "allow downloads again").add_argument("image")


def _add_sharing(commands: Any) -> None:
    """The verbs on tags and members."""
    for name, action in (("image-tag-update", _tag_update), ("image-tag-delete", _tag_delete)):
        parser = commands.add_parser(name)
        parser.set_defaults(action=action)
        parser.add_argument("image")
        parser.add_argument("tag_value", metavar="tag")
    members = commands.add_parser("member-list", help="who an image is shared with")
    members.set_defaults(action=_member_list)
    members.add_argument("--image-id", required=True)
    for name, action in (("member-create", _member_create), ("member-update", _member_update),
                         ("member-delete", _member_delete)):
        parser = commands.add_parser(name)
        parser.set_defaults(action=action)
        parser.add_argument("image")
        parser.add_argument("member", help="project id")
        if action is _member_update:
            parser.add_argument("status", choices=["pending", "accepted", "rejected"])


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = global_parser("glance", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_images(commands)
    _add_sharing(commands)
    args = parser.parse_args(argv)
    return run("glance", args, args.action)


def run(program: str, args: argparse.Namespace,
        action: Callable[[client.Client, argparse.Namespace], None]) -> int:
    """Connect and act; failures become a sentence and exit status 1."""
    try:
        action(_connect(args), args)
    except (UsageError, client.ImageError, OSError) as error:
        request_id = getattr(error, "request_id", None)
        suffix = f" (request {request_id})" if request_id else ""
        print(f"{program}: {error}{suffix}", file=sys.stderr)
        return 1
    except Exception as error:  # keystoneauth's many errors share no base with ours
        from keystoneauth1 import exceptions

        if not isinstance(error, exceptions.ClientException):
            raise
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
