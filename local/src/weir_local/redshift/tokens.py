"""Redshift SQL as tokens, with names folded to lower case, quoted or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from weir_local.redshift.commands import Name
from weir_local.redshift.errors import SqlError, syntax_error

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^'\\]|''|\\.)*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<punct>::|<=|>=|<>|!=|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Token:
    """A piece of a statement: ``kind`` is word, quoted, string, number or punct."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The word in upper case; empty for strings and quoted names, which are no keywords."""
        return self.text.upper() if self.kind in ("word", "punct") else ""


def tokenize(sql: str) -> list[Token]:
    """Cut a statement into tokens; comments and space are dropped.

    Raises
    ------
    SqlError
        A string or a quoted name does not end.
    """
    tokens = []
    for match in _TOKEN.finditer(sql):
        kind, text = str(match.lastgroup), match.group()
        if kind == "space":
            continue
        if kind == "punct" and text in "'\"":
            what = "string" if text == "'" else "identifier"
            raise SqlError(f"unterminated quoted {what} at or near {sql[match.start() :][:40]!r}")
        if kind == "string":
            text = unescape(text[1:-1])
        elif kind == "quoted":
            text = text[1:-1].replace('""', '"')
        tokens.append(Token(kind, text, match.start(), match.end()))
    return tokens


def unescape(body: str) -> str:
    """The text of a string literal: doubled quotes and backslashes resolved."""
    return re.sub(
        r"''|\\(.)",
        lambda found: "'" if found[1] is None else _ESCAPES.get(found[1], found[1]),
        body,
        flags=re.DOTALL,
    )


def bind(sql: str, parameters: dict[str, str]) -> str:
    """Put the Data API's parameters in the place of ``:name``, as string literals.

    Raises
    ------
    SqlError
        A parameter is not used, or one that is used has no value.
    """
    used: set[str] = set()
    out, last = [], 0
    tokens = tokenize(sql) if parameters else []
    for colon, word in pairwise(tokens):
        if colon.text != ":" or colon.kind != "punct" or word.kind != "word":
            continue
        if word.start != colon.end:
            continue
        if word.text not in parameters:
            raise SqlError(f"there is no value for parameter {word.text}")
        used.add(word.text)
        value = parameters[word.text].replace("\\", "\\\\").replace("'", "''")
        out += [sql[last : colon.start], f"'{value}'"]
        last = word.end
    if unused := sorted(set(parameters) - used):
        raise SqlError(f"parameter {unused[0]} is not used in the statement")
    return "".join(out) + sql[last:]


class Cursor:
    """Reads a statement from left to right."""

    def __init__(self, sql: str, tokens: list[Token]) -> None:
        self.sql = sql
        self.tokens = tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> Token | None:
        """The token to come, or None at the end."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def fail(self) -> SqlError:
        """A syntax error at this place."""
        token = self.peek()
        return syntax_error(token.text if token else "")

    def ahead(self, *words: str) -> bool:
        """Whether these keywords come next."""
        return all(
            (token := self.peek(place)) is not None and token.upper == word
            for place, word in enumerate(words)
        )

    def accept(self, *words: str) -> bool:
        """Take these keywords if they come next."""
        if not self.ahead(*words):
            return False
        self.at += len(words)
        return True

    def accept_one(self, *words: str) -> str:
        """Take one of these keywords and return it; empty if none comes next."""
        return next((word for word in words if self.accept(word)), "")

    def expect(self, *words: str) -> None:
        """Take these keywords, which have to come next."""
        if not self.accept(*words):
            raise self.fail()

    def take(self, *kinds: str) -> Token:
        """Take a token of one of these kinds."""
        token = self.peek()
        if token is None or token.kind not in kinds:
            raise self.fail()
        self.at += 1
        return token

    def string(self) -> str:
        """Take a string literal."""
        return self.take("string").text

    def number(self) -> int:
        """Take an integer."""
        token = self.take("number")
        if not token.text.isdigit():
            raise syntax_error(token.text)
        return int(token.text)

    def identifier(self) -> str:
        """Take a name, folded to lower case: Redshift folds quoted names too by default."""
        return self.take("word", "quoted").text.lower()

    def name(self) -> Name:
        """Take ``[schema.]name``."""
        first = self.identifier()
        if self.accept("."):
            return Name(first, self.identifier())
        return Name("", first)

    def names(self) -> tuple[Name, ...]:
        """Take names with commas between them."""
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        return tuple(names)

    def identifiers(self) -> tuple[str, ...]:
        """Take identifiers with commas between them."""
        return tuple(name.name for name in self.names())

    def parenthesized(self) -> tuple[str, ...]:
        """Take ``(a, b)``."""
        self.expect("(")
        found = self.identifiers()
        self.expect(")")
        return found

    def rest(self) -> str:
        """Take everything that is left, as SQL."""
        token = self.peek()
        self.at = len(self.tokens)
        return self.sql[token.start : self.tokens[-1].end] if token else ""

    def balanced(self, *stops: str) -> str:
        """Take SQL up to a keyword or comma outside parentheses, or the closing parenthesis."""
        first = self.peek()
        depth, last = 0, first
        while (token := self.peek()) is not None:
            if depth == 0 and token.upper in (*stops, ",", ")"):
                break
            depth += {"(": 1, ")": -1}.get(token.upper, 0)
            last = token
            self.at += 1
        if first is None or last is None or first is self.peek():
            raise self.fail()
        return self.sql[first.start : last.end]

    def end(self) -> None:
        """Nothing may be left."""
        if self.peek() is not None:
            raise self.fail()
