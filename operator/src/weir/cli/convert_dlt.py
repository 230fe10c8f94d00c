"""``weir convert`` for a dlt ``rest_api`` configuration: one DataSource for each resource.

Source: dlt's documentation, *REST API generic source*. A .py file is read, never run: literals,
names of constants, ``dlt.secrets`` and dlt's own classes are understood, all else is named.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

from weir.cli.convert_shared import CannotConvert, Converted, Notes, data_source, without_none

UNREADABLE = object()
"""An expression that only running the file could tell."""

CLASSES = {
    "BearerTokenAuth": ("bearer", ("token",)),
    "APIKeyAuth": ("api_key", ("name", "api_key", "location")),
    "HttpBasicAuth": ("http_basic", ("username", "password")),
    "OAuth2ClientCredentials": ("oauth2_client_credentials", ()),
    "JSONLinkPaginator": ("json_link", ("next_url_path",)),
    "JSONResponsePaginator": ("json_link", ("next_url_path",)),
    "HeaderLinkPaginator": ("header_link", ("links_next_key",)),
    "HeaderCursorPaginator": ("header_cursor", ("cursor_key", "cursor_param")),
    "OffsetPaginator": ("offset", ("limit", "offset", "offset_param", "limit_param", "total_path")),
    "PageNumberPaginator": ("page_number", ("base_page", "page", "page_param", "total_path")),
    "JSONResponseCursorPaginator": ("cursor", ("cursor_path", "cursor_param")),
    "SinglePagePaginator": ("single_page", ()),
}
"""dlt's class -> its short type, and the names of its positional arguments."""

SHAPES = {"resources", "client"}


def is_config(data: Any) -> bool:
    """Whether this is a ``RESTAPIConfig``."""
    return isinstance(data, Mapping) and data.keys() >= SHAPES


def from_python(text: str, notes: Notes) -> list[tuple[dict[str, Any], Notes]]:
    """The configurations in a Python file, each with what could not be read of it.

    Raises
    ------
    CannotConvert
        The file is no Python, or has no such configuration.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise CannotConvert(f"line {error.lineno}: {error.msg}") from error
    names: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                names[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
            names[node.target.id] = node.value
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = {**_arguments(node.args), **names}
    found = []
    dicts = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    for node in sorted(dicts, key=lambda node: node.lineno):
        if node.keys:
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if keys >= SHAPES:
                own = Notes(list(notes.found))
                data = _Reader(names, own).value(node)
                if is_config(data):
                    found.append((data, own))
                else:
                    notes.add(
                        f"line {node.lineno}", "a configuration of which the file has no values"
                    )
                    notes.found.extend(own.found)
    if not found:
        what = "no dict with the keys client and resources: no dlt rest_api configuration"
        raise CannotConvert("; ".join([what, *dict.fromkeys(notes.found)]))
    return found


def _arguments(arguments: ast.arguments) -> dict[str, ast.expr]:
    """Arguments of a function that have a default; dlt fills in those that are its secrets."""
    plain = [*arguments.posonlyargs, *arguments.args]
    pairs = list(zip(reversed(plain), reversed(arguments.defaults), strict=False))
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    found: dict[str, ast.expr] = {}
    for argument, default in pairs:
        injected = ast.unparse(default) in ("dlt.secrets.value", "dlt.config.value")
        found[argument.arg] = ast.Constant(secret(argument.arg)) if injected else default
    return found


class _Reader:
    """Values of expressions, without running them."""

    def __init__(self, names: Mapping[str, ast.expr], notes: Notes) -> None:
        self._names, self._notes, self._depth = names, notes, 0

    def value(self, node: ast.expr) -> Any:
        """The value of an expression, or :data:`UNREADABLE`, which is noted."""
        self._depth += 1
        try:
            if self._depth > 60:
                return self._unreadable(node)
            reader = self._READERS.get(type(node))
            return reader(self, node) if reader else self._unreadable(node)
        finally:
            self._depth -= 1

    def _unreadable(self, node: ast.expr) -> Any:
        self._notes.add(f"line {node.lineno}", f"{ast.unparse(node)[:80]} is not evaluated")
        return UNREADABLE

    def _dict(self, node: Any) -> Any:
        found = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item)
            if key is None:
                found.update(value if isinstance(value, dict) else {})
            elif value is not UNREADABLE:
                found[self.value(key)] = value
        return found

    def _list(self, node: Any) -> Any:
        return [item for one in node.elts if (item := self.value(one)) is not UNREADABLE]

    def _name(self, node: Any) -> Any:
        known = self._names.get(node.id)
        return self._unreadable(node) if known is None else self.value(known)

    def _text(self, node: Any) -> Any:
        parts = [
            self.value(part.value if isinstance(part, ast.FormattedValue) else part)
            for part in node.values
        ]
        return UNREADABLE if UNREADABLE in parts else "".join(map(str, parts))

    def _negative(self, node: Any) -> Any:
        value = self.value(node.operand)
        negative = isinstance(node.op, ast.USub) and isinstance(value, (int, float))
        return -value if negative else self._unreadable(node)

    def _subscript(self, node: Any) -> Any:
        owner = ast.unparse(node.value)
        if owner == "dlt.secrets" and isinstance(node.slice, ast.Constant):
            return secret(str(node.slice.value))
        if owner in ("dlt.config", "os.environ") and isinstance(node.slice, ast.Constant):
            name = str(node.slice.value)
            self._notes.add(f"line {node.lineno}", f"{owner}[{name!r}] became a secret")
            return secret(name)
        return self._unreadable(node)

    def _either(self, node: Any) -> Any:
        self._notes.add(f"line {node.lineno}", f"is read as if {ast.unparse(node.test)} were so")
        return self.value(node.body)

    def _attribute(self, node: Any) -> Any:
        if ast.unparse(node) == "dlt.secrets.value":
            return "${SECRET:token}"
        return self._unreadable(node)

    def _call(self, node: Any) -> Any:
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in ("get", "getenv") and node.args:
            return self._subscript(
                ast.Subscript(node.func.value, node.args[0], ast.Load(), lineno=node.lineno)
            )
        kind: str
        positional: tuple[str, ...]
        if name == "incremental":
            kind, positional = "incremental", ("cursor_path", "initial_value")
        elif name in CLASSES:
            kind, positional = CLASSES[name]
        else:
            return self._unreadable(node)
        found: dict[str, Any] = {"type": kind}
        for key, item in [
            *zip(positional, node.args, strict=False),
            *((word.arg, word.value) for word in node.keywords),
        ]:
            value = self.value(item)
            if key is not None and value is not UNREADABLE:
                found[key] = value
        return found

    _READERS: Mapping[type, Callable[[_Reader, Any], Any]] = {
        ast.Constant: lambda _self, node: node.value,
        ast.Dict: _dict,
        ast.List: _list,
        ast.Tuple: _list,
        ast.Name: _name,
        ast.JoinedStr: _text,
        ast.UnaryOp: _negative,
        ast.Subscript: _subscript,
        ast.Attribute: _attribute,
        ast.IfExp: _either,
        ast.Call: _call,
    }


def secret(path: str) -> str:
    """A dlt secret's dotted name as a reference: the last part is the key in the secret."""
    *head, last = re.sub(r"[^A-Za-z0-9_.]", "_", path).split(".")
    name = "-".join(part for part in head if part not in ("sources", "credentials"))
    return f"${{SECRET:{name}#{last}}}" if name else f"${{SECRET:{last}}}"


def _secret_text(value: Any, place: str, notes: Notes) -> Any:
    """A credential: a reference stays one, anything else is not written down."""
    if isinstance(value, str) and "${SECRET:" in value:
        return value
    name = re.sub(r"[^A-Za-z0-9]+", "-", place).strip("-").lower()
    notes.add(place, f"the credential is not written down; store it as secret {name!r}")
    return f"${{SECRET:{name}}}"


def _kind(value: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping):
        return str(value.get("type", "")), {k: v for k, v in value.items() if k != "type"}
    return "", {}


def _bearer(spec: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    return {"bearer": {"token": _secret_text(spec.pop("token", None), f"{place}.token", notes)}}


def _api_key(spec: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    location = spec.pop("location", "header")
    name = spec.pop("name", "Authorization")
    value = _secret_text(spec.pop("api_key", None), f"{place}.api_key", notes)
    where = "query" if location in ("query", "param") else location
    return {"apiKey": {"name": name, "value": value, "location": where}}


def _basic(spec: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    password = _secret_text(spec.pop("password", None), f"{place}.password", notes)
    username = spec.pop("username", None) or _secret_text(None, f"{place}.username", notes)
    return {"httpBasic": {"username": username, "password": password}}


def _oauth(spec: dict[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    data = dict(spec.pop("access_token_request_data", {}))
    data.pop("grant_type", None)
    scopes = str(data.pop("scope", "")).split()
    found = {
        "tokenUrl": spec.pop("access_token_url", ""),
        "clientId": spec.pop("client_id", None) or _secret_text(None, f"{place}.client_id", notes),
        "clientSecret": _secret_text(
            spec.pop("client_secret", None), f"{place}.client_secret", notes
        ),
        "scopes": scopes,
        "params": {key: str(value) for key, value in data.items()},
    }
    return {"oauth2ClientCredentials": without_none(found)}


AUTHS: Mapping[str, Callable[[dict[str, Any], str, Notes], dict[str, Any]]] = {
    "bearer": _bearer,
    "api_key": _api_key,
    "http_basic": _basic,
    "oauth2_client_credentials": _oauth,
}

PAGINATORS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "auto": ("auto", {}),
    "single_page": ("single", {}),
    "json_link": ("link", {"next_url_path": "nextPath"}),
    "json_response": ("link", {"next_url_path": "nextPath"}),
    "header_link": ("link", {}),
    "header_cursor": ("cursor", {"cursor_key": "cursorHeader", "cursor_param": "cursorParam"}),
    "cursor": (
        "cursor",
        {
            "cursor_path": "cursorPath",
            "cursor_param": "cursorParam",
            "cursor_body_path": "cursorBodyPath",
            "stop_after_empty_page": "stopAfterEmptyPage",
            "has_more_path": "hasMorePath",
        },
    ),
    "offset": (
        "offset",
        {
            "limit": "pageSize",
            "offset_param": "offsetParam",
            "limit_param": "limitParam",
            "total_path": "totalPath",
            "maximum_offset": "maximumOffset",
            "stop_after_empty_page": "stopAfterEmptyPage",
            "has_more_path": "hasMorePath",
            "offset_body_path": "offsetBodyPath",
            "limit_body_path": "limitBodyPath",
        },
    ),
    "page_number": (
        "pageNumber",
        {
            "base_page": "basePage",
            "page_param": "pageParam",
            "total_path": "totalPath",
            "maximum_page": "maximumPage",
            "stop_after_empty_page": "stopAfterEmptyPage",
            "has_more_path": "hasMorePath",
            "page_body_path": "pageBodyPath",
        },
    ),
}
"""dlt's type -> Weir's, and its options' names. dlt's own defaults are in :data:`DEFAULTS`."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "json_link": {"nextPath": "next"},
    "json_response": {"nextPath": "next"},
    "header_cursor": {"cursorHeader": "next", "cursorParam": "cursor"},
    "cursor": {"cursorPath": "cursors.next", "cursorParam": "cursor"},
    "offset": {"limitParam": "limit", "totalPath": "total"},
    "page_number": {"basePage": 0, "totalPath": "total"},
}


def _paginator(value: Any, place: str, notes: Notes) -> dict[str, Any] | None:
    if value is None:
        return {"type": "auto"}
    kind, spec = _kind(value)
    if kind not in PAGINATORS:
        notes.add(place, f"paginator {kind or value!r} has no counterpart; it is auto")
        return {"type": "auto"}
    name, options = PAGINATORS[kind]
    found = {"type": name, **DEFAULTS.get(kind, {})}
    for key, item in spec.items():
        if key in ("maximum_page", "maximum_offset") and isinstance(item, int):
            found[options[key]] = max(0, item - 1)  # dlt ends before it
        elif key in options:
            found[options[key]] = item
            if item is None:
                found.pop(options[key])
        elif key in ("page", "offset") and item in (None, found.get("basePage", 0)):
            continue  # where it begins anyway
        elif key != "links_next_key" or item != "next":
            notes.add(f"{place}.{key}", "not carried over")
    return without_none(found)


def convert_config(config: Mapping[str, Any], platform: str, notes: Notes) -> list[Converted]:
    """One DataSource for each resource of a ``RESTAPIConfig``.

    Parameters
    ----------
    notes
        What reading the file has told already: each DataSource's notes begin with it.

    Raises
    ------
    CannotConvert
        It is none.
    """
    client, defaults = config.get("client") or {}, config.get("resource_defaults") or {}
    if not isinstance(client.get("base_url"), str):
        raise CannotConvert("client.base_url is missing, or only running the file could tell it")
    resources = []
    for number, item in enumerate(config.get("resources") or []):
        if isinstance(item, str) or (
            isinstance(item, Mapping) and isinstance(item.get("name"), str)
        ):
            resources.append(_resource(item, defaults))
        else:
            notes.add(f"resources[{number}]", "its name is not in the file; left out")
    by_name = {item["name"]: item for item in resources}
    found = []
    for resource in resources:
        own = Notes(list(notes.found))
        own.unknown("", config, ("client", "resources", "resource_defaults"))
        own.unknown("client", client, ("base_url", "headers", "auth", "paginator"))
        if resource.get("selected") is False:
            continue
        api = _api(resource, client, by_name, own)
        keys = resource.get("primary_key") or []
        names = [keys] if isinstance(keys, str) else list(keys)
        how = resource.get("write_disposition")
        if how:
            own.add("write_disposition", f"{how!r}: say it as redshift.mode, with schema and table")
        own.unknown(
            f"resources.{resource['name']}",
            resource,
            ("name", "endpoint", "primary_key", "write_disposition", "include_from_parent",
             "selected", "table_name", "max_table_nesting"),
        )  # fmt: skip
        found.append(data_source(resource["name"], api, names, platform, own))
    if not found:
        raise CannotConvert("; ".join(["resources is empty", *notes.found]))
    return found


def _resource(item: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A resource with the defaults put in, and its endpoint as a mapping."""
    own = {"name": item, "endpoint": item} if isinstance(item, str) else dict(item)
    if not isinstance(own.get("name"), str):
        raise CannotConvert("a resource has no name")
    endpoint = own.get("endpoint", own["name"])
    endpoint = {"path": endpoint} if isinstance(endpoint, str) else dict(endpoint)
    general = dict(defaults.get("endpoint") or {})
    params = {**general.get("params", {}), **endpoint.get("params", {})}
    merged = {**general, **endpoint, "params": params}
    merged.setdefault("path", own["name"])
    return {**{k: v for k, v in defaults.items() if k != "endpoint"}, **own, "endpoint": merged}


ENDPOINT_KEYS = {
    "path", "method", "params", "json", "data", "data_selector", "paginator", "incremental",
    "response_actions", "headers", "auth",
}  # fmt: skip


def _api(
    resource: Mapping[str, Any],
    client: Mapping[str, Any],
    by_name: Mapping[str, Mapping[str, Any]],
    notes: Notes,
) -> dict[str, Any]:
    place = f"resources.{resource['name']}.endpoint"
    api, parent = _request(resource, client, by_name, place, notes)
    kind, spec = _kind(resource["endpoint"].get("auth") or client.get("auth"))
    if kind in AUTHS:
        api["auth"] = AUTHS[kind](spec, "client.auth", notes)
        notes.unknown("client.auth", spec, ())
    elif kind:
        notes.add("client.auth", f"{kind!r} has no counterpart")
    actions = resource["endpoint"].get("response_actions") or []
    api["responseActions"] = [
        made for action in actions if (made := _action(action, place, notes)) is not None
    ]
    parents: list[dict[str, Any]] = []
    include = {f"_{parent}_{field}": field for field in resource.get("include_from_parent") or []}
    while parent is not None:
        if parent not in by_name:
            notes.add(place, f"parent {parent!r} is not among the resources")
            break
        circle = parent == resource["name"] or any(one["name"] == _plain(parent) for one in parents)
        if circle or len(parents) == 3:
            why = "leads in a circle" if circle else "is the fourth: three are carried over"
            notes.add(place, f"parent {parent!r} {why}")
            break
        above = by_name[parent]
        one, following = _request(above, client, by_name, f"resources.{parent}.endpoint", notes)
        one.pop("incremental", None)
        parents.insert(0, without_none({"name": _plain(parent), **one, "include": include}))
        include = {f"_{following}_{f}": f for f in above.get("include_from_parent") or []}
        parent = following
    api["parents"] = parents
    return api


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _request(
    resource: Mapping[str, Any],
    client: Mapping[str, Any],
    by_name: Mapping[str, Mapping[str, Any]],
    place: str,
    notes: Notes,
) -> tuple[dict[str, Any], str | None]:
    """What a resource asks, and its parent's name."""
    endpoint = resource["endpoint"]
    notes.unknown(place, endpoint, ENDPOINT_KEYS)
    parent: str | None = None
    incremental = dict(endpoint.get("incremental") or {})
    params: dict[str, str] = {}
    path = str(endpoint["path"])
    for name, value in endpoint["params"].items():
        kind, spec = _kind(value) if isinstance(value, Mapping) else ("", {})
        if kind == "resolve":
            parent = str(spec["resource"])
            holder = f"{{resources.{_plain(parent)}.{spec['field']}}}"
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", holder)
            else:
                params[name] = holder
        elif kind == "incremental":
            incremental = {**spec, "start_param": name}
        elif isinstance(value, (str, int, float, bool)):
            params[name] = _placed(str(value).lower() if isinstance(value, bool) else str(value))
        elif value is not None:
            notes.add(f"{place}.params.{name}", "not carried over")
    path = _placed(path)
    texts = [path, *params.values(), repr(endpoint.get("json"))]
    for match in re.finditer(r"\{resources\.([A-Za-z0-9_]+)\.", " ".join(texts)):
        named = next((name for name in by_name if _plain(name) == match.group(1)), match.group(1))
        parent = parent or named
    base = str(client["base_url"])
    headers = {**(client.get("headers") or {}), **(endpoint.get("headers") or {})}
    method = str(endpoint.get("method", "GET")).upper()
    form = endpoint.get("data") if isinstance(endpoint.get("data"), Mapping) else None
    found: dict[str, Any] = {
        "endpoint": urljoin(base.rstrip("/") + "/", path.lstrip("/")) if path else base,
        "method": method,
        "headers": {name: _placed(str(value)) for name, value in headers.items()},
        "params": params,
        "body": _placed_in(endpoint.get("json")),
        "form": {key: str(value) for key, value in (form or {}).items()},
        "dataSelector": endpoint.get("data_selector"),
        "paginator": _paginator(
            endpoint.get("paginator") or client.get("paginator"), f"{place}.paginator", notes
        ),
    }
    if (found["body"] or form) and method == "GET":
        notes.add(place, "a GET with a body is not possible: method is POST")
        found["method"] = "POST"
    if incremental:
        found["incremental"] = _incremental(incremental, place, notes)
    return without_none(found), parent


def _placed(text: str) -> str:
    """dlt's placeholders by Weir's names."""
    text = re.sub(r"\{incremental\.(start|initial|last)_value\}", "{incremental.startValue}", text)
    text = text.replace("{incremental.end_value}", "{incremental.endValue}")
    return re.sub(
        r"\{resources\.([^.{}]+)\.", lambda match: f"{{resources.{_plain(match.group(1))}.", text
    )


def _placed_in(value: Any) -> Any:
    if isinstance(value, str):
        return _placed(value)
    if isinstance(value, Mapping):
        return {key: _placed_in(item) for key, item in value.items()}
    return [_placed_in(item) for item in value] if isinstance(value, list) else value


def _incremental(spec: Mapping[str, Any], place: str, notes: Notes) -> dict[str, Any]:
    value, lag = spec.get("initial_value"), spec.get("lag")
    found = {
        "cursorPath": spec.get("cursor_path"),
        "startParam": spec.get("start_param"),
        "endParam": spec.get("end_param"),
        "initialValue": str(value) if value is not None else None,
    }
    if lag:
        numeric = isinstance(value, (int, float))
        found |= {"lagNumber": int(lag)} if numeric else {"lag": f"{int(lag)}s"}
    known = ("cursor_path", "start_param", "end_param", "initial_value", "lag", "type")
    notes.unknown(f"{place}.incremental", spec, known)
    return without_none(found)


def _action(action: Any, place: str, notes: Notes) -> dict[str, Any] | None:
    name = action.get("action") if isinstance(action, Mapping) else None
    if name not in ("ignore", "retry", "fail"):
        notes.add(f"{place}.response_actions", f"action {name!r} has no counterpart")
        return None
    status = action.get("status_code")
    found = {"status": str(status) if status else None, "content": action.get("content")}
    return without_none({**found, "action": name})
