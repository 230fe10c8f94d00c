# ruff: noqa: T201
"""Copies crds/ into the chart as templates: ``python charts/generate.py [--check]``.

Each copy has a switch around it (``crds.enabled``), the chart's labels, and the annotation that
keeps it when the release goes (``crds.keep``). Braces that Helm would read are escaped.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CRDS = ROOT / "crds"
TEMPLATES = ROOT / "charts" / "weir" / "templates" / "crds"
HEAD = "{{- if .Values.crds.enabled }}\n"
TAIL = "{{- end }}\n"
METADATA = """\
  labels:
    {{- include "weir.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


def template(crd: str) -> str:
    """The chart's template of one CustomResourceDefinition.

    Parameters
    ----------
    crd
        Its YAML, as generated: ``metadata`` has a name alone.

    Raises
    ------
    ValueError
        ``metadata`` has more than a name, which this would have to merge.
    """
    escaped = re.sub(r"\{\{|\}\}", lambda match: '{{ "' + match[0] + '" }}', crd)
    head = re.compile(r"(?m)^metadata:\n  name: \S+\n(?=\S)").search(escaped)
    if head is None:
        raise ValueError("expected metadata with a name and nothing else at the top of the CRD")
    return (
        HEAD + escaped[: head.end()] + METADATA + escaped[head.end() :].rstrip("\n") + "\n" + TAIL
    )


def templates(crds: Path = CRDS) -> dict[str, str]:
    """The text of each template, by file name."""
    return {path.name: template(path.read_text()) for path in sorted(crds.glob("*.yaml"))}


def write(crds: Path = CRDS, directory: Path = TEMPLATES) -> list[Path]:
    """Write the templates, and remove those whose source is gone.

    Returns
    -------
    list[Path]
        The files that changed.
    """
    wanted = templates(crds)
    directory.mkdir(parents=True, exist_ok=True)
    changed = [path for path in directory.glob("*.yaml") if path.name not in wanted]
    for path in changed:
        path.unlink()
    for name, text in wanted.items():
        path = directory / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed


def stale(crds: Path = CRDS, directory: Path = TEMPLATES) -> list[str]:
    """Names of the templates that are not what :func:`write` would write."""
    wanted = templates(crds)
    present = {path.name: path.read_text() for path in directory.glob("*.yaml")}
    return sorted(
        name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name)
    )


def main() -> int:
    """Write, or with ``--check`` only compare; 1 where the chart is behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        names = stale()
        for name in names:
            print(f"{TEMPLATES / name} is not what crds/ says: run make generate", file=sys.stderr)
        return 1 if names else 0
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
