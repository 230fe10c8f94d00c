"""Which of our objects do documents name, and in which namespace?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from weir.api.v1alpha1.common import API_VERSION
from weir.cli.documents import Document
from weir.cli.stored import KINDS
from weir.kube.client import Object
from weir.kube.keys import CLUSTER_SCOPED, Key

PROBLEMS_SHOWN = 10


class Unusable(RuntimeError):
    """Documents that can't be planned; the message says where and what to do."""


@dataclass(frozen=True)
class Manifests:
    """The objects of documents.

    ``notes`` say what was left out, for people. ``namespaces`` are those that the documents make, each
    with its labels.
    """

    objects: tuple[Object, ...]
    notes: tuple[str, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def manifests(documents: Sequence[Document], namespace: str | None, default: str) -> Manifests:
    """The objects that have, or bear on, something on AWS, each with its namespace.

    Parameters
    ----------
    namespace
        That of the command line, which no document may contradict.
    default
        For documents without one.

    Raises
    ------
    Unusable
        A document is no YAML or an unrendered template, contradicts the namespace, has no name, or is
        there twice.
    """
    problems = [str(one) for document in documents for one in document.problems]
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = problems[:PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise Unusable("\n".join(shown))
    found: dict[Key, tuple[Object, Document]] = {}
    others: dict[str, int] = {}
    namespaces: dict[str, Mapping[str, str]] = {}
    for document in documents:
        body = document.body
        if body is None:
            continue  # Nothing, or a comment, between two markers.
        if not isinstance(body, dict) or not _is_ours(body) or body["kind"] not in KINDS:
            made = _namespace(body)
            if made is not None:
                namespaces[made[0]] = made[1]
                continue
            name = str(body.get("kind") or "no object") if isinstance(body, dict) else "no object"
            others[name] = others.get(name, 0) + 1
            continue
        obj = _placed(document, body, namespace, default)
        key = Key.of(obj)
        if key in found:
            first = found[key][1]
            raise Unusable(
                f"{document.file}:{document.line(())}: {key} stands here a second time; the first is "
                f"{first.file}:{first.line(())}"
            )
        found[key] = obj, document
    notes = []
    if others:
        names = ", ".join(f"{count} {name}" for name, count in sorted(others.items()))
        notes.append(f"left out, since Weir builds nothing on AWS from it: {names}")
    objects = sorted((obj for obj, _ in found.values()), key=lambda one: KINDS.index(one["kind"]))
    return Manifests(tuple(objects), tuple(notes), namespaces)


def _is_ours(body: Object) -> bool:
    return body.get("apiVersion") == API_VERSION and isinstance(body.get("kind"), str)


def _namespace(body: object) -> tuple[str, Mapping[str, str]] | None:
    """Name and labels of a namespace; None for any other document."""
    if (
        not isinstance(body, dict)
        or body.get("kind") != "Namespace"
        or body.get("apiVersion") != "v1"
    ):
        return None
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        return None
    return str(metadata["name"]), metadata.get("labels") or {}


def _placed(document: Document, body: Object, namespace: str | None, default: str) -> Object:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise Unusable(f"{document.file}:{document.line(('metadata',))}: metadata.name is missing")
    metadata = dict(metadata)
    if body["kind"] in CLUSTER_SCOPED:
        metadata.pop("namespace", None)
    else:
        stated = metadata.get("namespace") or namespace or default
        metadata["namespace"] = stated
        if namespace and stated != namespace:
            raise Unusable(
                f"{document.file}:{document.line(('metadata', 'namespace'))}: the object is in "
                f"namespace {stated}, but --namespace says {namespace}"
            )
    return {**body, "metadata": metadata}


@dataclass(frozen=True)
class Difference:
    """What changes between two sets of manifests.

    ``moved`` are objects with another namespace or name and the same spec, new key -> former key;
    they stand in ``applied`` and in ``removed`` too.
    """

    applied: tuple[Object, ...]
    removed: tuple[Object, ...]
    moved: dict[Key, Key]
    unchanged: int


def difference(before: Iterable[Object], after: Iterable[Object]) -> Difference:
    """Compare two sets of manifests by what Weir reads: spec, labels and annotations."""
    former = {Key.of(one): one for one in before}
    new = {Key.of(one): one for one in after}
    applied = [one for key, one in new.items() if _told(former.get(key)) != _told(one)]
    removed = [one for key, one in former.items() if key not in new]
    moved: dict[Key, Key] = {}
    for one in applied:
        if Key.of(one) in former:
            continue
        twin = next(
            (
                Key.of(other)
                for other in removed
                if other["kind"] == one["kind"]
                and other.get("spec") == one.get("spec")
                and Key.of(other) not in moved.values()
            ),
            None,
        )
        if twin is not None:
            moved[Key.of(one)] = twin
    return Difference(tuple(applied), tuple(removed), moved, len(new) - len(applied))


def _told(obj: Object | None) -> object:
    if obj is None:
        return None
    metadata = obj["metadata"]
    return obj.get("spec"), metadata.get("labels") or {}, metadata.get("annotations") or {}
