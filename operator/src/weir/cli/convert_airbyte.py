"""``weir convert`` for an Airbyte low-code manifest: one DataSource for each stream.

Source: Airbyte's documentation, *Low-code CDK, YAML reference*. ``$ref`` and ``$parameters`` are
resolved as there; of Jinja only plain look-ups are understood, all else is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from weir.cli.convert_shared import (
    CannotConvert,
    Converted,
    Notes,
    data_source,
    duration,
    moment_format,
    without_none,
)

EXPRESSION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
LOOKUP = re.compile(
    r"""^(config|parameters|response|headers|stream_partition|stream_slice|stream_interval
        |creation_response|polling_response)
        ((?:\.[A-Za-z_][\w-]*|\[\s*['"][^'"\]]+['"]\s*\]|\.get\(\s*['"][^'"]+['"]\s*(?:,[^)]*)?\))+)$""",
    re.VERBOSE,
)
STEP = re.compile(
    r"""\.get\(\s*['"]([^'"]+)['"][^)]*\)|\.([A-Za-z_][\w-]*)|\[\s*['"]([^'"\]]+)['"]\s*\]"""
)


def is_manifest(data: Any) -> bool:
    """Whether this is a declarative manifest."""
    named = isinstance(data, Mapping) and "version" in data
    return named and ("streams" in data or "dynamic_streams" in data)


def resolved(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with every ``$ref`` replaced by what it points at; own keys go before its keys.

    Raises
    ------
    CannotConvert
        A reference points at nothing, or at itself.
    """

    def walk(value: Any, way: tuple[str, ...]) -> Any:
        if isinstance(value, str) and value.startswith("#/"):
            return followed(value, way)
        if isinstance(value, Mapping):
            found = {}
            if isinstance(value.get("$ref"), str):
                base = followed(value["$ref"], way)
                if not isinstance(base, Mapping):
                    return base
                found = dict(base)
            for key, item in value.items():
                if key == "$ref":
                    continue
                own = walk(item, way)
                both = isinstance(own, Mapping) and isinstance(found.get(key), Mapping)
                found[key] = {**found[key], **own} if both and key == "$parameters" else own
            return found
        if isinstance(value, list):
            return [walk(item, way) for item in value]
        return value

    def followed(reference: str, way: tuple[str, ...]) -> Any:
        if reference in way:
            raise CannotConvert(f"{reference}: a $ref leads in a circle")
        return walk(target(reference), (*way, reference))

    def target(reference: str) -> Any:
        at: Any = manifest
        for part in reference.removeprefix("#/").split("/"):
            if isinstance(at, Mapping) and part in at:
                at = at[part]
            elif isinstance(at, list) and part.isdigit() and int(part) < len(at):
                at = at[int(part)]
            else:
                raise CannotConvert(f"{reference} points at nothing")
        return at

    found: dict[str, Any] = walk({k: v for k, v in manifest.items() if k != "definitions"}, ())
    return found


TYPES = {
    "streams": "DeclarativeStream",
    "stream": "DeclarativeStream",
    "full_refresh_stream": "DeclarativeStream",
    "incremental_stream": "DeclarativeStream",
    "retriever": "SimpleRetriever",
    "requester": "HttpRequester",
    "login_requester": "HttpRequester",
    "creation_requester": "HttpRequester",
    "polling_requester": "HttpRequester",
    "download_requester": "HttpRequester",
    "record_selector": "RecordSelector",
    "extractor": "DpathExtractor",
    "record_filter": "RecordFilter",
    "error_handler": "DefaultErrorHandler",
    "error_handlers": "DefaultErrorHandler",
    "response_filters": "HttpResponseFilter",
    "parent_stream_configs": "ParentStreamConfig",
    "page_size_option": "RequestOption",
    "request_option": "RequestOption",
    "start_time_option": "RequestOption",
    "end_time_option": "RequestOption",
    "start_datetime": "MinMaxDatetime",
    "end_datetime": "MinMaxDatetime",
}
"""The field that a component stands in -> its type, where it states none."""


def spread(value: Any, inherited: Mapping[str, Any], field: str = "") -> Any:
    """Every component with the ``$parameters`` of those around it: they are defaults of its own
    fields, and what ``parameters`` looks up."""
    if isinstance(value, Mapping):
        if value.get("type") == "object" or not isinstance(value.get("type", ""), str):
            return value  # a JSON schema
        own = {**inherited, **(value.get("$parameters") or {})}
        kind = value.get("type") or ("" if "class_name" in value else TYPES.get(field, ""))
        found = {
            key: spread(item, {k: v for k, v in own.items() if k != key}, key)
            for key, item in value.items()
            if key != "$parameters"
        }
        if kind:
            found = {**own, **{k: v for k, v in found.items() if v or k not in own}, "type": kind}
        return {**found, "$parameters": own}
    if isinstance(value, list):
        return [spread(item, inherited, field) for item in value]
    return value


class _Stream:
    """Converts one stream."""

    def __init__(
        self, name: str, source: str, defaults: Mapping[str, Any], parents: dict[str, Any]
    ) -> None:
        self.notes = Notes()
        self._name, self._source, self._defaults = name, source, defaults
        self._parents = parents
        self._taken: set[str] = set()
        self._target = ""
        """Where a job says what is to be downloaded."""
        self.wanted: list[tuple[Any, str]] = []
        """Where a parent's value goes beside the path: the option, and the placeholder."""

    # -- texts -------------------------------------------------------------------------------

    def text(self, value: Any, component: Mapping[str, Any], place: str, url: bool = False) -> str:
        """A text with its expressions replaced."""

        def replace(match: re.Match[str]) -> str:
            found = self._expression(match.group(1), component, place, url)
            if found is None:
                self.notes.add(place, f"{match.group(0)} is not carried over")
                return ""
            return found

        if isinstance(value, bool):
            return str(value).lower()
        return EXPRESSION.sub(replace, str(value))

    def _expression(
        self, text: str, component: Mapping[str, Any], place: str, url: bool
    ) -> str | None:
        quoted = re.fullmatch(r"""['"]([^'"]*)['"]""", text)
        if quoted:
            return str(quoted.group(1))
        if text == "download_target" and self._target:
            return f"{{job.{self._target}}}"
        match = LOOKUP.match(text)
        if not match:
            return None
        kind = match.group(1)
        path = [next(filter(None, groups)) for groups in STEP.findall(match.group(2))]
        if kind == "parameters":
            found = (component.get("$parameters") or {}).get(path[0])
            return None if found is None else str(self.text(found, component, place, url))
        if kind == "config":
            return self._config(path, place, url)
        if kind in ("creation_response", "polling_response"):
            return f"{{job.{_dotted(path)}}}"
        if kind in ("stream_partition", "stream_slice") and path[0] in self._parents:
            return f"{{{self._parents[path[0]]}}}"
        if kind in ("stream_interval", "stream_slice"):
            known = {"start_time": "startValue", "end_time": "endValue"}
            return f"{{incremental.{known[path[0]]}}}" if path[0] in known else None
        return None

    def name_all(self, place: str, component: Any, known: Iterable[str]) -> None:
        """Name each key of a component that no rule here has carried over."""
        if not isinstance(component, Mapping):
            return
        inherited = component.get("$parameters") or {}
        stated = {key: item for key, item in component.items() if key not in inherited and item}
        self.notes.unknown(place, stated, (*known, "type", "$parameters", "name", *SAYS_NOTHING))

    def _config(self, path: list[str], place: str, url: bool) -> str:
        name = path[-1]
        default = self._defaults.get(name)
        if url:
            if default is not None:
                self.notes.add(place, f"config {name!r} is its default, {default}")
                return str(default)
            self.notes.add(place, f"config {name!r} stands in the URL: write its value there")
            return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return f"${{SECRET:{self._source}#{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}}}"

    def credential(self, spec: Mapping[str, Any], name: str) -> str:
        """A credential; one that can't be told, or that stands in the manifest, is to be stored."""
        text = self.text(spec.get(name) or "", spec, "authenticator")
        if "${SECRET:" in text:
            return text
        made = f"${{SECRET:{self._source}#{name}}}"
        self.notes.add("authenticator", f"store its {name} as {made}")
        return made

    def texts(self, value: Any, component: Mapping[str, Any], place: str) -> dict[str, str]:
        """A mapping of texts; an expression that is not understood leaves its entry out."""
        if not isinstance(value, Mapping):
            if value:
                self.notes.add(place, "is no mapping; not carried over")
            return {}
        found = {}
        for key, item in value.items():
            if key == "$parameters" or item is None:
                continue
            text = self.text(item, component, f"{place}.{key}")
            if text or not EXPRESSION.search(str(item)):
                found[str(key)] = text
        return found

    def body(self, value: Any, component: Mapping[str, Any], place: str) -> Any:
        """A JSON body with its expressions replaced."""
        if isinstance(value, Mapping):
            return {
                key: self.body(item, component, f"{place}.{key}")
                for key, item in value.items()
                if key != "$parameters"
            }
        if isinstance(value, list):
            return [self.body(item, component, place) for item in value]
        return self.text(value, component, place) if isinstance(value, str) else value

    # -- parts -------------------------------------------------------------------------------

    def request(self, retriever: Mapping[str, Any], place: str) -> dict[str, Any]:
        """What a retriever asks."""
        requester = retriever.get("requester") or {}
        if requester.get("type", "HttpRequester") != "HttpRequester":
            raise CannotConvert(f"{place}: {requester.get('type')} is code, not configuration")
        base = self.text(requester.get("url_base", ""), requester, f"{place}.url_base", url=True)
        path = self.text(requester.get("path", ""), requester, f"{place}.path", url=True)
        whole = requester.get("url")
        if whole:
            base, path = self.text(whole, requester, f"{place}.url", url=True), ""
        base, path = "".join(base.split()), "".join(path.split())
        url = self._whole_url(f"{base.rstrip('/')}/{path.lstrip('/')}" if path else base, place)
        self.name_all(f"{place}.requester", requester, REQUESTER)
        self.name_all(place, retriever, RETRIEVER)
        headers = self.texts(requester.get("request_headers"), requester, f"{place}.headers")
        params = self.texts(requester.get("request_parameters"), requester, f"{place}.params")
        form = self.texts(requester.get("request_body_data"), requester, f"{place}.body_data")
        body = self.body(requester.get("request_body_json"), requester, f"{place}.body")
        whole_body = requester.get("request_body") or {}
        what = str(whole_body.get("type", ""))
        if what == "RequestBodyUrlEncodedForm":
            form |= self.texts(whole_body.get("value"), requester, f"{place}.request_body")
        elif what in ("RequestBodyJsonObject", "RequestBodyGraphQL"):
            body = self.body(whole_body.get("value"), requester, f"{place}.request_body")
        elif what:
            self.notes.add(f"{place}.request_body", f"{what} is not carried over")
        if isinstance(body, str) and body:
            self.notes.add(f"{place}.body", "is a text and no object; not carried over")
            body = None
        selector = retriever.get("record_selector") or {}
        self.name_all(f"{place}.record_selector", selector, SELECTOR)
        if selector.get("record_filter"):
            self.notes.add(f"{place}.record_filter", "not carried over: filter in the Pipeline")
        found: dict[str, Any] = {
            "endpoint": url,
            "method": str(requester.get("http_method", "GET")).upper(),
            "headers": headers,
            "params": params,
            "form": form,
            "body": body,
            "dataSelector": self._selector(selector, place),
        }
        found["paginator"] = self._paginator(retriever.get("paginator"), found, place)
        if (found["body"] or form) and found["method"] == "GET":
            self.notes.add(place, "a GET with a body is not possible: method is POST")
            found["method"] = "POST"
        return found

    def job(self, retriever: Mapping[str, Any], place: str) -> dict[str, Any]:
        """What an AsyncRetriever asks: one request creates a job, another asks for its state."""
        extractor = retriever.get("download_target_extractor") or retriever.get("urls_extractor")
        self._target = _dotted(
            [str(part) for part in (extractor or {}).get("field_path") or ["url"]]
        )
        known = ("status_mapping", "status_extractor", "download_target_extractor",
                 "urls_extractor", "creation_requester", "polling_requester", "download_requester",
                 "download_paginator", "download_decoder", "polling_job_timeout")  # fmt: skip
        self.name_all(place, retriever, (*RETRIEVER, *known))
        selector = retriever.get("record_selector")
        created = {"requester": retriever.get("creation_requester"), "record_selector": selector}
        api = self.request(created, f"{place}.creation")
        later = {}
        for name in ("polling", "download"):
            requester = retriever.get(f"{name}_requester") or {}
            if name == "download" and not requester.get("url_base") and not requester.get("url"):
                requester = {**requester, "url_base": "{{ download_target }}", "path": ""}
            later[name] = self.request({"requester": requester}, f"{place}.{name}")
            for key in ("params", "body", "form"):
                if later[name][key]:
                    self.notes.add(f"{place}.{name}_requester.{key}", "not carried over")
        states = retriever.get("status_mapping") or {}
        path = (retriever.get("status_extractor") or {}).get("field_path") or ["status"]
        minutes = retriever.get("polling_job_timeout")
        api["asyncJob"] = without_none(
            {
                "statusUrl": later["polling"]["endpoint"],
                "statusPath": _dotted([str(part) for part in path]),
                "completed": [str(state) for state in states.get("completed") or ["completed"]],
                "failed": [
                    str(state) for key in ("failed", "timeout") for state in states.get(key) or []
                ],
                "timeout": f"{minutes}m" if isinstance(minutes, int) else None,
                "downloadUrl": later["download"]["endpoint"],
            }
        )
        api["paginator"] = self._paginator(retriever.get("download_paginator"), api, place)
        return api

    def _whole_url(self, url: str, place: str) -> str:
        """A URL, with a host to be written in where the manifest has none that can be told."""
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        scheme, mark, rest = url.partition("://")
        whole = host and mark and scheme in ("http", "https") and URL.fullmatch(url)
        if whole or re.fullmatch(r"\{job\.[^\s{}]+\}", url):
            return url
        first, slash, path = (rest if mark else url).partition("/")
        path = path.lstrip("/")
        name = re.sub(r"[^a-z0-9]+", "-", first.lower()).strip("-") or "url-base"
        made = f"https://{name}.example.com{slash}{re.sub(r'[^A-Za-z0-9/._~%{}?=&:,+-]', '', path)}"
        self.notes.add(f"{place}.url_base", f"is {made} here: write the real address there")
        return made

    def _selector(self, selector: Mapping[str, Any], place: str) -> str | None:
        extractor = selector.get("extractor") or {}
        if extractor.get("type", "DpathExtractor") != "DpathExtractor":
            self.notes.add(f"{place}.extractor", f"{extractor.get('type')} is code")
            return None
        self.name_all(f"{place}.extractor", extractor, ("field_path", "decoder"))
        steps = extractor.get("field_path") or []
        steps = [steps] if isinstance(steps, str) else steps
        text = "$"
        for step in steps:
            name = self.text(step, extractor, f"{place}.field_path")
            text += "[*]" if name == "*" else f".{name}" if name.isidentifier() else f"['{name}']"
        return text

    def _paginator(
        self, spec: Mapping[str, Any] | None, api: dict[str, Any], place: str
    ) -> dict[str, Any]:
        spec = spec or {}
        strategy = spec.get("pagination_strategy") or {}
        kind = strategy.get("type")
        if spec.get("type", "NoPagination") == "NoPagination" or kind is None:
            return {"type": "single"}
        found: dict[str, Any] = {}
        self.name_all(f"{place}.paginator", spec, PAGINATOR)
        self.name_all(f"{place}.pagination_strategy", strategy, STRATEGY)
        size = self._number(strategy.get("page_size"), strategy, place)
        option = spec.get("page_size_option")
        self._into(option, "limit", found, f"{place}.page_size_option", size, api)
        if size is not None:
            found["pageSize"] = size
        token = spec.get("page_token_option")
        if kind == "PageIncrement":
            found["type"] = "pageNumber"
            found["basePage"] = int(strategy.get("start_from_page") or 0)
            if found["basePage"] > 1:
                self.notes.add(f"{place}.start_from_page", "more than 1 is not carried over")
                found["basePage"] = 1
            self._into(token, "page", found, f"{place}.page_token_option", None, api)
        elif kind == "OffsetIncrement":
            found["type"] = "offset"
            self._into(token, "offset", found, f"{place}.page_token_option", None, api)
        elif kind == "CursorPagination":
            self._cursor(strategy, token, found, place, api)
        else:
            self.notes.add(f"{place}.paginator", f"{kind} is code; paginator is auto")
            return {"type": "auto"}
        return found

    def _number(self, value: Any, component: Mapping[str, Any], place: str) -> int | None:
        if value is None:
            return None
        text = self.text(value, component, f"{place}.page_size", url=True)
        return int(text) if text.isdigit() else None

    def _into(
        self,
        option: Any,
        what: str,
        found: dict[str, Any],
        place: str,
        value: Any,
        api: dict[str, Any],
    ) -> None:
        """Where a page's number, offset, size or token goes."""
        if not isinstance(option, Mapping) or option.get("type") == "RequestPath":
            return
        names = option.get("field_path") or [option.get("field_name", "")]
        name = ".".join(self.text(part, option, place) for part in names)
        if not name:
            self.notes.add(place, "does not say under which name; not carried over")
            return
        into = option.get("inject_into")
        if into == "request_parameter":
            found[f"{what}Param"] = name
        elif into in ("body_json", "body_data"):
            found[f"{what}BodyPath"] = name
        elif into == "header" and value is not None:
            api["headers"][name] = str(value)
        else:
            self.notes.add(place, f"inject_into {into!r} is not carried over")

    def _cursor(
        self,
        strategy: Mapping[str, Any],
        token: Any,
        found: dict[str, Any],
        place: str,
        api: dict[str, Any],
    ) -> None:
        where = f"{place}.paginator"
        kind, path = self._looked_up(strategy.get("cursor_value"))
        link = isinstance(token, Mapping) and token.get("type") == "RequestPath"
        if kind == "headers" and path[:1] == ["link"]:
            found["type"] = "link"
        elif kind == "response" and link:
            found |= {"type": "link", "nextPath": _dotted(path)}
        elif kind == "response":
            found |= {"type": "cursor", "cursorPath": _dotted(path)}
            self._into(token, "cursor", found, f"{place}.page_token_option", None, api)
        elif kind == "headers":
            found |= {"type": "cursor", "cursorHeader": path[-1]}
            self._into(token, "cursor", found, f"{place}.page_token_option", None, api)
        else:
            self.notes.add(where, "its cursor_value is an expression; paginator is auto")
            found["type"] = "auto"
        stop = str(strategy.get("stop_condition") or "")
        negated = re.fullmatch(r"\{\{\s*(?:not\s+(.*?)|(.*?)\s+is\s+false)\s*\}\}", stop, re.I)
        inner = next(filter(None, negated.groups())) if negated else ""
        more, way = self._looked_up("{{" + inner + "}}")
        if more == "response" and way != path:
            found["hasMorePath"] = _dotted(way)
        elif stop and way != path and not _says_empty(stop, path):
            self.notes.add(f"{where}.stop_condition", f"{stop} is not carried over")

    def _looked_up(self, value: Any) -> tuple[str, list[str]]:
        match = EXPRESSION.fullmatch(str(value or "").strip())
        found = LOOKUP.match(match.group(1)) if match else None
        if not found:
            return "", []
        path = [next(filter(None, groups)) for groups in STEP.findall(found.group(2))]
        return found.group(1), path

    def auth(self, spec: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The authenticator."""
        if not spec or spec.get("type") == "NoAuth":
            return None
        kind = str(spec.get("type"))
        if kind == "SelectiveAuthenticator":
            options = spec.get("authenticators") or {}
            named = [name for name in options if name != "$parameters"]
            self.notes.add("authenticator", f"of {', '.join(named)} the first is taken")
            return self.auth(options[named[0]]) if named else None
        convert = AUTHS.get(kind)
        if convert is None:
            kind = spec.get("class_name", kind) if kind == "None" else kind
            self.notes.add("authenticator", f"{kind} is code; set auth")
            return None
        return convert(self, spec)

    def actions(self, handler: Mapping[str, Any] | None, place: str) -> list[dict[str, Any]]:
        """The response filters of an error handler."""
        handler = handler or {}
        nested = handler.get("error_handlers") or [handler]
        found = []
        for one in nested:
            self.name_all(place, one, HANDLER)
            if one.get("backoff_strategies"):
                self.notes.add(
                    f"{place}.backoff_strategies",
                    "not carried over: Retry-After and rate-limit headers are obeyed anyway",
                )
            for item in one.get("response_filters") or []:
                found += self._filter(item, place)
        return found

    def _filter(self, item: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
        names = {"IGNORE": "ignore", "RETRY": "retry", "RATE_LIMITED": "retry", "FAIL": "fail"}
        self.name_all(f"{place}.response_filters", item, FILTER)
        action = names.get(str(item.get("action", "")).upper())
        if action is None or item.get("predicate"):
            self.notes.add(f"{place}.response_filters", f"{item.get('action')} is not carried over")
            return []
        text = item.get("error_message_contains")
        message = item.get("error_message")
        base = without_none(
            {
                "content": text,
                "message": message if message and "{{" not in str(message) else None,
                "action": action,
            }
        )
        codes = item.get("http_codes") or []
        return [{"status": str(code), **base} for code in codes] or ([base] if text else [])

    def incremental(self, spec: Mapping[str, Any] | None, api: dict[str, Any]) -> Any:
        """The incremental sync."""
        if not spec:
            return None
        if spec.get("type") not in ("DatetimeBasedCursor", "IncrementingCountCursor"):
            self.notes.add("incremental_sync", f"{spec.get('type')} is code; all is read each time")
            return None
        found: dict[str, Any] = {
            "cursorPath": self.text(spec.get("cursor_field", ""), spec, "incremental_sync")
        }
        self.name_all("incremental_sync", spec, CURSOR)
        initial = spec.get("start_datetime", spec.get("start_value"))
        if isinstance(initial, Mapping):
            self.name_all(
                "incremental_sync.start_datetime", initial, ("datetime", "datetime_format")
            )
            initial = initial.get("datetime")
        if initial is not None:
            kind, path = self._looked_up(initial)
            if kind == "config":
                initial = self._defaults.get(path[-1])
                if initial is None:
                    self.notes.add(
                        "incremental_sync.start_datetime",
                        f"config {path[-1]!r}: write it as initialValue; here it is 2020-01-01",
                    )
                    initial = "2020-01-01T00:00:00Z"
            text = self.text(initial, spec, "incremental_sync.start_datetime")
            if not text and spec.get("type") == "DatetimeBasedCursor":
                text = "2020-01-01T00:00:00Z"
                self.notes.add("incremental_sync.start_datetime", "is 2020-01-01 here")
            found["initialValue"] = text or None
        if spec.get("type") == "DatetimeBasedCursor":
            found["format"] = moment_format(str(spec.get("datetime_format", "iso")))
        if spec.get("end_datetime"):
            self.notes.add("incremental_sync.end_datetime", "the end is the run's scheduled time")
        for option, param in (("start_time_option", "startParam"), ("end_time_option", "endParam")):
            self._moment(spec.get(option), param, found, api)
        for key, name in (("step", "step"), ("lookback_window", "lag")):
            text = self.text(spec[key], spec, f"incremental_sync.{key}") if spec.get(key) else ""
            length = duration(text) if text else None
            if length and (name != "step" or found.get("initialValue")):
                found[name] = length
            elif text:
                self.notes.add(f"incremental_sync.{key}", f"{text!r} is not carried over")
        _in_format(found)
        if found.get("format") == "date" and "T" in str(found.get("initialValue")):
            found["initialValue"] = str(found["initialValue"]).partition("T")[0]
        used = repr(api)
        asked = "startParam" in found or "{incremental.startValue}" in used
        if not asked and not spec.get("is_client_side_incremental"):
            self.notes.add("incremental_sync", "nothing takes its start: all is read each time")
            return None
        if "endParam" not in found and "{incremental.endValue}" not in used:
            found.pop("step", None)
        return without_none(found)

    def _moment(self, option: Any, param: str, found: dict[str, Any], api: dict[str, Any]) -> None:
        if not isinstance(option, Mapping):
            return
        name = self.text(option.get("field_name", ""), option, "incremental_sync")
        into, value = option.get("inject_into"), f"{{incremental.{param[:-5]}Value}}"
        if not name:
            path = option.get("field_path")
            self.notes.add(f"incremental_sync.{param}", f"field_path {path} is not carried over")
            return
        if into == "request_parameter":
            found[param] = name
        elif into == "header":
            api["headers"][name] = value
        elif into == "body_json":
            api["body"] = {**(api.get("body") or {}), name: value}
            api["method"] = "POST"
        else:
            self.notes.add(f"incremental_sync.{param}", f"inject_into {into!r} is not carried over")

    def _free(self, text: str) -> str:
        """A parent's name that no other has."""
        name = re.sub(r"[^A-Za-z0-9_]", "_", text)
        tried = (name, *(f"{name}_{number}" for number in range(2, 1000)))
        free = next(one for one in tried if one not in self._taken)
        self._taken.add(free)
        return free

    def partition(
        self, routers: Any, streams: Mapping[str, Any], depth: int = 0
    ) -> list[dict[str, Any]]:
        """The parents that a partition router names."""
        found: list[dict[str, Any]] = []
        for router in routers if isinstance(routers, list) else [routers] if routers else []:
            if router.get("type") != "SubstreamPartitionRouter":
                kind = router.get("type") or router.get("class_name") or "one without a type"
                self.notes.add("partition_router", f"{kind} is not carried over")
                continue
            if depth > 2 or len(self._taken) > 2:
                self.notes.add("partition_router", "of more than three parents the first are taken")
                continue
            configs = router.get("parent_stream_configs") or []
            self.name_all("partition_router", router, ("parent_stream_configs",))
            for config in configs[:1]:
                above = config.get("stream") or {}
                self.name_all("partition_router", config, PARENT)
                retriever = above.get("retriever") or {}
                around, self.wanted = self.wanted, []
                found += self.partition(retriever.get("partition_router"), streams, depth + 1)
                name = self._free(str(above.get("name") or "parent"))
                if above.get("incremental_sync"):
                    self.notes.add(f"parents.{name}", "is read whole at each run")
                # What the parent's own request names are its parents, whose fields may be called alike.
                asked = self.request(retriever, f"parents.{name}")
                for option, value in self.wanted:
                    self.into(option, value, asked, "partition_router.request_option")
                found.append(without_none({"name": name, **asked}))
                key = str(config.get("parent_key") or "id")
                place = f"resources.{name}.{key}"
                self._parents[str(config.get("partition_field") or key)] = place
                self.wanted = [*around, (config.get("request_option"), f"{{{place}}}")]
            if len(configs) > 1:
                self.notes.add("partition_router", "of several parents the first is carried over")
        return found

    def into(self, option: Any, value: str, api: dict[str, Any], place: str) -> None:
        """Put a value where a request option says."""
        if not isinstance(option, Mapping):
            return
        name = self.text(option.get("field_name") or "", option, place)
        into = {"request_parameter": "params", "header": "headers", "body_json": "body"}
        member = into.get(str(option.get("inject_into")))
        if member is None or not name:
            self.notes.add(place, f"inject_into {option.get('inject_into')!r} is not carried over")
            return
        api[member] = {**(api.get(member) or {}), name: value}
        if member == "body" and api["method"] == "GET":
            api["method"] = "POST"


def _says_empty(stop: str, path: list[str]) -> bool:
    """Whether a stop condition says that the cursor is empty, which ends it anyway."""
    match = re.fullmatch(r"\{\{\s*(\S+)\s*==\s*(''|\"\"|None|none)\s*\}\}", stop)
    found = LOOKUP.match(match.group(1)) if match else None
    steps = STEP.findall(found.group(2)) if found else []
    return bool(steps) and [next(filter(None, groups)) for groups in steps] == path


def _in_format(found: dict[str, Any]) -> None:
    """The initial value as the source writes moments, where that is a number."""
    scale = {"epochSeconds": 1, "epochMillis": 1000}.get(str(found.get("format")))
    try:
        moment = datetime.fromisoformat(str(found.get("initialValue")))
    except ValueError:
        return
    if scale:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        found["initialValue"] = str(int(moment.timestamp()) * scale)


def _dotted(path: list[str]) -> str:
    return "".join(
        (f".{part}" if index else part) if part.isidentifier() else f"['{part}']"
        for index, part in enumerate(path)
    )


def _bearer(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"bearer": {"token": stream.credential(spec, "api_token")}}


def _api_key(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    option = spec.get("inject_into") or {}
    into = option.get("inject_into", "header") if isinstance(option, Mapping) else "header"
    name = option.get("field_name") if isinstance(option, Mapping) else None
    if into not in ("header", "request_parameter"):
        stream.notes.add("authenticator", f"inject_into {into!r} is not carried over")
    return {
        "apiKey": {
            "name": stream.text(name or spec.get("header") or "Authorization", spec, "auth"),
            "value": stream.credential(spec, "api_token"),
            "location": "query" if into == "request_parameter" else "header",
        }
    }


def _basic(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "httpBasic": {
            "username": stream.text(spec.get("username", ""), spec, "authenticator"),
            "password": stream.text(spec.get("password", ""), spec, "authenticator"),
        }
    }


def _oauth(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    grant = stream.text(spec.get("grant_type", "refresh_token"), spec, "authenticator")
    found: dict[str, Any] = {
        "tokenUrl": stream.text(
            spec.get("token_refresh_endpoint", ""), spec, "authenticator", url=True
        ),
        "clientId": stream.text(spec.get("client_id") or "", spec, "authenticator")
        or stream.credential(spec, "client_id"),
        "clientSecret": stream.credential(spec, "client_secret"),
        "scopes": list(spec.get("scopes") or []),
        "tokenPath": spec.get("access_token_name"),
        "expiresPath": spec.get("expires_in_name"),
        "params": {
            k: str(v)
            for k, v in (spec.get("refresh_request_body") or {}).items()
            if k != "$parameters"
        },
    }
    if grant == "client_credentials":
        return {"oauth2ClientCredentials": without_none(found)}
    token = stream.text(spec.get("refresh_token", ""), spec, "authenticator")
    match = re.fullmatch(r"\$\{SECRET:([^#}]+)#([^}]+)\}", token)
    if not match:
        stream.notes.add("authenticator.refresh_token", "store it in a secret and name it")
    found["secret"] = match.group(1) if match else "refresh"
    found["refreshTokenKey"] = match.group(2) if match else "refresh_token"
    if spec.get("refresh_token_updater"):
        found["rotate"] = True
    return {"oauth2RefreshToken": without_none(found)}


def _session(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    asked = stream.request({"requester": spec.get("login_requester") or {}}, "login_requester")
    use = spec.get("request_authentication") or {}
    option = use.get("inject_into") or {}
    if use.get("type") == "ApiKey" and option.get("inject_into") != "header":
        stream.notes.add("authenticator", "its token goes into a header here")
    length = duration(str(spec.get("expiration_duration") or ""))
    found = {
        "loginUrl": asked["endpoint"],
        "method": asked["method"] if asked["method"] in ("POST", "PUT") else "POST",
        "headers": asked["headers"],
        "params": asked["params"],
        "body": asked["body"],
        "form": asked["form"],
        "tokenPath": _dotted([str(part) for part in spec.get("session_token_path") or ["token"]]),
        "header": option.get("field_name") or "Authorization",
        "lifetime": length,
    }
    made = without_none(found)
    if use.get("type") == "ApiKey":
        made["scheme"] = ""
    nested = stream.auth((spec.get("login_requester") or {}).get("authenticator"))
    basic = (nested or {}).get("httpBasic")
    if nested:
        what = "httpBasic" if basic else next(iter(nested))
        stream.notes.add("login_requester.authenticator", f"{what} is not carried over")
    return {"sessionToken": made}


def _jwt(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = str(spec.get("algorithm", ""))
    if algorithm not in ("RS256", "ES256", "HS256"):
        stream.notes.add("authenticator.algorithm", f"{algorithm} is not served; RS256 is set")
        algorithm = "RS256"
    claims = {
        **(spec.get("jwt_payload") or {}),
        **(spec.get("additional_jwt_payload") or {}),
    }
    return {
        "jwt": without_none(
            {
                "key": stream.credential(spec, "secret_key"),
                "algorithm": algorithm,
                "keyId": stream.text((spec.get("jwt_headers") or {}).get("kid", ""), spec, "kid"),
                "claims": stream.body(claims, spec, "authenticator.jwt_payload"),
                "lifetime": f"{int(spec.get('token_duration') or 1200)}s",
            }
        )
    }


AUTHS: Mapping[str, Callable[[_Stream, Mapping[str, Any]], dict[str, Any]]] = {
    "BearerAuthenticator": _bearer,
    "ApiKeyAuthenticator": _api_key,
    "BasicHttpAuthenticator": _basic,
    "OAuthAuthenticator": _oauth,
    "SessionTokenAuthenticator": _session,
    "JwtAuthenticator": _jwt,
}

DECODERS = {
    "JsonDecoder": None,
    "GzipDecoder": None,
    "JsonlDecoder": {"type": "jsonLines"},
    "CsvDecoder": {"type": "csv"},
    "XmlDecoder": {"type": "xml"},
}
"""Airbyte's decoder -> ``format``; None where it needs none."""

SAYS_NOTHING = ("description", "$comment", "class_name", "$schema")
KNOWN = ("primary_key", "retriever", "incremental_sync", "schema_loader", "transformations")
RETRIEVER = ("requester", "record_selector", "paginator", "partition_router", "decoder")
REQUESTER = (
    "url_base", "url", "path", "http_method", "request_headers", "request_parameters",
    "request_body", "request_body_data", "request_body_json", "authenticator", "error_handler",
    "use_cache",
)  # fmt: skip
SELECTOR = ("extractor", "record_filter", "schema_normalization")
PAGINATOR = ("pagination_strategy", "page_size_option", "page_token_option", "decoder", "url_base")
STRATEGY = (
    "page_size", "start_from_page", "inject_on_first_request", "cursor_value", "stop_condition",
    "decoder",
)  # fmt: skip
CURSOR = (
    "cursor_field", "start_datetime", "start_value", "end_datetime", "datetime_format",
    "cursor_datetime_formats", "cursor_granularity", "step", "lookback_window", "start_time_option",
    "end_time_option", "is_client_side_incremental", "global_substream_cursor",
)  # fmt: skip
PARENT = ("stream", "parent_key", "partition_field", "request_option")
HANDLER = ("error_handlers", "response_filters", "backoff_strategies")
FILTER = (
    "action",
    "http_codes",
    "error_message_contains",
    "error_message",
    "predicate",
    "failure_type",
)
MANIFEST = (
    "version", "type", "check", "definitions", "streams", "spec", "metadata", "schemas",
    *SAYS_NOTHING,
)  # fmt: skip
"""What is carried over of each component, is named where it is read, or says nothing of the data:
records' moments are read however they are written, and borders of windows are told apart."""

URL = re.compile(r"https?://[^\s/?#@{}\[\]'\"]+([/?][^\s#]*)?")


def convert_manifest(
    manifest: Mapping[str, Any], name: str, platform: str = "default"
) -> list[Converted]:
    """One DataSource for each stream of a manifest.

    Parameters
    ----------
    name
        Of the source: the secret that ``config`` became is called so.

    Raises
    ------
    CannotConvert
        A reference points at nothing, or a stream is code.
    """
    whole = resolved(manifest)
    properties = (
        ((whole.get("spec") or {}).get("connection_specification") or {}).get("properties")
    ) or {}
    defaults = {
        key: item["default"]
        for key, item in properties.items()
        if isinstance(item, Mapping) and "default" in item
    }
    about = Notes()
    about.unknown("", whole, MANIFEST)
    found = []
    for index, item in enumerate(_streams(whole.get("streams") or [], about)):
        called = item.get("name") or (item.get("$parameters") or {}).get("name") or index
        try:
            found.append(_converted(spread(item, {}, "streams"), index, name, defaults, platform))
        except CannotConvert as error:
            about.add(f"stream {called}", f"left out: {error}")
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            what = f"{type(error).__name__}: {error}"
            about.add(f"stream {called}", f"left out: its form is not understood ({what})")
    if not found:
        why = ["no stream can be converted", *about.found]
        raise CannotConvert("; ".join(why) if whole.get("streams") else "streams is empty")
    found[0] = replace(found[0], notes=(*about.found, *found[0].notes))
    return found


def _streams(items: Any, about: Notes) -> Iterator[Mapping[str, Any]]:
    """The plain streams among those of a manifest."""
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            old = str(item).startswith("*ref(")
            why = "written for a CDK before 0.30, with *ref(...): migrate the manifest first"
            about.add(f"streams[{index}]", why if old else f"{item!r} is no stream")
        elif item.get("type") == "StateDelegatingStream":
            about.add(f"stream {item.get('name', index)}", "its incremental_stream is taken")
            stream = item.get("incremental_stream") or {}
            yield {"name": item.get("name"), "$parameters": item.get("$parameters"), **stream}
        elif item.get("type") == "ConditionalStreams":
            about.add(f"streams[{index}]", f"are taken whatever {item.get('condition')} says")
            yield from _streams(item.get("streams") or [], about)
        else:
            yield item


def _converted(
    stream: Mapping[str, Any], index: int, source: str, defaults: Mapping[str, Any], platform: str
) -> Converted:
    name = str(stream.get("name") or f"stream-{index}")
    if stream.get("type", "DeclarativeStream") != "DeclarativeStream":
        raise CannotConvert(f"stream {name}: {stream.get('type')} has no counterpart")
    retriever = stream.get("retriever") or {}
    made = _Stream(name, source, defaults, {})
    job = retriever.get("type") == "AsyncRetriever"
    if not job and retriever.get("type", "SimpleRetriever") != "SimpleRetriever":
        made.notes.add("retriever", f"{retriever.get('type')}: only its plain part is carried over")
    parents = made.partition(retriever.get("partition_router"), {})
    api = (made.job if job else made.request)(retriever, "retriever")
    requester = retriever.get("creation_requester" if job else "requester") or {}
    auth = made.auth(requester.get("authenticator"))
    decoder = retriever.get("download_decoder" if job else "decoder") or {}
    kind = decoder.get("type", "JsonDecoder")
    if kind == "GzipDecoder":
        kind = (decoder.get("decoder") or {}).get("type", "JsonDecoder")
    if kind not in DECODERS:
        made.notes.add("decoder", f"{kind} is not carried over")
    incremental = made.incremental(stream.get("incremental_sync"), api)
    for key, why in (
        ("schema_loader", "types are told from the first landing; state schema.fields to fix them"),
        ("transformations", "not carried over: write them as stages of a Pipeline"),
    ):
        if stream.get(key):
            made.notes.add(key, why)
    for option, value in made.wanted:
        made.into(option, value, api, "partition_router.request_option")
    made.name_all("", stream, KNOWN)
    keys = stream.get("primary_key") or []
    api |= {
        "auth": auth,
        "parents": parents,
        "format": DECODERS.get(kind),
        "incremental": incremental,
        "responseActions": made.actions(requester.get("error_handler"), "error_handler"),
    }
    return data_source(
        f"{source}-{name}",
        api,
        [keys] if isinstance(keys, str) else _flat(keys),
        platform,
        made.notes,
    )


def _flat(keys: Any) -> list[str]:
    return [str(one) for key in keys for one in (key if isinstance(key, list) else [key])]
