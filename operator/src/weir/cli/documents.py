"""Reads YAML as kubectl does, and remembers on which line everything stood.

kubectl reads YAML 1.1 through sigs.k8s.io/yaml: the bare words y, n, yes, no, on and off are
booleans, also as keys, where they become "true" and "false"; PyYAML leaves y and n strings. A file
that reads differently here and there would lose a column, so this reader takes kubectl's side.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Problem:
    """Something wrong in a file. ``line`` counts from 1; ``path`` is dotted."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f" {self.path}:" if self.path else ""
        return f"{self.file}:{self.line}:{place} {self.message}"


@dataclass(frozen=True)
class Document:
    """One YAML document, with the line of each path (a tuple of keys and indices)."""

    file: str
    body: Any
    lines: Mapping[tuple[str | int, ...], int]
    problems: tuple[Problem, ...] = ()

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a path, or of its nearest ancestor that stands in the file."""
        parts = tuple(path)
        while parts not in self.lines and parts:
            parts = parts[:-1]
        return self.lines.get(parts, 1)


class _KubectlLoader(yaml.SafeLoader):
    """SafeLoader with all of YAML 1.1's booleans."""


_KubectlLoader.yaml_implicit_resolvers = {
    key: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_KubectlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN")
)
_BOOLEANS = {"y": True, "n": False, **yaml.constructor.SafeConstructor.bool_values}


@dataclass
class _Reader:
    file: str
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                # {{ .Values.name }} is a mapping whose key is a mapping.
                self.report(line, path, TEMPLATE)
                continue
            key = self.scalar(key_node)
            if isinstance(key, bool):
                self.report(
                    line, path, f"the key {key_node.value} is read as {str(key).lower()}; quote it"
                )
                key = str(key).lower()
            key = str(key)
            if key in result:
                self.report(line, path, f"the key {key} stands here twice")
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def scalar(self, node: yaml.Node) -> Any:
        if node.tag == "tag:yaml.org,2002:bool":
            return _BOOLEANS[str(node.value).lower()]
        constructor = yaml.constructor.SafeConstructor()
        try:
            return constructor.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            reason = getattr(error, "problem", None) or "no value"
        except (ValueError, OverflowError) as error:
            reason = f"{node.value!r} is no value: {error}"
        self.report(node.start_mark.line + 1, (), f"not YAML that kubectl reads: {reason}")
        return None

    def report(self, line: int, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(Problem(self.file, line, dotted(path), message))


def dotted(path: Sequence[str | int]) -> str:
    """``("spec", "stages", 0, "name")`` as ``spec.stages[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


TEMPLATE = (
    "an unrendered template: render it, and give the result on standard input "
    "(helm template ... | weir plan -f -)"
)
OURS = re.compile(r"""apiVersion["']?\s*:\s*["']?weir\.dev/""")
"""What a file has that holds an object of ours, as YAML or JSON."""
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"


def read_text(text: str, file: str = STDIN) -> Iterator[Document]:
    """Every document of a YAML (or JSON) text; the items of a List each by itself.

    A text that is no YAML gives one document with a problem and no body.
    """
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=_KubectlLoader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = (
            TEMPLATE if "{{" in text else f"not YAML: {getattr(error, 'problem', None) or error}"
        )
        yield Document(file, None, {}, (Problem(file, line, "", reason),))
        return
    for node in nodes:
        reader = _Reader(file)
        body = reader.value(node, ())
        document = Document(file, body, reader.lines, tuple(reader.problems))
        yield from _items(document) if _is_list(body) else [document]


def _is_list(body: Any) -> bool:
    """Whether it is what ``kubectl get -o yaml`` prints of several objects."""
    return (
        isinstance(body, dict)
        and body.get("kind") == "List"
        and isinstance(body.get("items"), list)
    )


def _items(document: Document) -> Iterator[Document]:
    for number, item in enumerate(document.body["items"]):
        head = ("items", number)
        lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == head}
        problems = document.problems if number == 0 else ()
        yield Document(document.file, item, lines, problems)


def read_files(paths: Sequence[Path]) -> Iterator[Document]:
    """Every document of these files.

    A folder stands for the .yaml, .yml and .json files below it that hold objects of ours, hidden
    folders left out; ``-`` for standard input.

    Raises
    ------
    FileNotFoundError
        One of the paths does not exist.
    """
    for path in paths:
        if str(path) == STDIN:
            yield from read_text(sys.stdin.read(), "standard input")
        elif path.is_dir():
            for item in files_below(path):
                yield from read_found(item.read_text(errors="replace"), str(item))
        else:
            yield from read_text(path.read_text(), str(path))


def read_found(text: str, file: str) -> Iterator[Document]:
    """The documents of a file that nobody named, if it holds objects of ours."""
    if OURS.search(text):
        yield from read_text(text, file)


def files_below(folder: Path) -> list[Path]:
    """Files of a folder that may hold objects, in order."""
    return sorted(
        item
        for item in folder.rglob("*")
        if item.suffix in SUFFIXES
        and item.is_file()
        and not any(part.startswith(".") for part in item.relative_to(folder).parts)
    )
