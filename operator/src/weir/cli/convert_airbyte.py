"""``weir convert`` for an Airbyte low-code manifest: one DataSource for each stream.

Source: Airbyte's documentation, *Low-code CDK, YAML reference*. ``$ref`` and ``$parameters`` are
resolved as there; of Jinja only plain look-ups are understood, all else is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    r"""^(config|parameters|response|headers|stream_partition|stream_slice|stream_interval)
        ((?:\.[A-Za-z_][\w-]*|\[\s*['"][^'"\]]+['"]\s*\]|\.get\(\s*['"][^'"]+['"]\s*(?:,[^)]*)?\))+)$""",
    re.VERBOSE,
)
STEP = re.compile(
    r"""\.get\(\s*['"]([^'"]+)['"][^)]*\)|\.([A-Za-z_][\w-]*)|\[\s*['"]([^'"\]]+)['"]\s*\]"""
)
MAX_DEPTH = 40


def is_manifest(data: Any) -> bool:
    """Whether this is a declarative manifest."""
    return isinstance(data, Mapping) and "streams" in data and "version" in data


def resolved(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with every ``$ref`` replaced by what it points at; own keys go before its keys.

    Raises
    ------
    CannotConvert
        A reference points at nothing, or at itself.
    """

    def walk(value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CannotConvert("a $ref leads in a circle")
        if isinstance(value, str) and value.startswith("#/"):
            return walk(target(value), depth + 1)
        if isinstance(value, Mapping):
            found = {}
            if isinstance(value.get("$ref"), str):
                base = walk(target(value["$ref"]), depth + 1)
                if not isinstance(base, Mapping):
                    return base
                found = dict(base)
            for key, item in value.items():
                if key == "$ref":
                    continue
                own = walk(item, depth + 1)
                both = isinstance(own, Mapping) and isinstance(found.get(key), Mapping)
                found[key] = {**found[key], **own} if both and key == "$parameters" else own
            return found
        if isinstance(value, list):
            return [walk(item, depth + 1) for item in value]
        return value

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

    found: dict[str, Any] = walk({k: v for k, v in manifest.items() if k != "definitions"}, 0)
    return found


def spread(value: Any, inherited: Mapping[str, Any]) -> Any:
    """Every component with the ``$parameters`` of those around it: they are defaults of its own
    fields, and what ``parameters`` looks up."""
    if isinstance(value, Mapping):
        own = {**inherited, **(value.get("$parameters") or {})}
        found = {k: spread(v, own) for k, v in value.items() if k != "$parameters"}
        if "type" in found:
            found = {**{k: v for k, v in own.items() if k not in found}, **found}
        return {**found, "$parameters": own}
    if isinstance(value, list):
        return [spread(item, inherited) for item in value]
    return value


class _Stream:
    """Converts one stream."""

    def __init__(
        self, name: str, source: str, defaults: Mapping[str, Any], parents: dict[str, Any]
    ) -> None:
        self.notes = Notes()
        self._name, self._source, self._defaults = name, source, defaults
        self._parents = parents

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
        if kind in ("stream_partition", "stream_slice") and path[0] in self._parents:
            return f"{{{self._parents[path[0]]}}}"
        if kind in ("stream_interval", "stream_slice"):
            known = {"start_time": "startValue", "end_time": "endValue"}
            return f"{{incremental.{known[path[0]]}}}" if path[0] in known else None
        return None

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
        url = f"{base.rstrip('/')}/{path.lstrip('/')}" if path else base
        if not urlsplit(url).hostname:
            raise CannotConvert(f"{place}: {url!r} is no URL")
        headers = self.texts(requester.get("request_headers"), requester, f"{place}.headers")
        params = self.texts(requester.get("request_parameters"), requester, f"{place}.params")
        form = self.texts(requester.get("request_body_data"), requester, f"{place}.body_data")
        selector = retriever.get("record_selector") or {}
        if selector.get("record_filter"):
            self.notes.add(f"{place}.record_filter", "not carried over: filter in the Pipeline")
        found: dict[str, Any] = {
            "endpoint": url,
            "method": str(requester.get("http_method", "GET")).upper(),
            "headers": headers,
            "params": params,
            "form": form,
            "body": self.body(requester.get("request_body_json"), requester, f"{place}.body"),
            "dataSelector": self._selector(selector, place),
        }
        found["paginator"] = self._paginator(retriever.get("paginator"), found, place)
        if (found["body"] or form) and found["method"] == "GET":
            self.notes.add(place, "a GET with a body is not possible: method is POST")
            found["method"] = "POST"
        return found

    def _selector(self, selector: Mapping[str, Any], place: str) -> str | None:
        extractor = selector.get("extractor") or {}
        if extractor.get("type", "DpathExtractor") != "DpathExtractor":
            self.notes.add(f"{place}.extractor", f"{extractor.get('type')} is code")
            return None
        steps = extractor.get("field_path") or []
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
        size = self._number(strategy.get("page_size"), strategy, place)
        option = spec.get("page_size_option")
        self._into(option, "limit", found, f"{place}.page_size_option", size, api)
        if size is not None:
            found["pageSize"] = size
        token = spec.get("page_token_option")
        if kind == "PageIncrement":
            found["type"] = "pageNumber"
            found["basePage"] = int(strategy.get("start_from_page") or 0)
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
        name = ".".join(str(part) for part in names)
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
        elif stop and way != path:
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
            self.notes.add("authenticator", f"{kind} is code; set auth")
            return None
        return convert(self, spec)

    def actions(self, handler: Mapping[str, Any] | None, place: str) -> list[dict[str, Any]]:
        """The response filters of an error handler."""
        handler = handler or {}
        nested = handler.get("error_handlers") or [handler]
        found = []
        for one in nested:
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
        initial = spec.get("start_datetime", spec.get("start_value"))
        if isinstance(initial, Mapping):
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
            if length and (name != "step" or "initialValue" in found):
                found[name] = length
            elif text:
                self.notes.add(f"incremental_sync.{key}", f"{text!r} is not carried over")
        _in_format(found)
        if found.get("format") == "date" and "T" in str(found.get("initialValue")):
            found["initialValue"] = str(found["initialValue"]).partition("T")[0]
        used = repr(api)
        if "startParam" not in found and "{incremental.startValue}" not in used:
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
        if into == "request_parameter":
            found[param] = name
        elif into == "header":
            api["headers"][name] = value
        elif into == "body_json":
            api["body"] = {**(api.get("body") or {}), name: value}
            api["method"] = "POST"
        else:
            self.notes.add(f"incremental_sync.{param}", f"inject_into {into!r} is not carried over")

    def partition(
        self, routers: Any, streams: Mapping[str, Any], depth: int = 0
    ) -> list[dict[str, Any]]:
        """The parents that a partition router names."""
        found: list[dict[str, Any]] = []
        for router in routers if isinstance(routers, list) else [routers] if routers else []:
            if router.get("type") != "SubstreamPartitionRouter" or depth > 2:
                self.notes.add("partition_router", f"{router.get('type')} is not carried over")
                continue
            configs = router.get("parent_stream_configs") or []
            for config in configs[:1]:
                above = config.get("stream") or {}
                name = re.sub(r"[^A-Za-z0-9_]", "_", str(above.get("name", "parent")))
                retriever = above.get("retriever") or {}
                found += self.partition(retriever.get("partition_router"), streams, depth + 1)
                key = str(config.get("parent_key", "id"))
                self._parents[str(config.get("partition_field", key))] = f"resources.{name}.{key}"
                asked = self.request(retriever, f"parents.{name}")
                found.append(without_none({"name": name, **asked}))
            if len(configs) > 1:
                self.notes.add("partition_router", "of several parents the first is carried over")
        return found


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
    return {"bearer": {"token": stream.text(spec.get("api_token", ""), spec, "authenticator")}}


def _api_key(stream: _Stream, spec: Mapping[str, Any]) -> dict[str, Any]:
    option = spec.get("inject_into") or {}
    into = option.get("inject_into", "header") if isinstance(option, Mapping) else "header"
    name = option.get("field_name") if isinstance(option, Mapping) else None
    if into not in ("header", "request_parameter"):
        stream.notes.add("authenticator", f"inject_into {into!r} is not carried over")
    return {
        "apiKey": {
            "name": stream.text(name or spec.get("header") or "Authorization", spec, "auth"),
            "value": stream.text(spec.get("api_token", ""), spec, "authenticator"),
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
        "clientId": stream.text(spec.get("client_id", ""), spec, "authenticator"),
        "clientSecret": stream.text(spec.get("client_secret", ""), spec, "authenticator"),
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
                "key": stream.text(spec.get("secret_key", ""), spec, "authenticator"),
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

KNOWN = (
    "type", "name", "primary_key", "retriever", "incremental_sync", "schema_loader",
    "transformations", "$parameters",
)  # fmt: skip


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
    streams = [spread(item, {}) for item in whole.get("streams") or [] if isinstance(item, Mapping)]
    found = []
    for index, stream in enumerate(streams):
        found.append(_converted(stream, index, name, defaults, platform))
    if not found:
        raise CannotConvert("streams is empty")
    return found


def _converted(
    stream: Mapping[str, Any], index: int, source: str, defaults: Mapping[str, Any], platform: str
) -> Converted:
    name = str(stream.get("name") or f"stream-{index}")
    if stream.get("type", "DeclarativeStream") != "DeclarativeStream":
        raise CannotConvert(f"stream {name}: {stream.get('type')} has no counterpart")
    retriever = stream.get("retriever") or {}
    made = _Stream(name, source, defaults, {})
    if retriever.get("type", "SimpleRetriever") != "SimpleRetriever":
        made.notes.add("retriever", f"{retriever.get('type')}: only its plain part is carried over")
    parents = made.partition(retriever.get("partition_router"), {})
    api = made.request(retriever, "retriever")
    requester = retriever.get("requester") or {}
    auth = made.auth(requester.get("authenticator"))
    decoder = retriever.get("decoder") or {}
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
    extra = set(stream.get("$parameters") or {})
    made.notes.unknown("", {k: v for k, v in stream.items() if k not in extra}, KNOWN)
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
