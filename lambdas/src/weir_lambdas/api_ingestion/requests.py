"""What is sent: a resource's configuration, a position and the values of placeholders as a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from weir_contract.rest import Method, Paginator, Parent, RestApi
from weir_contract.secrets import malformed_refs
from weir_lambdas.api_ingestion.paginate import STYLES
from weir_lambdas.api_ingestion.placeholders import Fill, Values, fill_body, fill_text, fill_url
from weir_lambdas.common.egress import EgressClient, Request
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.secrets import has_secret
from weir_lambdas.landing.batch import Position

USER_AGENT = "Weir/1 (+https://weir.dev)"
ACCEPT = {
    "json": "application/json",
    "jsonLines": "application/x-ndjson, application/jsonl, application/json;q=0.9",
    "csv": "text/csv, */*;q=0.5",
    "xml": "application/xml, text/xml;q=0.9",
}
"""``format.type`` -> the header Accept, where none is stated."""

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Resource:
    """One address with its pages: the source's own, or a parent's."""

    endpoint: str
    method: Method
    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: Mapping[str, Any]
    form: Mapping[str, str]
    data_selector: str | None
    paginator: Paginator


def resource_of(api: RestApi | Parent) -> Resource:
    """The part of a source or a parent that says what to ask."""
    return Resource(
        api.endpoint,
        api.method,
        api.headers,
        api.params,
        api.body,
        api.form,
        api.data_selector,
        api.paginator,
    )


def with_params(url: str, params: Mapping[str, str]) -> str:
    """The URL with query parameters added; one of the same name is replaced."""
    parts = urlsplit(url)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in params]
    return urlunsplit(parts._replace(query=urlencode(kept + list(params.items()))))


def put_at(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a dotted place of a JSON body; objects on the way are made.

    Raises
    ------
    ConfigInvalid
        Something else than an object stands on the way.
    """
    *way, last = path.split(".")
    for step in way:
        body = body.setdefault(step, {})
        if not isinstance(body, dict):
            raise ConfigInvalid(f"{path!r} leads through {step!r}, which is no object", "paginator")
    body[last] = value


def build(
    resource: Resource,
    paginator: Paginator,
    position: Position,
    values: Values,
    extra: Mapping[str, str],
    fill: Fill,
    egress: EgressClient,
    accept: str,
    timeout: float,
) -> Request:
    """The request for a position.

    Parameters
    ----------
    paginator
        The resource's, or what ``auto`` has found.
    extra
        Further query parameters, such as the incremental start.
    fill
        Text -> the same with secrets put in.
    accept
        A key of :data:`ACCEPT`.
    """
    link = position.get("url")
    place = STYLES[paginator.type].place(paginator, position)
    if link is not None:
        url = fill(link)
        # A next link is complete in itself, but APIs rarely repeat the caller's key in it.
        secret = {name: text for name, text in resource.params.items() if has_secret(text)}
        params = secret if egress.trusted(url) else {}
    else:
        url = egress.absolute(fill_url(resource.endpoint, values, fill))
        params = {**resource.params, **extra}
    filled = {name: fill_text(text, values, fill) for name, text in params.items()}
    if link is None:
        filled |= place.params
    headers = {"Accept": ACCEPT[accept], "User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
    own = {name: fill_text(text, values, fill) for name, text in resource.headers.items()}
    stated = {name.lower() for name in own}
    headers = {name: text for name, text in headers.items() if name.lower() not in stated} | own
    body, kind = cast("bytes | None", None), ""
    if resource.form:
        form = {name: fill_text(text, values, fill) for name, text in resource.form.items()}
        form |= {name: str(value) for name, value in place.body.items()}
        body = urlencode(form).encode()
        kind = FORM
    elif resource.body or place.body or resource.method != "GET":
        document = fill_body(resource.body, values, fill)
        for path, value in place.body.items():
            put_at(document, path, value)
        body = json.dumps(document).encode()
        kind = "application/json"
    if body is not None and "content-type" not in stated:
        headers["Content-Type"] = kind
    return Request(
        with_params(url, filled) if filled else url, resource.method, headers, body, timeout
    )


IN_DOCUMENT = ("cursor_path", "next_path", "total_path", "has_more_path")
"""What a paginator looks for in the document around the records."""


def check(api: RestApi) -> None:
    """Refuse a ``${...}`` that is no reference, rather than to send it, and a paginator that looks
    where nothing can be, rather than to end after the first page.

    Raises
    ------
    ConfigInvalid
        There is one; the message names the field.
    """
    for name in IN_DOCUMENT if api.format.type in ("csv", "jsonLines") else ():
        if getattr(api.paginator, name) is not None:
            camel = name.replace("_path", "Path").replace("has_more", "hasMore")
            raise ConfigInvalid(
                f"{api.format.type} has rows and nothing around them: use a header, or pages that "
                "are counted",
                f"restApi.paginator.{camel}",
            )
    named: Sequence[tuple[str, RestApi | Parent]] = [
        ("", api),
        *((f"parents.{item.name}.", item) for item in api.parents),
    ]
    for prefix, item in named:
        texts = {f"headers.{name}": value for name, value in item.headers.items()}
        texts |= {f"params.{name}": value for name, value in item.params.items()}
        texts |= {f"form.{name}": value for name, value in item.form.items()}
        texts |= {"endpoint": item.endpoint, "body": json.dumps(dict(item.body))}
        for name, text in texts.items():
            for found in malformed_refs(text):
                raise ConfigInvalid(
                    f"{found} is no ${{SECRET:name#key}}", f"restApi.{prefix}{name}"
                )
