"""Which service and operation an HTTP request to AWS is.

The credential scope of the signature names the service, ``X-Amz-Target`` or ``Action`` the
operation; for REST services method, path and query are matched against botocore's service model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs, parse_qsl, urlsplit

import botocore.session

SERVICES = {
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
    "email": "ses",
}
"""Signing name -> botocore's name of the service, where they differ."""

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]*/([^/]+)/aws4_request")
_CBOR = re.compile(r"^/service/[^/]+/operation/([A-Za-z0-9]+)$")
_LABEL = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class _Route:
    """How one operation of a REST service looks in HTTP.

    ``query`` are names that the URI itself asks for (``?tagging``), ``required`` those of parameters
    that must be there; ``weight`` orders routes that match: the more that is fixed, the better.
    """

    operation: str
    method: str
    path: re.Pattern[str]
    query: tuple[tuple[str, str], ...]
    required: frozenset[str]
    headers: frozenset[str]
    weight: tuple[int, int, int, int]


def operation_of(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, str]:
    """``(service, operation)`` of a request.

    :param method: the HTTP method
    :param target: path and query, as sent
    :param headers: by lower-case name
    :param body: the whole body
    :returns: botocore's service name and the API operation; the service is empty for a request that
        is signed for none
    """
    parts = urlsplit(target)
    service = _service(headers, parts.query)
    if not service:
        return "", f"{method} {parts.path}"
    named = headers.get("x-amz-target", "")
    if named:
        return service, named.rpartition(".")[2]
    cbor = _CBOR.match(parts.path)
    if cbor:
        return service, cbor.group(1)
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        action = parse_qs(body.decode("utf-8", "replace")).get("Action")
        if action:
            return service, action[0]
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "Action" in query:
        return service, query["Action"]
    for route in _routes(service):
        if (
            route.method == method
            and all(query.get(name) == value for name, value in route.query)
            and route.required <= query.keys()
            and route.headers <= headers.keys()
            and route.path.match(parts.path)
        ):
            return service, route.operation
    return service, f"{method} {parts.path}"


def _service(headers: dict[str, str], query: str) -> str:
    scope = _SCOPE.search(headers.get("authorization", ""))
    if scope is not None:
        signed = scope.group(1)
    else:
        credential = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
        signed = credential[-2] if len(credential) == 5 else ""
    return SERVICES.get(signed, signed)


@cache
def _routes(service: str) -> tuple[_Route, ...]:
    """Every operation of a REST service, the most specific first."""
    session = botocore.session.Session()
    if service not in session.get_available_services():
        return ()
    model = session.get_service_model(service)
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:
            continue
        path, _, query = str(operation.http.get("requestUri", "/")).partition("?")
        members = operation.input_shape.members if operation.input_shape else {}
        needed = operation.input_shape.required_members if operation.input_shape else []
        placed = {
            place: frozenset(
                str(members[one].serialization["name"])
                for one in needed
                if members[one].serialization.get("location") == place
            )
            for place in ("querystring", "header")
        }
        fixed = tuple(parse_qsl(query, keep_blank_values=True))
        static = len(_LABEL.sub("", path))
        labels = len(_LABEL.findall(path))
        found.append(
            _Route(
                name,
                str(operation.http["method"]),
                re.compile("^" + _pattern(path) + "/?$"),
                fixed,
                placed["querystring"],
                frozenset(header.lower() for header in placed["header"]),
                (
                    -len(fixed),
                    -len(placed["querystring"]) - len(placed["header"]),
                    -static,
                    -labels,
                ),
            )
        )
    return tuple(sorted(found, key=lambda route: route.weight))


def _pattern(path: str) -> str:
    pattern, last = "", 0
    for label in _LABEL.finditer(path):
        pattern += re.escape(path[last : label.start()])
        pattern += ".+" if label.group(1).endswith("+") else "[^/]+"
        last = label.end()
    return (pattern + re.escape(path[last:])).rstrip("/")
