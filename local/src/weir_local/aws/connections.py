"""Glue connections: changed in place, made once, with tags.

Glue API, "CreateConnection", "UpdateConnection", "GetConnections".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from weir_local.aws.wire import Reply, Request, guard_service, json_error

Call = Callable[[dict[str, Any]], Reply]


def created(inner: Call) -> Call:
    """CreateConnection keeps tags, and a name is taken once."""

    def handle(data: dict[str, Any]) -> Reply:
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import glue

        name = (data.get("ConnectionInput") or {}).get("Name", "")
        if name in glue._connections:
            return json_error("AlreadyExistsException", f"Connection already exists: {name}")
        reply = inner(data)
        if data.get("Tags"):
            arn = f"arn:aws:glue:{get_region()}:{get_account_id()}:connection/{name}"
            glue._tags[arn] = dict(data["Tags"])
        return reply

    return handle


def update(data: dict[str, Any]) -> Reply:
    """UpdateConnection replaces the definition."""
    from ministack.core.responses import json_response
    from ministack.services import glue

    name = data.get("Name", "")
    if name not in glue._connections:
        return json_error("EntityNotFoundException", f"Connection {name} not found.")
    made = glue._connections[name].get("CreationTime")
    whole = {**data["ConnectionInput"], "CreationTime": made, "LastUpdatedTime": int(time.time())}
    glue._connections[name] = whole
    return tuple(json_response({}))


def deleted(inner: Call) -> Call:
    """DeleteConnection takes the tags along."""

    def handle(data: dict[str, Any]) -> Reply:
        from ministack.core.responses import get_account_id, get_region
        from ministack.services import glue

        name = data.get("ConnectionName", "")
        reply = inner(data)
        glue._tags.pop(f"arn:aws:glue:{get_region()}:{get_account_id()}:connection/{name}", None)
        return reply

    return handle


def guard(request: Request) -> Reply | None:
    """Serve UpdateConnection, which the emulator does not know."""
    return update(request.json) if request.operation == "UpdateConnection" else None


def install() -> None:
    """Replace the functions that Glue's table names, and put the guard before it."""
    from ministack.services import glue

    glue._create_connection = created(glue._create_connection)
    glue._delete_connection = deleted(glue._delete_connection)
    guard_service("glue", guard)
