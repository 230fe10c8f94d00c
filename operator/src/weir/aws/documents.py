"""When two JSON documents mean the same to AWS.

IAM and its kin give a policy back URL-encoded, in another order, a list of one as a string or the other
way round, and the account's root as ARN or as bare number. :func:`policy` brings all of that into one
form, to be applied to both what is wanted and what is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

_SETS = ("Action", "NotAction", "Resource", "NotResource")
_PRINCIPALS = ("Principal", "NotPrincipal")
_ACCOUNT = re.compile(r"^\d{12}$")
_ROOT = re.compile(r"^arn:aws[a-z-]*:iam::(\d{12}):root$")
DEFAULT_VERSION = "2008-10-17"
"""What AWS takes when a policy has no Version (IAM user guide, "Policy elements: Version")."""


def decode(document: Any) -> Any:
    """A JSON document as AWS may give it (dict, JSON text, URL-encoded JSON text), decoded."""
    if not isinstance(document, str):
        return document
    text = document.strip()
    if not text:
        return {}
    if not text.startswith(("{", "[")):
        text = _unquoted(text)
    return json.loads(text)


FREQUENT = tuple({quote(char, safe=""): char for char in '":,{}[] /*'}.items())
"""What a policy's text is full of, as it comes URL-encoded."""


def _unquoted(text: str) -> str:
    """As ``urllib.parse.unquote``, in a third of the time: an account's listing of roles has a
    megabyte of this. None of what stands for the frequent can become part of another escape."""
    for escape, char in FREQUENT:
        text = text.replace(escape, char)
    return unquote(text) if "%" in text else text


def encode(document: Any) -> str:
    """JSON text with sorted keys: the same document is the same text."""
    return _ENCODER.encode(document)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)


def policy(document: Any) -> dict[str, Any]:
    """A policy in one form: lists sorted and never bare strings, statements in order of content.

    Parameters
    ----------
    document
        The policy as dict or text. Empty gives ``{}``.

    Returns
    -------
    dict
        Not to be changed: the same text gives the same one.
    """
    return _of_text(document) if isinstance(document, str) else _of_document(document)


@lru_cache(maxsize=64)
def _of_text(text: str) -> dict[str, Any]:
    """Most roles trust one of a few services, and say so in the same words."""
    return _of_document(decode(text))


def _of_document(decoded: Any) -> dict[str, Any]:
    if not decoded:
        return {}
    rest = {key: value for key, value in decoded.items() if key not in ("Version", "Statement")}
    statements = [_statement(item) for item in _listed(decoded.get("Statement", []))]
    return {
        "Version": decoded.get("Version", DEFAULT_VERSION),
        **{key: value for key, value in sorted(rest.items()) if value != ""},
        "Statement": sorted(statements, key=encode),
    }


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for key, value in sorted(statement.items()):
        if key in _SETS:
            form[key] = _set(value, fold=key.endswith("Action"))
        elif key in _PRINCIPALS:
            form[key] = _principal(value)
        elif key == "Condition":
            condition = _condition(value)
            if condition:
                form[key] = condition
        elif not (key == "Sid" and value == ""):
            form[key] = value
    return form


def _principal(value: Any) -> Any:
    # "*" and {"AWS": "*"} mean the same (IAM user guide, "All principals").
    if value == "*":
        return {"AWS": ["*"]}
    return {
        key: sorted({_account(item) if key == "AWS" else str(item) for item in _listed(items)})
        for key, items in sorted(value.items())
    }


def _account(principal: Any) -> str:
    text = str(principal)
    root = _ROOT.match(text)
    if root:
        return root.group(1)
    return text


def _condition(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        operator: {
            key: sorted({_text(item) for item in _listed(items)})
            for key, items in sorted(keys.items(), key=lambda pair: pair[0].lower())
        }
        for operator, keys in sorted(value.items())
        if keys
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _set(value: Any, *, fold: bool) -> list[str]:
    # Action names match in any case; the service prefix comes back in lower case.
    items = {str(item) for item in _listed(value)}
    if not fold:
        return sorted(items)
    seen: dict[str, str] = {}
    for item in sorted(items):
        seen.setdefault(item.lower(), item)
    return sorted(seen)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def ordered(items: Any, *keys: str) -> list[Any]:
    """A list without order, in one order: by these keys of its mappings, else by content."""
    plain = [dict(item) if isinstance(item, Mapping) else item for item in items or ()]
    return sorted(
        plain,
        key=lambda item: (
            [str(item.get(key, "")) for key in keys] if isinstance(item, dict) and keys else [],
            encode(item),
        ),
    )


def without_defaults(value: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping less what AWS fills in by itself: entries equal to their default, and None."""
    return {
        key: item
        for key, item in value.items()
        if item is not None and not (key in defaults and defaults[key] == item)
    }
