"""What is wrong with documents that are sound one by one: columns, schedules, SQL, references.

The operator makes the same checks, and more where it knows the Platform: its grants, its warehouse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from weir.api.v1alpha1.common import CustomResource
from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint import check
from weir.cli import validate as validation
from weir.cli.documents import Document, Problem, dotted

LAST_PART = re.compile(r"(\.[^.\[\]]*|\[\d+\]|^[^.\[\]]+)$")


@dataclass
class Findings:
    """What a look at several documents gives.

    ``unchecked`` says what could not be looked at, because it refers to objects of other files.
    """

    problems: list[Problem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def findings(documents: Sequence[Document]) -> Findings:
    """Everything wrong with documents that know each other, file by file, in order of lines."""
    found = Findings()
    sound: list[tuple[Document, CustomResource]] = []
    for document in documents:
        alone = validation.problems(document)
        found.problems += alone
        model = None if alone else validation.parsed(document)
        if model is not None:
            sound.append((document, model))
    models = [model for _, model in sound]
    for document, model in sound:
        _together(document, model, _known(models, model.namespace), found)
    order = {document.file: number for number, document in reversed([*enumerate(documents)])}
    found.problems.sort(key=lambda one: (order[one.file], one.line, one.path))
    return found


def _known(models: Iterable[CustomResource], namespace: str) -> check.Known:
    """The objects of one namespace. Those that state none are in one together."""
    here = [model for model in models if model.namespace == namespace]
    return check.Known(
        namespace or "default",
        {one.name: one for one in here if isinstance(one, DataSchema)},
        {one.name: one for one in here if isinstance(one, DataSource)},
    )


def _together(
    document: Document, model: CustomResource, known: check.Known, found: Findings
) -> None:
    paths = {dotted(path): path for path in document.lines}
    for problem in _checked(model, known):
        if problem.reason == "UnknownSchema" or (
            problem.reason == "UnknownSource" and problem.path.startswith("spec.sources[")
        ):
            found.unchecked.append(
                f"{document.file}:{_line(document, paths, problem.path)}: {problem.path}: "
                f"{model_name(model)} is checked in part only: what it refers to is not among the files"
            )
        elif not problem.path.startswith("DataSchema "):
            # A DataSchema of the same call is looked at by itself.
            line = _line(document, paths, problem.path)
            found.problems.append(Problem(document.file, line, problem.path, problem.message))


def _checked(model: CustomResource, known: check.Known) -> tuple[check.Problem, ...]:
    if isinstance(model, DataSource):
        return check.datasource_problems(model, known)
    if isinstance(model, Pipeline):
        return check.pipeline_problems(model, known)
    if isinstance(model, DataSchema):
        return check.schema_problems(model)
    return ()


def _line(document: Document, paths: Mapping[str, tuple[str | int, ...]], path: str) -> int:
    """The line of a dotted path, or of its nearest ancestor that stands in the file."""
    while path and path not in paths:
        path = LAST_PART.sub("", path)
    return document.line(paths.get(path, ()))


def model_name(model: CustomResource) -> str:
    """``DataSource customers``."""
    return f"{type(model).__name__} {model.name}"
