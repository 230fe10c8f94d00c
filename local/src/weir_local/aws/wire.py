"""What a request to the local AWS says, and how its services are wrapped from outside.

A *guard* looks at a request after its signature and its own IAM action were checked and before
the service serves it; it answers with a reply to refuse it, or with None to let it pass.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

Reply = tuple[int, dict[str, str], Any]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Reply]]


@dataclass(frozen=True)
class Request:
    """One call of an AWS API as it arrived, its signature already verified."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, list[str]]

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON body, or an empty dict when the body is no JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def form(self) -> dict[str, str]:
        """The parameters of a Query-protocol call, body over query string."""
        fields = {name: values[0] for name, values in self.query.items() if values}
        if "x-www-form-urlencoded" in self.headers.get("content-type", ""):
            parsed = parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)
            fields.update({name: values[0] for name, values in parsed.items()})
        return fields

    @cached_property
    def operation(self) -> str:
        """The operation of a JSON or Query call, empty for REST services."""
        target = self.headers.get("x-amz-target", "")
        return target.rsplit(".", 1)[-1] if target else self.form.get("Action", "")

    @property
    def access_key(self) -> str:
        """The access key id that the caller signed with."""
        from ministack.core.router import extract_access_key_id

        return str(extract_access_key_id(self.headers, self.query) or "")

    @property
    def region(self) -> str:
        """The region of the request's credential scope."""
        from ministack.core.responses import get_region

        return str(get_region())

    @property
    def account(self) -> str:
        """The caller's account id."""
        from ministack.core.responses import get_account_id

        return str(get_account_id())


Guard = Callable[[Request], Reply | None]
Observer = Callable[[Request, Reply], None]


def guard_service(service: str, guard: Guard) -> None:
    """Put *guard* before a service.

    :param service: the service's name in ``ministack.app.SERVICE_HANDLERS``
    :param guard: answers with a reply to refuse the call, or None
    """
    from ministack import app

    inner: Handler = app.SERVICE_HANDLERS[service]

    async def guarded(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        refusal = guard(Request(service, method, path, headers, body, query))
        return refusal or await inner(method, path, headers, body, query)

    app.SERVICE_HANDLERS[service] = guarded


def observe_service(service: str, observer: Observer) -> None:
    """Show every served call of a service and its reply to *observer*.

    :param service: the service's name in ``ministack.app.SERVICE_HANDLERS``
    :param observer: called after the reply is made and before it is sent
    """
    from ministack import app

    inner: Handler = app.SERVICE_HANDLERS[service]

    async def observed(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        reply = await inner(method, path, headers, body, query)
        observer(Request(service, method, path, headers, body, query), reply)
        return reply

    app.SERVICE_HANDLERS[service] = observed


def json_error(code: str, message: str, status: int = 400) -> Reply:
    """An error reply as the JSON protocols spell it."""
    body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, body


def xml_error(code: str, message: str, status: int = 400) -> Reply:
    """An error reply as the Query protocol spells it."""
    from xml.sax.saxutils import escape

    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(code)}</Code>"
        f"<Message>{escape(message)}</Message></Error></ErrorResponse>"
    )
    return status, {"Content-Type": "text/xml"}, body.encode()
