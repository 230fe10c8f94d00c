"""JSONPath (RFC 9535): names, indices, slices, ``*``, ``..``, unions, filters and their functions.

A path may also be written without ``$``, as ``data.items[0]``, which is how most tools spell it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 200
"""Levels that ``..`` goes down."""

_NOTHING = object()
"""What a singular query gives where there is nothing (RFC 9535, 2.3.5.2.2)."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>==|!=|<=|>=|&&|\|\||\.\.|[\[\]().,:*?@$!<>])
      |(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      |(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w-]))
      |(?P<name>[^\s\[\]().,:*?@$!<>='"&|]+))""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class JsonPathError(ValueError):
    """A path is malformed; the message has the place."""


Nodes = Iterator[Any]
Segment = Callable[[Any, Any], Nodes]
"""(value, root) -> the values that it leads to."""


@dataclass(frozen=True)
class JsonPath:
    """A compiled path.

    Parameters
    ----------
    text
        As it was written.
    segments
        One after the other.
    keys
        The path as plain steps, where it has names and indices only; else None.
    """

    text: str
    segments: tuple[Segment, ...]
    keys: tuple[str | int, ...] | None

    head: tuple[str | int, ...] = ()
    """Its names and indices up to the first step that searches."""

    piecewise: bool = False
    """Whether what follows ``head`` takes a list's items one by one: ``[*]``, or a filter that looks
    at nothing but the item. The items may be given a few at a time then."""

    def behind(self) -> JsonPath:
        """What follows ``head``, as a path of its own."""
        return JsonPath(self.text, self.segments[len(self.head) :], None)

    def find(self, value: Any, root: Any = None) -> list[Any]:
        """Every value at the path, in order."""
        found = [value]
        top = value if root is None else root
        for segment in self.segments:
            found = [item for current in found for item in segment(current, top)]
        return found


@functools.lru_cache(maxsize=512)
def compile_path(text: str) -> JsonPath:
    """Compile a path.

    Raises
    ------
    JsonPathError
        It is malformed.
    """
    parser = _Parser(text)
    segments, keys = parser.path()
    if parser.kind:
        parser.fail("a '.', a '[' or the end")
    if keys is not None:
        return JsonPath(text, segments, keys, keys)
    return JsonPath(text, segments, keys, tuple(parser.head), parser.each and not parser.rooted)


def _name(key: str) -> Segment:
    def select(value: Any, _root: Any) -> Nodes:
        if isinstance(value, Mapping) and key in value:
            yield value[key]

    return select


def _index(number: int) -> Segment:
    def select(value: Any, _root: Any) -> Nodes:
        if isinstance(value, list) and -len(value) <= number < len(value):
            yield value[number]

    return select


def _slice(start: int | None, stop: int | None, step: int | None) -> Segment:
    def select(value: Any, _root: Any) -> Nodes:
        if isinstance(value, list) and step != 0:
            yield from value[start:stop:step]

    return select


def _wild(value: Any, _root: Any) -> Nodes:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _filter(test: Callable[[Any, Any], bool]) -> Segment:
    def select(value: Any, root: Any) -> Nodes:
        for item in _wild(value, root):
            if test(item, root):
                yield item

    return select


def _union(parts: tuple[Segment, ...]) -> Segment:
    if len(parts) == 1:
        return parts[0]

    def select(value: Any, root: Any) -> Nodes:
        for part in parts:
            yield from part(value, root)

    return select


def _descend(part: Segment) -> Segment:
    def walk(value: Any, root: Any, depth: int) -> Nodes:
        yield from part(value, root)
        if depth < MAX_DEPTH:
            for item in _wild(value, root):
                yield from walk(item, root, depth + 1)

    return lambda value, root: walk(value, root, 0)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _less(left: Any, right: Any) -> bool:
    both = (left, right)
    if any(isinstance(item, bool) for item in both):
        return False
    if all(isinstance(item, (int, float)) for item in both) or all(
        isinstance(item, str) for item in both
    ):
        return bool(left < right)
    return False


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _less,
    ">": lambda left, right: _less(right, left),
    "<=": lambda left, right: _less(left, right) or _equal(left, right),
    ">=": lambda left, right: _less(right, left) or _equal(left, right),
}


def _one(nodes: list[Any]) -> Any:
    return nodes[0] if len(nodes) == 1 else _NOTHING


def _length(nodes: list[Any]) -> Any:
    value = _one(nodes)
    return len(value) if isinstance(value, (str, list, Mapping)) else _NOTHING


def _matches(whole: bool) -> Callable[[list[Any], list[Any]], bool]:
    def test(nodes: list[Any], pattern: list[Any]) -> bool:
        text, wanted = _one(nodes), _one(pattern)
        if not isinstance(text, str) or not isinstance(wanted, str):
            return False
        try:
            found = re.fullmatch(wanted, text) if whole else re.search(wanted, text)
        except re.error:
            return False
        return found is not None

    return test


FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "length": (1, _length),
    "count": (1, len),
    "value": (1, _one),
    "match": (2, _matches(True)),
    "search": (2, _matches(False)),
}
"""RFC 9535, 2.4: name -> number of arguments, what it does with their nodes."""

LITERALS: Mapping[str, Any] = {"true": True, "false": False, "null": None}

Operand = Callable[[Any, Any], list[Any]]


class _Parser:
    """Recursive descent over tokens; ``kind`` empty is the end."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text.strip(" "), 0, 0
        self.head: list[str | int] = []
        self.each = self.rooted = False
        self._searched = self._each = False
        self.kind = self.token = ""
        self._next()

    def fail(self, wanted: str) -> None:
        found = repr(self.token) if self.kind else "the end"
        raise JsonPathError(
            f"{self._text!r}: found {found} at character {self._start + 1}, expected {wanted}"
        )

    def _next(self) -> None:
        self._start = self._at
        if not self._text[self._at :].strip():
            self.kind = self.token = ""
            return
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            self.kind, self.token = "odd", self._text[self._at]
            self.fail("a name, a number or a quoted text")
            return
        self.kind = str(match.lastgroup)
        self.token = match.group(self.kind)
        self._start, self._at = match.start(self.kind), match.end()

    def _take(self, token: str) -> bool:
        if self.kind == "op" and self.token == token:
            self._next()
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._take(token):
            self.fail(repr(token))

    def path(self) -> tuple[tuple[Segment, ...], tuple[str | int, ...] | None]:
        """A whole path, with or without ``$``."""
        if self._take("$"):
            return self._segments(top=True)
        if self.kind in ("name", "number", "quoted") or self._is("*"):
            first, key = self._member()
            rest, keys = self._segments(top=key is not None)
            if key is not None:
                self.head.insert(0, key)
            plain = None if key is None or keys is None else (key, *keys)
            return (first, *rest), plain
        return self._segments(top=True)

    def _is(self, token: str) -> bool:
        return self.kind == "op" and self.token == token

    def _segments(
        self, top: bool = False
    ) -> tuple[tuple[Segment, ...], tuple[str | int, ...] | None]:
        segments: list[Segment] = []
        keys: list[str | int] | None = []
        while True:
            if self._take(".."):
                self._searched = self._searched or top
                part, _ = self._bracket() if self._is("[") else self._member()
                segments.append(_descend(part))
                keys = None
                continue
            if self._take("."):
                part, key = self._member()
            elif self._is("["):
                part, key = self._bracket()
            else:
                return tuple(segments), None if keys is None else tuple(keys)
            segments.append(part)
            if top and key is None and not self._searched:
                self._searched, self.each = True, self._each
            if key is None or keys is None:
                keys = None
            else:
                keys.append(key)
                if top:
                    self.head.append(key)

    def _member(self) -> tuple[Segment, str | int | None]:
        self._each = self._is("*")
        if self._take("*"):
            return _wild, None
        if self.kind not in ("name", "number"):
            self.fail("a name or *")
        name = self.token
        self._next()
        return _name(name), name

    def _bracket(self) -> tuple[Segment, str | int | None]:
        self._need("[")
        each = self._is("*") or self._is("?")
        parts, keys = [], []
        while True:
            part, key = self._selector()
            parts.append(part)
            keys.append(key)
            if not self._take(","):
                break
        self._need("]")
        self._each = each and len(parts) == 1
        return _union(tuple(parts)), keys[0] if len(keys) == 1 else None

    def _selector(self) -> tuple[Segment, str | int | None]:
        if self._take("*"):
            return _wild, None
        if self._take("?"):
            return _filter(self._either()), None
        if self.kind == "quoted":
            name = _unquoted(self.token)
            self._next()
            return _name(name), name
        start = self._integer()
        if not self._is(":"):
            if start is None:
                self.fail("a quoted name, a number, * or ?")
                raise AssertionError
            return _index(start), start
        self._next()
        stop = self._integer()
        step = self._integer() if self._take(":") else None
        return _slice(start, stop, step), None

    def _integer(self) -> int | None:
        if self.kind != "number":
            return None
        if not re.fullmatch(r"-?\d+", self.token):
            self.fail("a whole number")
        number = int(self.token)
        self._next()
        return number

    def _either(self) -> Callable[[Any, Any], bool]:
        tests = [self._both()]
        while self._take("||"):
            tests.append(self._both())
        return lambda value, root: any(test(value, root) for test in tests)

    def _both(self) -> Callable[[Any, Any], bool]:
        tests = [self._basic()]
        while self._take("&&"):
            tests.append(self._basic())
        return lambda value, root: all(test(value, root) for test in tests)

    def _basic(self) -> Callable[[Any, Any], bool]:
        self._depth += 1
        if self._depth > 50:
            self.fail("fewer levels of parentheses")
        try:
            if self._take("!"):
                inner = self._basic()
                return lambda value, root: not inner(value, root)
            if self._take("("):
                inside = self._either()
                self._need(")")
                return inside
            left, logical = self._operand()
            if self.kind == "op" and self.token in COMPARISONS:
                compare = COMPARISONS[self.token]
                self._next()
                right, _ = self._operand()
                return lambda value, root: compare(
                    _one(left(value, root)), _one(right(value, root))
                )
            if logical:
                return lambda value, root: left(value, root) == [True]
            return lambda value, root: bool(left(value, root))
        finally:
            self._depth -= 1

    def _operand(self) -> tuple[Operand, bool]:
        """Nodes of a query or a literal; whether they are a truth value."""
        if self._is("@") or self._is("$"):
            relative = self.token == "@"
            self.rooted = self.rooted or not relative
            self._next()
            segments, _ = self._segments()
            path = JsonPath("", segments, None)
            return (lambda value, root: path.find(value if relative else root, root)), False
        literal: Any = None
        if self.kind == "quoted":
            literal = _unquoted(self.token)
        elif self.kind == "number":
            literal = float(self.token) if re.search(r"[.eE]", self.token) else int(self.token)
        elif self.kind == "name" and self.token in LITERALS:
            literal = LITERALS[self.token]
        elif self.kind == "name" and self.token in FUNCTIONS:
            return self._call()
        else:
            self.fail("@, $, a literal or a function")
        self._next()
        return (lambda _value, _root: [literal]), False

    def _call(self) -> tuple[Operand, bool]:
        name = self.token
        count, function = FUNCTIONS[name]
        self._next()
        self._need("(")
        arguments = [self._operand()[0]]
        while self._take(","):
            arguments.append(self._operand()[0])
        self._need(")")
        if len(arguments) != count:
            raise JsonPathError(f"{self._text!r}: {name}() takes {count} arguments")

        def call(value: Any, root: Any) -> list[Any]:
            found = function(*(argument(value, root) for argument in arguments))
            return [] if found is _NOTHING else [found]

        return call, name in ("match", "search")


def _unquoted(token: str) -> str:
    def plain(match: re.Match[str]) -> str:
        text = match.group(1)
        return chr(int(text[1:], 16)) if len(text) == 5 else _ESCAPES.get(text, text)

    return _ESCAPE.sub(plain, token[1:-1])
