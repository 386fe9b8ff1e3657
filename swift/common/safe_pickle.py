# SPDX-License-Identifier: Apache-2.0
"""The pickles OpenStack Swift's files and answers are made of, without what makes pickle dangerous.

Extended attributes, hashes.pkl, async_pending, the databases' pending files and the answer to
REPLICATE are pickles of plain values; the headers of async_pending are a dictionary by another
name. Here nothing but plain values and dictionaries comes out of one: any reference to another
class or function is refused with UnsafePickle before anything is called.
"""
from __future__ import annotations

import io
import pickle
from typing import Any

PROTOCOL = 2
PROTOCOL_OF_BYTES = 3


class UnsafePickle(pickle.UnpicklingError):
    """The pickle refers to code; someone may want us to run it."""


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes: a call of `_codecs.encode(text, "latin1")`."""
    if encoding != "latin1" or not isinstance(text, str):
        raise UnsafePickle(f"bytes in {encoding!r}")
    return text.encode("latin-1")


def _empty(*args: Any) -> bytes:
    if args:
        raise UnsafePickle("bytes() with arguments")
    return b""


class _Headers(dict):
    """What stands for OpenStack Swift's class of headers, which its async_pending files name."""


def _reconstruct(cls: Any, base: Any, state: Any) -> dict:
    """How protocols 0 and 1 spell an instance of such a class."""
    if cls is not _Headers or base is not dict or not isinstance(state, dict):
        raise UnsafePickle("makes an object of an unknown class")
    return dict(state)


_PLAIN: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1, ("__builtin__", "bytes"): _empty, ("builtins", "bytes"): _empty,
    ("copy_reg", "_reconstructor"): _reconstruct, ("copyreg", "_reconstructor"): _reconstruct,
    ("__builtin__", "dict"): dict, ("builtins", "dict"): dict,
    ("swift.common.header_key_dict", "HeaderKeyDict"): _Headers,
    ("swift.common.swob", "HeaderKeyDict"): _Headers}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PLAIN[module, name]
        except KeyError:
            raise UnsafePickle(f"refers to {module}.{name}") from None

    def persistent_load(self, _pid: Any) -> Any:
        raise UnsafePickle("persistent id")


def dumps(value: Any) -> bytes:
    """A pickle that every Swift reads."""
    return pickle.dumps(value, PROTOCOL)


def dumps_bytes(value: dict[bytes, bytes]) -> bytes:
    """A pickle, half as long, that every Swift under Python 3 reads."""
    output = io.BytesIO()
    pickler = pickle.Pickler(output, PROTOCOL_OF_BYTES)
    pickler.fast = True                       # nothing is in it twice
    pickler.dump(value)
    return output.getvalue()


def loads(data: bytes, encoding: str = "utf-8") -> Any:
    """The plain value in `data`; UnpicklingError (ValueError, EOFError are turned into it) if it is
    not one. `encoding` is for strings written by Python 2."""
    try:
        return _Unpickler(io.BytesIO(data), encoding=encoding, errors="surrogateescape").load()
    except pickle.UnpicklingError:
        raise
    except Exception as exc:  # a broken pickle raises nearly anything: IndexError, KeyError, ...
        raise pickle.UnpicklingError(f"broken pickle: {exc!r}") from exc


UnpicklingError = pickle.UnpicklingError
