"""``{resources.orders.id}``, ``{incremental.startValue}``, ``{job.id}``: put in at request time.

A secret is resolved in the words of the configuration only: what a record brings is never read as
a reference to a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from weir_lambdas.common.errors import ConfigInvalid, SourceBadAnswer
from weir_lambdas.landing.paths import PathError, lookup
from weir_lambdas.landing.records import as_text

PLACEHOLDER = re.compile(r"\{((?:resources|incremental|job)\.[^{}]+)\}")

Values = Mapping[str, Any]
"""``resources``: name -> record; ``incremental``: startValue, endValue; ``job``: the job's answer."""

Fill = Callable[[str], str]


def value_of(name: str, values: Values) -> Any:
    """The value that a placeholder names.

    Raises
    ------
    SourceBadAnswer
        The record that it is taken from does not have it.
    ConfigInvalid
        There is no such thing.
    """
    kind, _, path = name.partition(".")
    if kind not in values:
        raise ConfigInvalid(f"{{{name}}} stands where there is no {kind}", "restApi")
    try:
        found = lookup(values[kind], path)
    except PathError as error:
        raise ConfigInvalid(f"{{{name}}}: {error}", "restApi") from error
    if found is None:
        raise SourceBadAnswer(f"{{{name}}}: the record that it is taken from does not have it")
    return found


def _text(name: str, values: Values) -> str:
    text = as_text(value_of(name, values))
    if text is None:
        raise SourceBadAnswer(f"{{{name}}} is an object or a list, not a plain value")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise SourceBadAnswer(f"{{{name}}} has control characters, which no request may carry")
    return text


def fill_text(text: str, values: Values, fill: Fill) -> str:
    """A text with secrets and placeholders put in."""
    pieces = PLACEHOLDER.split(text)
    return "".join(
        _text(piece, values) if number % 2 else fill(piece) for number, piece in enumerate(pieces)
    )


def fill_url(url: str, values: Values, fill: Fill) -> str:
    """A URL with placeholders put in, percent-encoded; one that is a placeholder alone is a URL.

    Raises
    ------
    SourceBadAnswer
        A value would climb in the path (``.`` or ``..``).
    """
    whole = PLACEHOLDER.fullmatch(url)
    if whole:
        return _text(whole.group(1), values)
    pieces = PLACEHOLDER.split(url)
    for number in range(1, len(pieces), 2):
        name = pieces[number]
        text = _text(name, values)
        if text.strip(".") == "":
            raise SourceBadAnswer(f"{{{name}}} is {text!r}, which would lead elsewhere in the path")
        pieces[number] = quote(text, safe="")
    return "".join(fill(piece) if number % 2 == 0 else piece for number, piece in enumerate(pieces))


def fill_body(value: Any, values: Values, fill: Fill) -> Any:
    """A JSON body with secrets and placeholders put in; a lone placeholder keeps its type."""
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        return value_of(whole.group(1), values) if whole else fill_text(value, values, fill)
    if isinstance(value, Mapping):
        return {key: fill_body(item, values, fill) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill_body(item, values, fill) for item in value]
    return value
