# SPDX-License-Identifier: Apache-2.0
"""Calls and casts between the services of nova, over RabbitMQ or within one process.

    rpc.configure("amqp://guest:guest@localhost//")
    server = rpc.Server(METHODS, host, endpoint).start()       # in the worker
    client = rpc.Client(METHODS)                                # anywhere
    client.call(context, "get_console_output", host=host, instance_id=...)
    client.cast(context, "build_instance", host=host, instance_id=...)

A call has a deadline and an answer.  A cast is safe on the broker's disk when the method returns,
and is acknowledged after the handler has come back: it may arrive twice, so handlers are guarded
by the state of the row they work on.
"""

from typing import Any

from nova.context import RequestContext
from nova.rpc.broker import CONF, configure
from nova.rpc.client import Client
from nova.rpc.server import Server
from nova.rpc.table import Method, MethodTable

__all__ = ["Client", "Method", "MethodTable", "Server", "call", "cast", "configure",
           "configured_to_reach_others",
           "fanout"]


def call(context: RequestContext, table: MethodTable, method: str, *, host: str | None = None,
         timeout: float | None = None, **args: Any) -> Any:
    """Ask the worker of a table (on one host or any) and return its answer: see Client.call."""
    return Client(table).call(context, method, host=host, timeout=timeout, **args)


def cast(context: RequestContext, table: MethodTable, method: str, *, host: str | None = None,
         **args: Any) -> None:
    """Leave a message for the worker of a table (on one host or any): see Client.cast."""
    Client(table).cast(context, method, host=host, **args)


def fanout(context: RequestContext, table: MethodTable, method: str, **args: Any) -> None:
    """Tell every worker of a table that listens now: see Client.fanout."""
    Client(table).fanout(context, method, **args)


def configured_to_reach_others() -> bool:
    """Tell whether messages leave this process: over ``memory://`` nobody else hears them."""
    return not CONF.transport_url.startswith("memory:")
