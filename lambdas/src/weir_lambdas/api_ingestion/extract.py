"""Page after page of a REST source, as rows: from a position, until the end or the deadline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from weir_contract.secrets import malformed_refs
from weir_contract.sources import RestApi
from weir_lambdas.api_ingestion.client import SourceClient
from weir_lambdas.api_ingestion.paginate import STYLES, LoopGuard, Page, Position
from weir_lambdas.api_ingestion.select import SelectorError, select_rows
from weir_lambdas.common.egress import EgressClient, Request, without_query
from weir_lambdas.common.errors import ConfigInvalid, SourceBadAnswer
from weir_lambdas.common.secrets import Secrets, has_secret
from weir_lambdas.landing.paths import lookup
from weir_lambdas.landing.records import as_text, dump_line

USER_AGENT = "Weir/1 (+https://weir.dev)"


@dataclass(frozen=True)
class PageOfRows:
    """One page: its rows, each also as the line that is stored, and where the next one is.

    ``next`` None means that this was the last one.
    """

    rows: list[dict[str, Any]]
    lines: list[bytes]
    next: Position | None


def with_params(url: str, params: dict[str, str]) -> str:
    """The URL with query parameters added; one of the same name is replaced."""
    parts = urlsplit(url)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in params]
    return urlunsplit(parts._replace(query=urlencode(kept + list(params.items()))))


class Extraction:
    """One extraction of a source.

    Parameters
    ----------
    api
        The source.
    since
        The cursor from which rows are asked for, where ``cursorParam`` is configured.
    """

    def __init__(
        self,
        api: RestApi,
        client: SourceClient,
        egress: EgressClient,
        secrets: Secrets,
        since: str | None,
    ) -> None:
        self._api, self._client, self._egress = api, client, egress
        self._secrets, self._since = secrets, since
        self._style = STYLES[api.paginator.type]
        check_references(api)

    def pages(self, position: Position | None, enough: Callable[[], bool]) -> Iterator[PageOfRows]:
        """Pages from a position (None: the first) to the end, or until ``enough()`` between two.

        Raises
        ------
        WeirError
            As :meth:`SourceClient.call`, and SourceBadAnswer where the rows can't be found, the
            pages go in circles, or there are more than ``max_pages``.
        """
        current = self._style.first(self._api.paginator) if position is None else dict(position)
        done = int(current.pop("done", 0))
        guard = LoopGuard()
        while True:
            if done >= self._api.limits.max_pages:
                raise SourceBadAnswer(
                    f"more than limits.maxPages = {done} pages",
                    without_query(self._api.endpoint),
                    spoils=True,
                )
            page, following = self._page(current, guard)
            done += 1
            ahead = None if following is None else self._stored(following, done)
            yield PageOfRows(page[0], page[1], ahead)
            if following is None or enough():
                return
            current = following

    def _page(
        self, position: Position, guard: LoopGuard
    ) -> tuple[tuple[list[dict[str, Any]], list[bytes]], Position | None]:
        request = self._request(position)
        guard.enter({k: v for k, v in position.items() if k != "full"}, request.url)
        answer = self._client.call(request)
        where = without_query(answer.url)
        try:
            rows = select_rows(answer.data, self._api.data_selector)
        except SelectorError as error:
            raise SourceBadAnswer(f"dataSelector: {error}", where) from error
        lines = [dump_line(row) for row in rows]
        digest = sha256()
        for line in lines:
            digest.update(line)
        guard.see(digest.hexdigest(), len(rows), answer.url)
        following = self._style.following(self._api.paginator, position, Page(answer, len(rows)))
        if following is not None and "${" in json.dumps(following):
            # Else a source could make us send a secret of its choice to a host of its choice.
            raise SourceBadAnswer("the next page's address or token has a ${...} in it", where)
        return (rows, lines), following

    def _stored(self, position: Position, done: int) -> Position:
        """The position without any secret that the source echoed into its next link."""
        text = self._secrets.conceal(json.dumps(position))
        return dict(json.loads(text)) | {"done": done}

    def _request(self, position: Position) -> Request:
        api, fill = self._api, self._secrets.fill
        link = position.get("url")
        if link is not None:
            url = fill(link)
            own = {k: v for k, v in api.params.items() if has_secret(v)}
            # A next link is complete in itself, but APIs rarely repeat the caller's key in it.
            params = own if self._egress.trusted(url) else {}
        else:
            url = fill(api.endpoint)
            params = dict(api.params) | self._style.params(api.paginator, position)
            if api.cursor_param and self._since is not None:
                params[api.cursor_param] = self._since
        filled = {name: fill(value) for name, value in params.items()}
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        headers |= {name: fill(value) for name, value in api.headers.items()}
        body = None
        if api.method == "POST":
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(self._secrets.fill_all(api.body)).encode()
        return Request(
            with_params(url, filled) if filled else url,
            api.method,
            headers,
            body,
            float(api.limits.timeout_seconds),
        )


def check_references(api: RestApi) -> None:
    """Refuse a ``${...}`` that is no reference, rather than to send it.

    Raises
    ------
    ConfigInvalid
        There is one; the message names the field.
    """
    texts = {f"headers.{name}": value for name, value in api.headers.items()}
    texts |= {f"params.{name}": value for name, value in api.params.items()}
    texts |= {"endpoint": api.endpoint, "body": json.dumps(dict(api.body))}
    for name, text in texts.items():
        for found in malformed_refs(text):
            raise ConfigInvalid(f"{found} is no ${{SECRET:name#key}}", f"restApi.{name}")


def higher(current: str | None, value: Any) -> str | None:
    """The higher of two cursor values: by number where both are, else as text (ISO dates sort)."""
    text = as_text(value)
    if text is None or current is None:
        return text if current is None else current
    try:
        return text if Decimal(text) > Decimal(current) else current
    except InvalidOperation:
        return max(text, current)


def highest(current: str | None, rows: list[dict[str, Any]], path: str | None) -> str | None:
    """The highest value of the cursor field in the rows and before them."""
    if path:
        for row in rows:
            current = higher(current, lookup(row, path))
    return current
