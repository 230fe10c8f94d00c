"""What stands in for a container image where there is no container runtime."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """Programs of this machine that answer to an image's name.

    Parameters
    ----------
    pattern
        A shell pattern over the image's whole name: ``*weir*``.
    path
        Directories in which a container's command is looked up, before the system's.
    environment
        What the image's ``ENV`` lines would set.
    """

    pattern: str
    path: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def find(images: Iterable[Image], name: str) -> Image | None:
    """The first of ``images`` whose pattern fits the image called ``name``."""
    return next((image for image in images if fnmatch.fnmatchcase(name, image.pattern)), None)


def write(images: Iterable[Image], file: Path) -> None:
    """Keep ``images`` in ``file`` for the pod runner."""
    file.write_text(json.dumps([asdict(image) for image in images], indent=1))


def read(file: Path) -> tuple[Image, ...]:
    """The images that ``file`` keeps."""
    return tuple(
        Image(item["pattern"], tuple(item["path"]), item["environment"])
        for item in json.loads(file.read_text())
    )
